"""What the tests ask the operating system about processes."""

from __future__ import annotations

# Without types of its own; it is there because the wheel of Postgres needs it.
import psutil  # type: ignore[import-untyped]


def children(pid: int) -> list[int]:
    """List the processes that *pid* is the parent of, and theirs."""
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def command_line(pid: int) -> str:
    """Show the command line of a process; empty if the process is gone."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


def alive(pids: list[int]) -> list[int]:
    """Leave out the processes that are dead."""
    return [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        # A dead process that nobody has waited for yet does nothing any more.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
