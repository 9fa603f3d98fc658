"""The status line of a worker on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import anyio
from rich.live import Live
from rich.text import Text

from meshhook.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from meshhook.worker import WorkerStats

REFRESH_SECONDS = 0.25
RATE_SECONDS = 5.0


class HasStats(Protocol):
    """A worker or a drain, as far as its numbers are shown."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def is_stopping(self) -> bool:
        """Whether it has been asked to stop."""

    def get_stats(self) -> WorkerStats:
        """Return its numbers so far."""


class StatusLine:
    """Shows a worker's numbers below its log lines, live.

    Args:
        worker: The worker, or a drain.
    """

    def __init__(self, worker: HasStats) -> None:
        self._worker = worker
        self._seen: deque[tuple[float, int]] = deque()

    async def run(self) -> None:
        """Show the line until cancelled."""
        before = sys.stderr, sys.stdout
        live = Live(
            console=output.console(stderr=True),
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        with live, _log_handlers_follow(*before):
            while True:
                live.update(self.line(time.monotonic()), refresh=True)
                await anyio.sleep(REFRESH_SECONDS)

    def line(self, now: float) -> Text:
        """Return the worker's state and its numbers."""
        stats = self._worker.get_stats()
        parts = [
            f"{stats.running} running",
            f"{stats.succeeded} done",
            f"{self._rate(stats, now):.1f}/s",
            f"{stats.retried} retried",
            output.counted(stats.moved_to_dlq, "dead letter"),
        ]
        if stats.lost:
            parts.append(f"{output.counted(stats.lost, 'lease')} lost")
        line = Text(f"{self._worker.name}  ", style="bold")
        line.append(self._state(stats), style="red" if stats.unhealthy_since else "green")
        line.append("  " + "  ".join(parts), style="not bold")
        return line

    def _state(self, stats: WorkerStats) -> str:
        if stats.unhealthy_since is not None:
            return f"waiting for Supabase since {output.when(stats.unhealthy_since)}"
        if self._worker.is_stopping:
            return "stopping"
        return "working" if stats.running else "idle"

    def _rate(self, stats: WorkerStats, now: float) -> float:
        self._seen.append((now, stats.processed))
        while self._seen[0][0] < now - RATE_SECONDS:
            self._seen.popleft()
        then, processed = self._seen[0]
        return (stats.processed - processed) / (now - then) if now > then else 0.0


@contextmanager
def _log_handlers_follow(stderr: TextIO, stdout: TextIO) -> Iterator[None]:
    """Redirect log handlers from the real streams to those that the live display put in place.

    Lines written past the display would begin in the middle of the status line.
    """
    with ExitStack() as stack:
        for handler in _handlers():
            for before, now in ((stderr, sys.stderr), (stdout, sys.stdout)):
                if handler.stream is before:
                    handler.setStream(now)
                    stack.callback(handler.setStream, before)
        yield


def _handlers() -> Iterator[logging.StreamHandler[TextIO]]:
    for logger in (logging.root, *tuple(logging.root.manager.loggerDict.values())):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler):
                yield handler
