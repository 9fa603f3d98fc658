"""Finding where the event loop's thread stands, and whether that is in a job's handler."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhook.worker.blocked import Standing
from meshhook.worker.execute import Executor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


# All frames inside this one are the handler's. Its locals `handler` and `delivery` are read.
_HANDLER_CALL = Executor._call_handler.__code__  # noqa: SLF001 - ours

# These run tasks and callbacks; the frames outside of them only started the loop.
_LOOPS = frozenset({"asyncio.base_events", "asyncio.events", "asyncio.runners", "trio._core._run"})

_WAITS_FOR_EVENTS = frozenset({"selectors", "asyncio.windows_events"})

_PACKAGES = ("site-packages", "dist-packages")
_PATHS = sysconfig.get_paths()
_OURS = f"{Path(__file__).parent.parent}{os.sep}"
_LIBRARY = (
    "<",
    _OURS,
    *{f"{_PATHS[name]}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)


def standing(thread_id: int) -> Standing | None:
    """Find out where an event loop's thread stands.

    Args:
        thread_id: The thread's `threading.get_ident`.

    Returns:
        The place; None if the loop waits for events, has ended, or is in the worker's own code,
        which happens where the machine is too busy.
    """
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - documented, for debuggers
    inner: list[FrameType] = []
    while frame is not None and _module(frame) not in _LOOPS:
        if frame.f_code is _HANDLER_CALL:
            return _in_handler(inner, frame.f_locals)
        inner.append(frame)
        frame = frame.f_back
    if not inner or _waits_for_events(inner[0]):
        return None
    at = next(filter(_is_users, inner), None)
    if at is None and any(frame.f_code.co_filename.startswith(_OURS) for frame in inner):
        return None
    at = at or inner[0]
    return Standing(_place(at), at.f_code.co_qualname)


def _in_handler(inner: Sequence[FrameType], call: dict[str, Any]) -> Standing:
    function, delivery = call["handler"].function, call["delivery"]
    name = _name(function)
    if not inner:  # it is written in C
        return Standing(f"the call of {name}", name, delivery)
    home = _home(inspect.unwrap(function), inner[-1])
    own = (frame for frame in inner if frame.f_code.co_filename.startswith(home))
    at = next(filter(_is_users, inner), None) or next(own, inner[-1])
    return Standing(_place(at), name, delivery)


def _home(function: Any, outermost: FrameType) -> str:
    """Return the folder of the handler's code, or its file if that lies alone in site-packages."""
    file: str = getattr(function, "__code__", outermost.f_code).co_filename
    folder = Path(file).parent
    return file if folder.name in _PACKAGES else f"{folder}{os.sep}"


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith(_LIBRARY) and set(_PACKAGES).isdisjoint(Path(file).parts)


def _waits_for_events(frame: FrameType) -> bool:
    module = _module(frame)
    return module in _WAITS_FOR_EVENTS or module.startswith("trio._core._io_")
