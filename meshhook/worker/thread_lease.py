"""Keeping leases alive from a thread, while the event loop that should do it is blocked."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from meshhook._calls import settle
from meshhook.exceptions import MeshHookError
from meshhook.worker.lease import EXTENSIONS_IN_A_LEASE, TRIES_IN_AN_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.twin import Twin
    from meshhook.worker.heartbeat import Presence
    from meshhook.worker.in_flight import Hand, HeldJob
    from meshhook.worker.reporter import Reporter


class ThreadLeaseKeeper:
    """Extends the leases of the jobs in hand when that is due and the event loop does not.

    Its methods are called in one thread, which is not the loop's.

    Error handling: an extension that fails is logged once while the loop is blocked, and tried
    again. A lease that is lost is left to the loop's own `LeaseKeeper`.

    Args:
        transport: What sends each call once, from any thread.
        hand: The jobs in hand.
        reporter: What logs.
        presence: What goes with a call now and then, so that the worker is seen.
    """

    def __init__(self, transport: Twin, hand: Hand, reporter: Reporter, presence: Presence) -> None:
        self._transport = transport
        self._hand = hand
        self._reporter = reporter
        self._presence = presence
        self._next_try: dict[str, float] = {}
        self._let_go: set[HeldJob] = set()
        self._has_failed = False

    def extend(self, blocking: HeldJob | None) -> None:
        """Extend what is due, with one call for each queue.

        Args:
            blocking: The job whose handler blocks the loop, if that is known.
        """
        for jobs in self._kept(blocking).values():
            if self._is_due(jobs):
                self._extend(jobs)

    def rest(self) -> None:
        """Close the connections: the loop moves again."""
        self._transport.close()
        self._next_try.clear()
        self._let_go.clear()
        self._has_failed = False

    def _kept(self, blocking: HeldJob | None) -> dict[str, list[HeldJob]]:
        """Return the jobs by queue, but for those that have had their time.

        A handler that blocks the loop cannot be cancelled when its time is up. It gets one more
        lease; to keep its job for longer would be to keep it until the process ends. The jobs that
        wait behind it have no better prospects here.
        """
        now = time.monotonic()
        kept: defaultdict[str, list[HeldJob]] = defaultdict(list)
        let_go: list[HeldJob] = []
        is_hopeless = blocking is not None and _is_overdue(blocking, now)
        for held in self._hand.snapshot():
            if is_hopeless or _is_overdue(held, now):
                let_go.append(held)
            elif not held.lost:
                kept[held.job.queue_name].append(held)
        self._note_let_go(let_go)
        return kept

    def _note_let_go(self, jobs: Sequence[HeldJob]) -> None:
        if not self._let_go.issuperset(jobs):
            self._let_go.update(jobs)
            self._reporter.let_go(jobs)

    def _is_due(self, jobs: Sequence[HeldJob]) -> bool:
        """Tell whether a third of a lease is over, and the last try is not just made."""
        now = time.monotonic()
        queue = jobs[0].queue
        interval = queue.vt_seconds / EXTENSIONS_IN_A_LEASE
        extended_at = min(held.lease_ends for held in jobs) - queue.vt_seconds
        return now >= extended_at + interval and now >= self._next_try.get(queue.name, 0.0)

    def _extend(self, jobs: Sequence[HeldJob]) -> None:
        queue = jobs[0].queue
        interval = queue.vt_seconds / EXTENSIONS_IN_A_LEASE
        asked_at = time.monotonic()
        receipts = [held.job for held in jobs]
        self._next_try[queue.name] = asked_at + interval / TRIES_IN_AN_INTERVAL
        try:
            call = settle.extend(queue.name, receipts, queue.vt_seconds, self._presence.due())
            still_held = self._transport.call(call, interval)
        except MeshHookError as error:
            self._note_failure(queue.name, error)
            return
        self._next_try[queue.name] = asked_at + interval
        for held, receipt, is_held in zip(jobs, receipts, still_held, strict=True):
            if is_held and held.job is receipt:
                held.extended(asked_at + queue.vt_seconds)

    def _note_failure(self, queue_name: str, error: MeshHookError) -> None:
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        self._reporter.extension_failed(queue_name, error, level)


def _is_overdue(held: HeldJob, now: float) -> bool:
    if held.deadline is None or held.settling:
        return False
    return now > held.deadline + held.queue.vt_seconds
