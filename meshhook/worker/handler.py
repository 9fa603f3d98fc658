"""Handlers: the user's functions that jobs are handed to."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._inputs import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from meshhook.models import JobMessage

__all__ = ["JobHandler", "create_job_handler"]


@attrs.frozen
class JobHandler:
    """A function that jobs are handed to; see `create_job_handler`.

    Calling it calls the function, so a test of a handler needs no worker.

    Attributes:
        function: The function.
        timeout_seconds: How long an attempt may take, in seconds; None for no limit of its own.
        is_async: Whether the function is awaited; a plain one runs in a thread.
    """

    function: Callable[[JobMessage], Any]
    timeout_seconds: float | None = None
    is_async: bool = True

    def __call__(self, message: JobMessage) -> Any:
        """Hand a message to the function, and return what it returns."""
        return self.function(message)


def create_job_handler(
    fn: Callable[[JobMessage], Any] | JobHandler,
    timeout_seconds: float | timedelta | None = None,
) -> JobHandler:
    """Check a function and make a handler of it.

    Args:
        fn: An ``async def`` or a plain ``def`` that takes the job's message. The plain one runs in
            a thread of its own, so it may block.
        timeout_seconds: How long an attempt may take, in seconds or as a timedelta. After that, the
            attempt has failed. An ``async def`` is cancelled. A plain ``def`` cannot be: its thread
            goes on, its result is ignored, and this worker does not start the job's next attempt
            before the thread has ended; another worker may.

    Returns:
        The handler.

    Raises:
        TypeError: *fn* is not a function that takes one argument.
        InvalidInputError: *timeout_seconds* is not a number above 0.
    """
    seconds = None
    if timeout_seconds is not None:
        seconds = check.positive_seconds("timeout_seconds", timeout_seconds)
    if isinstance(fn, JobHandler):
        return fn if seconds is None else attrs.evolve(fn, timeout_seconds=seconds)
    _check_function(fn)
    return JobHandler(fn, seconds, is_async=is_async(fn))


def _check_function(fn: object) -> None:
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    if inspect.isclass(fn):
        message = (
            f"the job handler {name} is a class, so calling it would only make an object:"
            " give a function, or an object with a method __call__"
        )
        raise TypeError(message)
    if not callable(fn):
        message = f"a job handler is a function that takes a message, not {check.shown(fn)}"
        raise TypeError(message)
    parts = _called(fn)
    if any(map(inspect.isgeneratorfunction, parts)) or any(map(inspect.isasyncgenfunction, parts)):
        message = f"the job handler {name} yields, so calling it would run none of it: use return"
        raise TypeError(message)
    try:
        signature = inspect.signature(fn)
    except ValueError:
        return  # some built-in functions have no signature
    try:
        signature.bind(object())
    except TypeError as error:
        message = f"the job handler {name}{signature} cannot be called with a message: {error}"
        if next(iter(signature.parameters), None) == "self":
            message += "; it is the method of a class: give that of an object"
        raise TypeError(message) from error


def is_async(fn: object) -> bool:
    """Return whether calling a function gives something to await."""
    return any(map(inspect.iscoroutinefunction, _called(fn)))


def _called(fn: object) -> tuple[object, object]:
    """Return the function behind a partial one, and the ``__call__`` of an object."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn, getattr(fn, "__call__", None)  # noqa: B004 - whether it is async or yields
