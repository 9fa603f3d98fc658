"""Prefetch: adapts to the load how many jobs are claimed ahead of the handlers.

Where jobs take a millisecond, a round trip for every ten of them is too slow. Where a job takes a
minute, hundreds of claimed jobs would wait here while another worker has free handlers. So the
number follows the load: it doubles with each claim that is answered in full, up to what the
handlers can do in a tenth of a second. For jobs that take longer than that, it is 0.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from meshhook.worker.dispatch import Dispatcher
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter

MAX_PREFETCH = 2000
"""How many jobs are claimed ahead, at most."""

AHEAD_SECONDS = 0.1
"""The jobs that are claimed ahead keep the handlers busy for this long, at most."""

PATIENCE_SECONDS = 1.0
"""A job that waits longer than this for a handler is handed back."""

LOOK_SECONDS = 0.25
"""How often to look for such jobs."""


@attrs.define(eq=False)
class Prefetch:
    """Sets how many jobs may be in flight, and hands back those that wait too long for a handler.

    Args:
        concurrency: How many handlers may run at once.
        in_flight: The jobs in flight.
        dispatcher: Where they wait for handlers.
        reporter: Measures how long jobs take.
    """

    _concurrency: int
    _in_flight: InFlight
    _dispatcher: Dispatcher
    _reporter: Reporter
    _ahead: int = attrs.field(default=0, init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    _typical_seconds: float | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Hand back jobs that wait too long, until cancelled."""
        while True:
            await self._in_flight.wait_filled()
            await anyio.sleep(LOOK_SECONDS)
            if self._dispatcher.longest_wait() > PATIENCE_SECONDS:
                self._set_ahead(0)
                self._release_waiting()

    def claimed(self, taken: list[InFlightJob], *, is_full: bool) -> None:
        """Adapt to a claim.

        A job whose last delivery was never settled may be one that kills its worker. Then all jobs
        in flight with it lose an attempt, so nothing is claimed ahead along with such a job.

        Args:
            taken: The jobs that it brought.
            is_full: Whether it brought as many as were asked for.
        """
        if any(delivery.job._is_suspect for delivery in taken):  # noqa: SLF001 - ours
            self._set_ahead(0)
            self._release_waiting()
        elif is_full:
            self._set_ahead(min(self._enough(), max(2 * self._ahead, self._concurrency)))
        else:
            self._set_ahead(min(self._enough(), self._ahead // 2))

    def _set_ahead(self, jobs: int) -> None:
        self._ahead = jobs
        self._in_flight.capacity = self._concurrency + jobs

    def _release_waiting(self) -> None:
        """Hand back the jobs for which no handler is free."""
        free = self._concurrency - len(self._dispatcher.running())
        self._dispatcher.release_waiting(keep=max(0, free))

    def _enough(self) -> int:
        """Return how many more jobs the handlers can start within `AHEAD_SECONDS`."""
        typical = self._recent_seconds()
        if typical is None:
            return 0
        ahead = self._concurrency * (AHEAD_SECONDS / max(typical, 1e-6) - 1)
        return int(min(max(0.0, ahead), MAX_PREFETCH))

    def _recent_seconds(self) -> float | None:
        """Return how long recent attempts have taken, those that still run included."""
        attempts, seconds = self._reporter.worked()
        new, took = attempts - self._attempts, seconds - self._seconds
        self._attempts, self._seconds = attempts, seconds
        now = time.monotonic()
        running = self._dispatcher.running()
        new += len(running)
        took += sum(now - (delivery.begun_at or now) for delivery in running)
        if new:
            recent = took / new
            before = self._typical_seconds
            self._typical_seconds = recent if before is None else (before + recent) / 2
        return self._typical_seconds
