"""Keeping the leases of all jobs in hand alive, with one call for each queue."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import anyio

from meshhook._calls import settle
from meshhook.exceptions import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.transport import Transport
    from meshhook.worker.heartbeat import Presence
    from meshhook.worker.in_flight import Hand, HeldJob
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.reporter import Reporter

# A third of the lease: one call may fail, and the next still comes in time.
EXTENSIONS_IN_A_LEASE = 3

# While calls fail, the next comes this much sooner.
TRIES_IN_AN_INTERVAL = 5


class LeaseKeeper:
    """Extends the leases of the jobs in hand until each is settled.

    Error handling: an extension that fails is tried again, and the handlers go on, until their
    leases are over; then they are cancelled, since somebody else may have the jobs. A job whose
    lease the database says is lost is cancelled at once, and it alone.

    Args:
        transport: What sends each call once.
        queues: The queues.
        hand: The jobs in hand.
        reporter: Who is told.
        presence: What goes with a call now and then, so that the worker is seen.
    """

    def __init__(
        self,
        transport: Transport,
        queues: Sequence[WorkedQueue],
        hand: Hand,
        reporter: Reporter,
        presence: Presence,
    ) -> None:
        self._transport = transport
        self._queues = queues
        self._hand = hand
        self._reporter = reporter
        self._presence = presence

    async def run(self) -> None:
        """Extend leases, for ever.

        Raises:
            RequestError: A call failed with what waiting does not mend.
        """
        failed = False
        while True:
            if not len(self._hand):
                self._reporter.rested("extend")
            await self._hand.wait_filled()
            interval = min(queue.vt_seconds for queue in self._queues) / EXTENSIONS_IN_A_LEASE
            await anyio.sleep(interval / TRIES_IN_AN_INTERVAL if failed else interval)
            failed = not await self._extend_all(interval)

    async def _extend_all(self, seconds: float) -> bool:
        """Extend the leases of every queue and tell whether all the calls succeeded."""
        held_by_queue: defaultdict[str, list[HeldJob]] = defaultdict(list)
        for held in self._hand:
            held_by_queue[held.job.queue_name].append(held)
        results = [await self._extend(jobs, seconds) for jobs in held_by_queue.values()]
        return all(results)

    async def _extend(self, jobs: Sequence[HeldJob], seconds: float) -> bool:
        queue = jobs[0].queue
        asked_at = time.monotonic()
        receipts = [held.job for held in jobs]
        call = settle.extend(queue.name, receipts, queue.vt_seconds, self._presence.due())
        try:
            with anyio.fail_after(seconds):
                still_held = await self._transport.call(call)
        except (RequestError, TimeoutError) as error:
            self._note_failure(error, asked_at)
            self._lose_those_over(jobs)
            return False
        self._reporter.answered("extend")
        for held, receipt, is_held in zip(jobs, receipts, still_held, strict=True):
            if is_held:
                held.extended(asked_at + queue.vt_seconds)
            elif held.job is receipt and not held.settling and not held.lost:
                self._lose(held, "somebody else has read the job, or it is gone")
        return True

    def _note_failure(self, error: Exception, asked_at: float) -> None:
        if isinstance(error, RequestError):
            self._reporter.failed(error, "extend", asked_at)

    def _lose_those_over(self, jobs: Sequence[HeldJob]) -> None:
        for held in jobs:
            if held.lease_is_over() and not held.settling and not held.lost:
                self._lose(held, "it is over, and could not be extended")

    def _lose(self, held: HeldJob, why: str) -> None:
        self._reporter.lost(held, why)
        held.lose()
