"""The process between a stack and its Postgres: it lives no longer than its parent.

It runs as a script of its own with the standard library alone, so it starts in a few milliseconds
and imports nothing of MeshHook. Its standard input is the life line: the first line says what to
run (JSON, see `main`), a later line is a command, and the end of input means that the parent is
gone, however it went. Should the guard itself be killed, a death signal (PR_SET_PDEATHSIG) ends the
child; that exists on Linux only, and it fires when the *thread* that forked ends, so the parent,
which starts stacks from any thread, cannot rely on it alone.

Commands: `stop` stops the child cleanly, `kill` kills it and all of its children at once. When the
child has ended, the guard ends with the child's exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# A process that the parent forked without exec keeps a copy of the pipe open; the parent's id
# shows its death all the same.
_PARENT_CHECK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class Child:
    """The guarded process, and the thread that waits for its end."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.process = _spawn(spec)
        self.pid = self.process.pid
        self._wanted = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self, signals: list[tuple[str, float]]) -> None:
        """Send one signal after the other, each with its seconds to take effect."""
        self._wanted.set()
        for name, seconds in signals:
            if not self._ended.is_set():
                os.killpg(self.pid, signal.Signals[name])
            if self._ended.wait(seconds):
                return

    def kill(self) -> None:
        """Kill the process and its children: each Postgres backend leads a group of its own."""
        self._wanted.set()
        for pid in (self.pid, *_children_of(self.pid)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._ended.wait()

    def _watch(self) -> None:
        code = self.process.wait()
        self._ended.set()
        if not self._wanted.is_set():
            os._exit(code & 0xFF)


def main() -> int:
    """Run the child that the first line of standard input describes.

    The keys of that line: `argv`, `env`, `cwd`, `uid`, `gid` (null: as ourselves), `log` (a file),
    `hold_fds` (inherited, so that their locks live as long as the child), `remove` (a folder to
    remove if the parent dies, or null), `stop` (a list of signal name and seconds to wait).

    Returns:
        The exit code: 0 after a stop, 1 if the child could not be started.
    """
    # Handlers, not SIG_IGN: an ignored signal would stay ignored in the child.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    commands = _lines(os.getppid())
    line = next(commands, None)
    if line is None:
        return 0
    spec = json.loads(line)
    try:
        child = Child(spec)
    except OSError as error:
        _tell({"error": str(error)})
        return 1
    _tell({"pid": child.pid})
    command = next(commands, None)
    if command == b"kill":
        child.kill()
    else:
        child.stop(spec["stop"])
    if command is None and spec["remove"]:
        shutil.rmtree(spec["remove"], ignore_errors=True)
    return 0


def _spawn(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    account: dict[str, Any] = {}
    if spec["uid"] is not None:
        account = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
    with Path(spec["log"]).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the parent's own argument list, no shell
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=spec["cwd"],
            env=spec["env"],
            pass_fds=spec["hold_fds"],
            start_new_session=True,
            preexec_fn=_end_with_guard,  # noqa: PLW1509 - there is no second thread yet
            **account,
        )


def _end_with_guard() -> None:
    """Ask the kernel for a signal when the guard is dead; runs in the child, as its account."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _children_of(pid: int) -> list[int]:
    try:
        listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        finder = shutil.which("pgrep")
        if finder is None:
            return []  # They notice their parent's death by themselves, only later.
        listing = subprocess.run(  # noqa: S603 - a found program and a number
            [finder, "-P", str(pid)], capture_output=True, text=True, check=False
        ).stdout
    return [int(word) for word in listing.split()]


def _lines(parent: int) -> Iterator[bytes]:
    """Yield the lines of standard input until it, or the parent, ends."""
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_SECONDS)
        if not readable:
            if os.getppid() != parent:
                return
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *complete, pending = (pending + chunk).split(b"\n")
        yield from complete


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
