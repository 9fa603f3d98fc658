"""The thread lease keeper: extends leases from a thread while the event loop is blocked."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from meshhook._calls import settle
from meshhook.exceptions import MeshHookError
from meshhook.worker.lease import EXTENSIONS_IN_A_LEASE, TRIES_IN_AN_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.twin import Twin
    from meshhook.worker.heartbeat import Heartbeat
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter


@attrs.define(eq=False)
class ThreadLeaseKeeper:
    """Extends the leases of the jobs in flight when that is due and the event loop does not do it.

    Its methods are called in one thread, which is not the loop's.

    Error handling: an extension that fails is tried again, and logged once while the loop is
    blocked. A lost lease is left to the `LeaseKeeper`, since only the loop can cancel handlers.

    Args:
        transport: Sends each call once, from any thread.
        in_flight: The jobs in flight.
        reporter: Logs.
        heartbeat: Goes with a call every few seconds.
    """

    _transport: Twin
    _in_flight: InFlight
    _reporter: Reporter
    _heartbeat: Heartbeat
    _next_try: dict[str, float] = attrs.field(factory=dict, init=False)
    _overdue: set[InFlightJob] = attrs.field(factory=set, init=False)
    _has_failed: bool = attrs.field(default=False, init=False)

    def extend(self, blocking: InFlightJob | None) -> None:
        """Extend the leases that are due, with one call for each queue.

        Args:
            blocking: The job whose handler blocks the loop, if that is known.
        """
        for jobs in self._kept(blocking).values():
            if self._is_due(jobs):
                self._extend(jobs)

    def rest(self) -> None:
        """Close the connections: the loop runs again."""
        self._transport.close()
        self._next_try.clear()
        self._overdue.clear()
        self._has_failed = False

    def _kept(self, blocking: InFlightJob | None) -> dict[str, list[InFlightJob]]:
        """Return the jobs by queue whose leases are still extended.

        A handler that blocks the loop cannot be cancelled when its time is up. Its job gets one
        more lease; with further ones it would be hidden until the process ends. The jobs that wait
        behind it are treated alike, since they would wait here for as long.
        """
        now = time.monotonic()
        kept: defaultdict[str, list[InFlightJob]] = defaultdict(list)
        overdue: list[InFlightJob] = []
        is_hopeless = blocking is not None and _is_overdue(blocking, now)
        for delivery in self._in_flight.snapshot():
            if is_hopeless or _is_overdue(delivery, now):
                overdue.append(delivery)
            elif not delivery.lost:
                kept[delivery.job.queue_name].append(delivery)
        self._note_overdue(overdue)
        return kept

    def _note_overdue(self, jobs: Sequence[InFlightJob]) -> None:
        if not self._overdue.issuperset(jobs):
            self._overdue.update(jobs)
            self._reporter.extended_no_longer(jobs)

    def _is_due(self, jobs: Sequence[InFlightJob]) -> bool:
        """Return whether a third of a lease has passed, and the last try is not too recent."""
        now = time.monotonic()
        queue = jobs[0].queue
        interval = queue.vt_seconds / EXTENSIONS_IN_A_LEASE
        extended_at = min(delivery.lease_ends for delivery in jobs) - queue.vt_seconds
        return now >= extended_at + interval and now >= self._next_try.get(queue.name, 0.0)

    def _extend(self, jobs: Sequence[InFlightJob]) -> None:
        queue = jobs[0].queue
        interval = queue.vt_seconds / EXTENSIONS_IN_A_LEASE
        asked_at = time.monotonic()
        receipts = [delivery.job for delivery in jobs]
        self._next_try[queue.name] = asked_at + interval / TRIES_IN_AN_INTERVAL
        try:
            call = settle.extend(queue.name, receipts, queue.vt_seconds, self._heartbeat.due())
            are_extended = self._transport.call(call, interval)
        except MeshHookError as error:
            self._note_failure(queue.name, error)
            return
        self._next_try[queue.name] = asked_at + interval
        for delivery, receipt, is_extended in zip(jobs, receipts, are_extended, strict=True):
            if is_extended and delivery.job is receipt:
                delivery.extended(asked_at + queue.vt_seconds)

    def _note_failure(self, queue_name: str, error: MeshHookError) -> None:
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        self._reporter.extension_failed(queue_name, error, level)


def _is_overdue(delivery: InFlightJob, now: float) -> bool:
    if delivery.deadline is None or delivery.settling:
        return False
    return now > delivery.deadline + delivery.queue.vt_seconds
