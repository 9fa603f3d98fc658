"""The lease keeper: extends the leases of all jobs in flight, with one call for each queue."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook._calls import settle
from meshhook.exceptions import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.transport import Transport
    from meshhook.worker.heartbeat import Heartbeat
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.reporter import Reporter

EXTENSIONS_IN_A_LEASE = 3
"""How often a lease is extended while it lasts: one call may fail, and the next is in time."""

TRIES_IN_AN_INTERVAL = 5
"""While calls fail, the next comes this many times sooner."""


@attrs.define(eq=False)
class LeaseKeeper:
    """Extends the leases of the jobs in flight until each is settled.

    Error handling: an extension that fails is tried again, and the handlers go on until their
    leases end. Then they are cancelled, since another worker may have the jobs. If the database
    says that a lease is lost, that handler alone is cancelled, at once.

    Args:
        transport: Sends each call once.
        queues: The queues.
        in_flight: The jobs in flight.
        reporter: Counts, logs and emits events.
        heartbeat: Goes with a call every few seconds.
    """

    _transport: Transport
    _queues: Sequence[WorkedQueue]
    _in_flight: InFlight
    _reporter: Reporter
    _heartbeat: Heartbeat

    async def run(self) -> None:
        """Extend leases until cancelled.

        Raises:
            RequestError: A call failed, and waiting does not fix it.
        """
        failed = False
        while True:
            if not len(self._in_flight):
                self._reporter.rested("extend")
            await self._in_flight.wait_filled()
            interval = min(queue.vt_seconds for queue in self._queues) / EXTENSIONS_IN_A_LEASE
            await anyio.sleep(interval / TRIES_IN_AN_INTERVAL if failed else interval)
            failed = not await self._extend_all(interval)

    async def _extend_all(self, seconds: float) -> bool:
        """Extend the leases of every queue; return whether all calls succeeded."""
        by_queue: defaultdict[str, list[InFlightJob]] = defaultdict(list)
        for delivery in self._in_flight:
            by_queue[delivery.job.queue_name].append(delivery)
        results = [await self._extend(jobs, seconds) for jobs in by_queue.values()]
        return all(results)

    async def _extend(self, jobs: Sequence[InFlightJob], seconds: float) -> bool:
        queue = jobs[0].queue
        asked_at = time.monotonic()
        receipts = [delivery.job for delivery in jobs]
        call = settle.extend(queue.name, receipts, queue.vt_seconds, self._heartbeat.due())
        try:
            with anyio.fail_after(seconds):
                are_extended = await self._transport.call(call)
        except (RequestError, TimeoutError) as error:
            if isinstance(error, RequestError):
                self._reporter.failed(error, "extend", asked_at)
            self._lose_those_ended(jobs)
            return False
        self._reporter.answered("extend")
        for delivery, receipt, is_extended in zip(jobs, receipts, are_extended, strict=True):
            if is_extended:
                delivery.extended(asked_at + queue.vt_seconds)
            elif delivery.job is receipt and not delivery.settling and not delivery.lost:
                self._lose(delivery, "another worker has read the job, or it is gone")
        return True

    def _lose_those_ended(self, jobs: Sequence[InFlightJob]) -> None:
        for delivery in jobs:
            if delivery.lease_has_ended() and not delivery.settling and not delivery.lost:
                self._lose(delivery, "it ended, and could not be extended")

    def _lose(self, delivery: InFlightJob, why: str) -> None:
        self._reporter.lost(delivery, why)
        delivery.lose()
