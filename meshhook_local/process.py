"""A child process under a guard, and the tail of what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import attrs

from meshhook_local.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_GUARD_GRACE_SECONDS = 10.0
_TAIL_LINES = 15


@attrs.frozen
class Account:
    """An account of the operating system that a child runs as."""

    name: str
    uid: int
    gid: int


@attrs.frozen(kw_only=True)
class Command:
    """What a guard runs.

    Attributes:
        argv: The program and its arguments.
        cwd: The working folder.
        env: The whole environment.
        log: The file that standard output and standard error are appended to.
        account: Whom to run as; None means as ourselves.
        hold_fds: Descriptors that stay open as long as the child lives.
        remove: A folder that the guard removes if we die.
        stop: Signals in the order of their escalation, each with its seconds to take effect.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    account: Account | None
    hold_fds: Sequence[int]
    remove: Path | None
    stop: Sequence[tuple[str, float]]

    def as_json(self) -> str:
        """Write the line that the guard reads."""
        return json.dumps(
            {
                "argv": list(self.argv),
                "cwd": str(self.cwd),
                "env": dict(self.env),
                "log": str(self.log),
                "uid": self.account and self.account.uid,
                "gid": self.account and self.account.gid,
                "hold_fds": list(self.hold_fds),
                "remove": self.remove and str(self.remove),
                "stop": list(self.stop),
            }
        )


class GuardedProcess:
    """A running child; it cannot outlive this process, even if that is killed hard."""

    def __init__(self, command: Command) -> None:
        self._over = False
        self._stop_seconds = sum(seconds for _, seconds in command.stop) + _GUARD_GRACE_SECONDS
        # -I and -S keep the guard independent of the environment, and quick to start. A session
        # of its own keeps it out of reach of a Ctrl-C that is meant for us.
        self._guard = subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(command.hold_fds),
            start_new_session=True,
        )
        self.pid = self._begin(command)

    def is_running(self) -> bool:
        """Return whether the child still runs."""
        return self._guard.poll() is None

    def stop(self) -> None:
        """Stop the child cleanly, with escalation, and wait for its end."""
        self._end_with(b"stop\n")

    def kill(self) -> None:
        """Kill the child and all of its children at once, and wait for their end."""
        self._end_with(b"kill\n")

    def _begin(self, command: Command) -> int:
        stdin, stdout = cast("IO[bytes]", self._guard.stdin), cast("IO[bytes]", self._guard.stdout)
        stdin.write(command.as_json().encode() + b"\n")
        stdin.flush()
        answer = json.loads(stdout.readline() or b'{"error": "its guard died"}')
        if "error" in answer:
            self.stop()
            raise StartError(f"cannot run {command.argv[0]}: {answer['error']}")
        return int(answer["pid"])

    def _end_with(self, order: bytes) -> None:
        if not self._over:
            self._over = True
            self._guard.communicate(order, timeout=self._stop_seconds)


def tail_of(log: Path, start: int = 0) -> str:
    """Read the last lines of a log file; an absent file reads as empty.

    Args:
        log: The file.
        start: The byte to read from, so that an earlier run's lines are left out.
    """
    if not log.exists():
        return ""
    written = log.read_bytes()[start:].decode(errors="replace")
    return "\n".join(written.splitlines()[-_TAIL_LINES:])
