"""How a command ends: its exit code, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum

from meshhook.exceptions import (
    ConfigurationError,
    InvalidInputError,
    MeshHookError,
    OutageError,
    PartialEnqueueError,
    RejectedError,
)


class ExitCode(IntEnum):
    """What the exit code of a command means.

    Attributes:
        OK: It was done.
        FAILED: It was not done, what was asked for is not there, or a problem was found.
        USAGE: An option, an argument or a setting is not usable; nothing was sent.
        OUTAGE: Supabase could not be used at the moment; the same command may succeed later.
        INTERNAL: A fault that is none of the above; a traceback says where.
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


HOPELESS = frozenset({ExitCode.FAILED, ExitCode.USAGE})
"""What another start would not fix: wrong options or settings, a wrong key, a missing queue."""


class CommandError(Exception):
    """A command cannot go on; its text is shown as one line.

    Args:
        message: What happened and what to do.
        code: The exit code.
        detail: What is shown before that line, such as the traceback of the user's own code.
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
