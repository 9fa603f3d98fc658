"""What is kept of an exception: its class, its message and its stack, however broken it is."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from meshhook._calls.settle import Outcome
from meshhook.exceptions import MeshHookError
from meshhook.worker.control import JobControl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_MAX_FRAMES = 50

# The folders of the frames between the worker and the handler. They are the same in every stack.
_OURS = tuple(f"{Path(__file__).parents[1] / name}/" for name in ("worker", "testing"))


class MalformedMessage(MeshHookError):  # noqa: N818 - the name that the history has for it
    """A message that is no job: one of the three ids is missing. It goes to no handler."""


@attrs.frozen
class Failure:
    """What is kept of an exception.

    Attributes:
        error: The exception itself.
        error_type: Its class.
        message: Its class and what it says.
        stack: Where it was raised.
        can_be_printed: Whether its stack can be formatted.
    """

    error: BaseException
    error_type: str
    message: str
    stack: str | None = attrs.field(default=None, repr=False)
    can_be_printed: bool = True

    def exc_info(self) -> ExcInfo | None:
        """Return the `exc_info` of a log line.

        It is None for an answer such as `Retry` that no error led to, since its traceback shows
        nothing, and for an exception so broken that it cannot be printed.
        """
        error = self.error
        is_bare_answer = isinstance(error, JobControl) and not (
            error.__cause__ or (error.__context__ and not error.__suppress_context__)
        )
        if is_bare_answer or not self.can_be_printed:
            return None
        return type(error), error, error.__traceback__


# Not frozen, as its base is not.
@attrs.define(kw_only=True)
class FailedOutcome(Outcome):
    """The outcome of an attempt that failed.

    Attributes:
        error: The exception, for a hook that gets it once the outcome is settled; otherwise None,
            since its frames keep the handler's variables in memory.
    """

    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)


def describe(error: BaseException) -> Failure:
    """Return what is kept of an exception; never raises, however broken the exception is.

    The traceback is cut to the handler's part. The worker's frames are always the same, and a crash
    reporter would show their variables, which include the message.
    """
    kind = type(error).__qualname__
    said = _said(error)
    message = f"{kind}: {said}" if said else kind
    try:
        error.__traceback__ = handlers_part(error.__traceback__) or error.__traceback__
        lines = traceback.format_exception(error, limit=-_MAX_FRAMES)
    except BaseException as broken:  # noqa: BLE001 - what a stack is made from may raise anything
        stack = f"<the stack cannot be shown: {type(broken).__qualname__}>"
        return Failure(error, kind, message, stack, can_be_printed=False)
    return Failure(error, kind, message, "".join(lines))


def handlers_part(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the handler's first frame on, None if no frame is the handler's."""
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return frames


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, and in its groups; an exception that is no group, itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def _said(error: BaseException) -> str:
    try:
        said = str(error)
        if isinstance(error, BaseExceptionGroup):
            said = f"{said}: " + "; ".join(
                f"{type(leaf).__qualname__}: {leaf}" for leaf in leaves(error)
            )
    except BaseException as broken:  # noqa: BLE001 - str() of a user's exception may do anything
        return f"<str() of it raises {type(broken).__qualname__}>"
    return said
