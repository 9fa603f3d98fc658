"""How many jobs are claimed ahead of the handlers: as many as the load asks for.

One round trip for each handful of jobs is too many where jobs take a millisecond, and claiming
hundreds of them is too many where a job takes a minute: they would wait here for handlers that
another worker has free. So the number follows what is seen: it doubles with each claim that is
answered in full, up to what the handlers get through in a moment, and it is nothing for jobs that
take longer than that moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from meshhook.worker.dispatch import Dispatcher
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter

MAX_PREFETCH = 2000
"""How many jobs are claimed ahead at the most."""

AHEAD_SECONDS = 0.1
"""For how long the handlers have enough to do with what is claimed ahead, at the most."""

PATIENCE_SECONDS = 1.0
"""How long a job that was claimed ahead waits for a handler until it is handed back."""

LOOK_SECONDS = 0.25
"""How often to look for jobs that wait longer."""


class Prefetch:
    """Sets how many jobs the hand may hold, and hands back what waits in it for too long.

    Args:
        concurrency: How many handlers may run at once.
        in_flight: The jobs in flight.
        dispatcher: Where they wait for handlers.
        reporter: Who knows how long jobs take.
    """

    def __init__(
        self,
        concurrency: int,
        in_flight: InFlight,
        dispatcher: Dispatcher,
        reporter: Reporter,
    ) -> None:
        self._concurrency = concurrency
        self._in_flight = in_flight
        self._dispatcher = dispatcher
        self._reporter = reporter
        self._ahead = 0
        self._attempts, self._seconds = 0, 0.0
        self._typical_seconds: float | None = None

    async def run(self) -> None:
        """Hand back what waits for too long, for ever."""
        while True:
            await self._in_flight.wait_filled()
            await anyio.sleep(LOOK_SECONDS)
            if self._dispatcher.longest_wait() > PATIENCE_SECONDS:
                self._let_wait(0)
                self._release_waiting()

    def claimed(self, taken: list[InFlightJob], *, is_full: bool) -> None:
        """Learn from a claim.

        A job that nobody settled the last time may be one that kills its worker, and then all that
        the worker has in flight lose an attempt. So nothing is claimed ahead beside such jobs.

        Args:
            taken: The jobs that it brought.
            is_full: Whether it brought as many as were asked for.
        """
        if any(delivery.job._is_suspect for delivery in taken):  # noqa: SLF001 - ours
            self._let_wait(0)
            self._release_waiting()
        elif is_full:
            self._let_wait(min(self._enough(), max(2 * self._ahead, self._concurrency)))
        else:
            self._let_wait(min(self._enough(), self._ahead // 2))

    def _let_wait(self, jobs: int) -> None:
        self._ahead = jobs
        self._in_flight.capacity = self._concurrency + jobs

    def _release_waiting(self) -> None:
        """Hand back the jobs that there is no handler free for."""
        free = self._concurrency - len(self._dispatcher.running())
        self._dispatcher.release_waiting(keep=max(0, free))

    def _enough(self) -> int:
        """Return how many jobs the handlers begin in a moment, beside those that they have."""
        typical = self._recent_seconds()
        if typical is None:
            return 0
        ahead = self._concurrency * (AHEAD_SECONDS / max(typical, 1e-6) - 1)
        return int(min(max(0.0, ahead), MAX_PREFETCH))

    def _recent_seconds(self) -> float | None:
        """Return how long an attempt has taken of late, those included that still run."""
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
