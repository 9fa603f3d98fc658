"""How a command ends: its exit code, the error that carries one, and the signals."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from meshhook.exceptions import (
    ConfigurationError,
    InvalidInputError,
    MeshHookError,
    OutageError,
    PartialEnqueueError,
    RejectedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class ExitCode(IntEnum):
    """What the exit code of a command means.

    Attributes:
        OK: The command did what it was asked.
        FAILED: It could not, what it looked for is missing, or it found a problem.
        USAGE: An option, an argument or a setting is not usable; nothing was sent.
        OUTAGE: Supabase could not be used at the moment; the same command may succeed later.
        INTERNAL: A bug in MeshHook; a traceback shows where.
        INTERRUPTED: Ctrl-C (SIGINT).
        TERMINATED: SIGTERM.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    OUTAGE = 3
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


PERMANENT = frozenset({ExitCode.FAILED, ExitCode.USAGE})
"""What another start would not fix: wrong options or settings, a wrong key, a missing queue."""


class CommandError(Exception):
    """A command cannot go on; its message is shown as one line.

    Args:
        message: What happened and what to do.
        code: The exit code.
        detail: Text shown before that line, such as a traceback of the user's own code.
    """

    def __init__(
        self, message: str, code: ExitCode = ExitCode.FAILED, *, detail: str | None = None
    ) -> None:
        self.code = code
        self.detail = detail
        super().__init__(message)


def usage(message: str, *, detail: str | None = None) -> CommandError:
    """Return the error for an option, an argument or a setting that is not usable."""
    return CommandError(message, ExitCode.USAGE, detail=detail)


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code of a command that an error ended."""
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, InvalidInputError | ConfigurationError | RejectedError):
        return ExitCode.USAGE
    if isinstance(error, PartialEnqueueError) and isinstance(error.__cause__, Exception):
        return exit_code(error.__cause__)
    if isinstance(error, OutageError):
        return ExitCode.OUTAGE
    return ExitCode.FAILED if isinstance(error, MeshHookError) else ExitCode.INTERNAL


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM, as Python raises KeyboardInterrupt at Ctrl-C.

    A long command can then end cleanly at both, and say how far it came.

    Raises:
        CommandError: SIGTERM arrived, and the block did not handle it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Terminated:
        raise CommandError("ended by SIGTERM", ExitCode.TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def code_of(error: KeyboardInterrupt) -> ExitCode:
    """Return the exit code of a command that a signal ended."""
    return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERRUPTED


def _terminate(*_: object) -> NoReturn:
    raise Terminated
