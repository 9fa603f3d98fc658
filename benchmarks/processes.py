"""Run each measurement in a separate process, which starts on a signal.

A task is a function of the form ``task(gate, **arguments)``. It prepares itself (imports,
connections), calls ``gate.wait()``, does the measured work, and returns a JSON value.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Task = Callable[..., Any]

READY = b"ready\n"
ROOT = Path(__file__).resolve().parents[1]


class Gate:
    """A task waits here until it may start."""

    def wait(self) -> None:
        """Report to the parent that the task is ready, and wait for its signal."""
        _say(READY)
        if not sys.stdin.readline():
            raise SystemExit("the parent has ended")
        self._cpu = time.process_time()

    @property
    def cpu_seconds(self) -> float:
        """The processor time of the task since it started."""
        return time.process_time() - self._cpu


@attrs.frozen
class Outcome:
    """The outcome of a task.

    Attributes:
        value: What it returned.
        cpu_seconds: The processor time of its process, from the gate to the end.
        peak_bytes: The most memory that its process had at once (resident set).
    """

    value: Any
    cpu_seconds: float
    peak_bytes: int


class Child:
    """A process with a task in it.

    Args:
        task: The task, a function at the top of a module.
        arguments: Its arguments, as JSON values.
    """

    def __init__(self, task: Task, arguments: Mapping[str, Any]) -> None:
        self._name = f"{task.__module__}:{task.__qualname__}"
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child is
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.processes", self._name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._tell(json.dumps(arguments))

    def wait_ready(self) -> None:
        """Wait until the task is at its gate."""
        if self._output.readline() != READY:
            self._fail("did not reach its gate")

    def go(self) -> None:
        """Open the gate."""
        self._tell("go")

    def outcome(self) -> Outcome:
        """Wait for the end of the task, and return its outcome."""
        line = self._output.readline()
        if self._process.wait() or not line:
            self._fail("failed")
        return Outcome(**json.loads(line))

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process if it still runs."""
        if not self.is_over:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._output, self._complaints):
            cast("IO[bytes]", stream).close()

    @property
    def _output(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)

    def _tell(self, line: str) -> None:
        stream = cast("IO[bytes]", self._process.stdin)
        try:
            stream.write(line.encode() + b"\n")
            stream.flush()
        except BrokenPipeError:
            self._fail("ended early")

    def _fail(self, what: str) -> None:
        self._process.kill()
        self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read()[-4000:].decode(errors="replace")
        raise RuntimeError(f"{self._name} {what}:\n{said}")


@contextmanager
def children(task: Task, *arguments: Mapping[str, Any]) -> Iterator[list[Child]]:
    """Start a process for each set of arguments; yield them when all are at their gates."""
    started: list[Child] = []
    try:
        started.extend(Child(task, each) for each in arguments)
        for child in started:
            child.wait_ready()
        yield started
    finally:
        for child in started:
            child.close()


def run(task: Task, **arguments: Any) -> Outcome:
    """Run a task in a separate process.

    Args:
        task: The task.
        **arguments: Its arguments.

    Returns:
        Its outcome.

    Raises:
        RuntimeError: It failed; with the end of its error output.
    """
    with children(task, arguments) as (child,):
        child.go()
        return child.outcome()


def peak_bytes() -> int:
    """Return the most memory that this process has had at once, in bytes.

    Linux's own count is read: `getrusage` returns a number that is inherited from the parent,
    which may have been larger than this process ever was.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    import resource  # noqa: PLC0415 - not there on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _say(line: bytes) -> None:
    os.write(1, line)


def _main(name: str) -> None:
    module, function = name.split(":")
    task: Task = getattr(importlib.import_module(module), function)
    gate = Gate()
    value = task(gate, **json.loads(sys.stdin.readline()))
    outcome = Outcome(value, gate.cpu_seconds, peak_bytes())
    _say(json.dumps(attrs.asdict(outcome)).encode() + b"\n")


if __name__ == "__main__":
    _main(sys.argv[1])
