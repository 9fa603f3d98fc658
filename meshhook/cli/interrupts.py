"""Ending a long command in order: SIGTERM is taken for Ctrl-C, with an exit code of its own."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from meshhook.cli.exits import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM, where Ctrl-C raises KeyboardInterrupt.

    Yields:
        While that is so.

    Raises:
        CommandError: What was going on has not said itself how far it had come.
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
    """Return the exit code of a command that a signal has ended."""
    return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.INTERRUPTED


def _terminate(*_: object) -> NoReturn:
    raise Terminated
