"""What a worker does, told to its statistics and its log."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from meshhook.worker.stats import WorkerStats

if TYPE_CHECKING:
    from meshhook._calls.settle import Outcome
    from meshhook.exceptions import RequestError
    from meshhook.worker.health import Health
    from meshhook.worker.held import HeldJob
    from meshhook.worker.queues import WorkedQueue

log = logging.getLogger("meshhook.worker")
logging.getLogger("meshhook").addHandler(logging.NullHandler())

_COUNTED = {
    "complete": ("processed", "succeeded"),
    "retry": ("processed", "failed", "retried"),
    "dead_letter": ("processed", "failed", "moved_to_dlq"),
}


class Reporter:
    """Counts and logs; never a message's content.

    Args:
        worker_name: Who is reported about.
        health: Whether Supabase can be reached.
    """

    def __init__(self, worker_name: str, health: Health) -> None:
        self._worker_name = worker_name
        self._health = health
        self._counts: Counter[str] = Counter()
        self._last_error: str | None = None

    def stats(self) -> WorkerStats:
        """Return what has been done so far."""
        return WorkerStats(
            **self._counts,
            last_error=self._last_error,
            last_successful_poll=self._health.last_success,
            unhealthy_since=self._health.unhealthy_since,
        )

    def count(self, name: str) -> int:
        """Return one of the counts."""
        return self._counts[name]

    def started(self, held: HeldJob) -> None:
        """A job goes into its handler."""
        held.begun = True
        self._counts["running"] += 1
        log.debug("job started", extra=self._fields(held))

    def ended(self, held: HeldJob) -> None:
        """A job leaves its handler."""
        self._counts["running"] -= 1
        log.debug("job left its handler", extra=self._fields(held))

    def settled(self, held: HeldJob, outcome: Outcome) -> None:
        """The database has confirmed an outcome."""
        names = _COUNTED.get(outcome.outcome)
        if names is None:
            names = ("snoozed",) if held.begun and not held.recalled else ("released",)
        self._counts.update(names)
        fields = self._fields(held, outcome=outcome.outcome, duration=outcome.seconds)
        if outcome.error_message is not None:
            self._last_error = outcome.error_message
            fields["error_type"] = outcome.error_type
        level = logging.WARNING if outcome.outcome == "dead_letter" else logging.DEBUG
        log.log(level, "job settled: %s", outcome.outcome, extra=fields)

    def lost(self, held: HeldJob, why: str) -> None:
        """A lease is lost."""
        self._counts["lost"] += 1
        log.warning(
            "lost the lease of job %s in %s, attempt %s: %s",
            held.job.msg_id,
            held.job.queue_name,
            held.job.attempt,
            why,
            extra=self._fields(held, outcome="lost"),
        )

    def buried(self, queue: WorkedQueue, msg_id: int, error: str) -> None:
        """A claim moved a job that was past its last attempt to the dead letter queue."""
        self._counts["moved_to_dlq"] += 1
        self._last_error = error
        fields = {"worker": self._worker_name, "queue": queue.name, "msg_id": msg_id}
        log.warning("job %s in %s went to the dead letter queue", msg_id, queue.name, extra=fields)

    def outage(self, error: RequestError, *, news: bool) -> None:
        """A call failed, and will be repeated."""
        self._last_error = str(error)
        level = logging.WARNING if news else logging.DEBUG
        log.log(level, "waiting for Supabase: %s", error, extra={"worker": self._worker_name})

    def recovered(self, seconds: float) -> None:
        """Calls succeed again."""
        log.warning("Supabase is back after %.1f s", seconds, extra={"worker": self._worker_name})

    def gave_up(self, held: HeldJob, why: str) -> None:
        """A job could not be settled; it comes again when its lease ends."""
        log.error(
            "could not settle job %s in %s: %s",
            held.job.msg_id,
            held.job.queue_name,
            why,
            extra=self._fields(held, outcome="given_up"),
        )

    def state(self, what: str, *args: Any) -> None:
        """The worker itself begins, stops or ends."""
        log.info(what, *args, extra={"worker": self._worker_name})

    def _fields(self, held: HeldJob, **more: Any) -> dict[str, Any]:
        return {
            "worker": self._worker_name,
            "queue": held.job.queue_name,
            "msg_id": held.job.msg_id,
            "run_id": held.job.message.get("run_id"),
            "attempt": held.job.attempt,
            **more,
        }
