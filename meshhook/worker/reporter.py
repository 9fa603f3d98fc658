"""What a worker does, told to its statistics, its log and the user's hooks."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from meshhook._calls.settle import ERROR_MESSAGE_LIMIT
from meshhook._inputs import check
from meshhook.worker.events import EventKind, WorkerEvent
from meshhook.worker.failure import FailedOutcome
from meshhook.worker.stats import WorkerStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._calls.settle import Outcome
    from meshhook.exceptions import MeshHookError, RequestError
    from meshhook.worker.blocked import Blocked
    from meshhook.worker.events import HookCaller
    from meshhook.worker.failure import Failure
    from meshhook.worker.health import Health, Kind
    from meshhook.worker.in_flight import InFlightJob
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.stats import StopReport

# Without a handler: where the application sets up no logging, Python shows warnings and errors.
log = logging.getLogger("meshhook.worker")

# What is counted, and what is told, when an outcome is confirmed.
_SETTLED: dict[str, tuple[tuple[str, ...], tuple[EventKind, ...]]] = {
    "complete": (("processed", "succeeded"), ("succeeded",)),
    "retry": (("processed", "failed", "retried"), ("failed", "retried")),
    "dead_letter": (("processed", "failed", "moved_to_dlq"), ("failed", "dead_lettered")),
}


class Reporter:
    """Counts, logs and calls the user's hooks; never with a message's content in a log line.

    Args:
        worker_name: Who is reported about.
        health: Whether Supabase can be reached.
        hook: What gets each event.
        on_error: What gets each error of an attempt.
        log_tracebacks: Whether a failed attempt is logged with its traceback.
    """

    def __init__(
        self,
        worker_name: str,
        health: Health,
        hook: HookCaller,
        on_error: HookCaller,
        *,
        log_tracebacks: bool,
    ) -> None:
        self._worker_name = worker_name
        self._health = health
        self._hook = hook
        self._on_error = on_error
        self._log_tracebacks = log_tracebacks
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
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

    def typical_seconds(self) -> float:
        """Return how long an attempt has taken so far on average; 0 before the first."""
        return self._seconds / max(1, self._counts["processed"])

    def worked(self) -> tuple[int, float]:
        """Return how many attempts have come to an end, and how many seconds they took."""
        return self._counts["processed"], self._seconds

    @property
    def is_watched(self) -> bool:
        """Whether somebody gets the events."""
        return self._hook.is_set

    def claimed(self, delivery: InFlightJob) -> None:
        """A job has been claimed."""
        self._tell("claimed", delivery)

    def started(self, delivery: InFlightJob) -> None:
        """A job goes into its handler."""
        delivery.begun_at = time.monotonic()
        self._counts["running"] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("job started", extra=self._fields(delivery))
        self._tell("started", delivery)

    def ended(self) -> None:
        """A job leaves its handler."""
        self._counts["running"] -= 1

    def attempt_failed(
        self, delivery: InFlightJob, outcome: FailedOutcome, failure: Failure
    ) -> None:
        """An attempt has failed; its outcome is yet to be settled, which may take an outage."""
        job = delivery.job
        is_last = outcome.outcome == "dead_letter"
        level = logging.ERROR if is_last else logging.WARNING
        if log.isEnabledFor(level):
            then = (
                f"it goes to {delivery.queue.last_stop}"
                if is_last
                else _next(outcome.delay_seconds)
            )
            error = _told(failure.error_type, failure.message)
            log.log(
                level,
                "job %s in %s, attempt %s of %s failed: %s; %s",
                *(job.msg_id, job.queue_name, job.attempt, job.max_attempts, error, then),
                exc_info=failure.exc_info() if self._log_tracebacks else None,
                extra=self._fields(
                    delivery,
                    outcome="failed",
                    duration=outcome.seconds,
                    error_type=failure.error_type,
                    error_message=_storable(failure.message),
                ),
            )
        self._on_error.emit(f"job {job.msg_id} in {job.queue_name}", failure.error, job)

    def settled(self, delivery: InFlightJob, outcome: Outcome) -> None:
        """The database has confirmed an outcome."""
        if outcome.outcome in _SETTLED:
            names, kinds = _SETTLED[outcome.outcome]
        elif delivery.begun_at is not None and not delivery.released:
            names, kinds = ("snoozed",), ("snoozed",)
        else:
            names, kinds = ("released",), ("released",)
        for name in names:
            self._counts[name] += 1
        self._seconds += outcome.seconds or 0.0
        if outcome.error_message is not None:
            self._last_error = outcome.error_message
        self._log_settled(delivery, outcome, kinds[-1])
        for kind in kinds:
            self._tell(kind, delivery, outcome)

    def lost(self, delivery: InFlightJob, why: str) -> None:
        """A lease is lost."""
        self._counts["lost"] += 1
        log.warning(
            "lost the lease of job %s in %s, attempt %s: %s",
            delivery.job.msg_id,
            delivery.job.queue_name,
            delivery.job.attempt,
            why,
            extra=self._fields(delivery, outcome="lost"),
        )
        self._tell("lost", delivery, error_message=why)

    def dead_lettered(self, queue: WorkedQueue, msg_id: int, error: str) -> None:
        """A claim took a job that was past its last attempt out of the queue."""
        self._counts["moved_to_dlq"] += 1
        self._last_error = error
        log.error(
            "job %s in %s is given up: %s; it went to %s",
            *(msg_id, queue.name, error, queue.last_stop),
            extra={
                "worker": self._worker_name,
                "queue": queue.name,
                "msg_id": msg_id,
                "outcome": "dead_lettered",
                "error_type": error.partition(":")[0],
                "error_message": error,
            },
        )
        self._emit("dead_lettered", queue_name=queue.name, msg_id=msg_id, error_message=error)

    def failed(self, error: RequestError, kind: Kind, sent_at: float) -> None:
        """A call failed, and will be repeated; raise what waiting does not mend."""
        news = self._health.failed(error, kind, sent_at)
        self._last_error = str(error)
        level = logging.WARNING if news else logging.DEBUG
        log.log(level, "waiting for Supabase: %s", error, extra={"worker": self._worker_name})
        if news:
            self._emit("outage", error_type=type(error).__name__, error_message=str(error))

    def answered(self, kind: Kind) -> None:
        """A call succeeded: one of many, or one that ends an outage."""
        self._recovered(self._health.succeeded(kind))

    def rested(self, kind: Kind) -> None:
        """There is nothing left to call for."""
        self._recovered(self._health.rested(kind))

    def _recovered(self, seconds: float | None) -> None:
        if seconds is None:
            return
        log.warning("Supabase is back after %.1f s", seconds, extra={"worker": self._worker_name})
        self._emit("recovered", seconds=seconds)

    def paused(self, queue_name: str, *, is_paused: bool) -> None:
        """A queue is paused, or hands out jobs again."""
        kind: EventKind = "paused" if is_paused else "resumed"
        fields = {"worker": self._worker_name, "queue": queue_name}
        log.info("queue %s is %s", queue_name, kind, extra=fields)
        self._emit(kind, queue_name=queue_name)

    def pruning_failed(self, queue_name: str, error: RequestError) -> None:
        """Old history could not be deleted; it is tried again later."""
        fields = {"worker": self._worker_name, "queue": queue_name}
        log.info("could not prune the history of %s: %s", queue_name, error, extra=fields)

    def gave_up(self, delivery: InFlightJob, why: str) -> None:
        """A job could not be settled; it comes again when its lease ends."""
        log.error(
            "could not settle job %s in %s: %s",
            delivery.job.msg_id,
            delivery.job.queue_name,
            why,
            extra=self._fields(delivery, outcome="given_up"),
        )
        self._tell("given_up", delivery, error_message=why)

    def blocked(self, blocked: Blocked) -> None:
        """The event loop is blocked; said from another thread, so only to the log."""
        log.warning(
            "the event loop has been blocked for %.1f s by %s: %s",
            blocked.seconds,
            blocked.culprit,
            blocked.fix,
            extra=self._fields_of(blocked.standing.delivery),
        )

    def unblocked(self, blocked: Blocked) -> None:
        """The event loop was blocked, and moves again."""
        self._counts["blocked"] += 1
        delivery = blocked.standing.delivery
        if blocked.is_logged:
            log.warning(
                "the event loop moves again: it was blocked for %.1f s in all, at last by %s",
                blocked.seconds,
                blocked.culprit,
                extra=self._fields_of(delivery),
            )
        self._emit(
            "blocked",
            queue_name=delivery and delivery.job.queue_name,
            msg_id=delivery and delivery.job.msg_id,
            run_id=delivery and delivery.job.message.get("run_id"),
            attempt=delivery and delivery.job.attempt,
            seconds=round(blocked.seconds, 3),
            error_message=blocked.culprit,
        )

    def extension_failed(self, queue_name: str, error: MeshHookError, level: int) -> None:
        """A lease could not be extended while the event loop is blocked; it is tried again."""
        log.log(
            level,
            "could not extend the leases in %s while the event loop is blocked: %s",
            queue_name,
            error,
            extra={"worker": self._worker_name, "queue": queue_name},
        )

    def let_go(self, jobs: Sequence[InFlightJob]) -> None:
        """Leases are not extended any longer, because a handler's time was up long ago."""
        first, others = jobs[0], len(jobs) - 1
        log.warning(
            "the lease of job %s in %s%s is extended no longer: a time-out is over, and no handler"
            " can be cancelled while the event loop is blocked",
            first.job.msg_id,
            first.job.queue_name,
            f", and of {others} more," if others else "",
            extra=self._fields(first),
        )

    def started_to_work(self) -> None:
        """The worker itself begins."""
        self._state("worker_started", "")

    def stopping(self, reason: str) -> None:
        """The worker stops.

        Args:
            reason: Why; of an error its class, since its text is told where it is raised.
        """
        self._state("worker_stopping", f": {reason}")

    def stopped(self, report: StopReport) -> None:
        """The worker has stopped."""
        given_up = f", {len(report.given_up)} given up" if report.given_up else ""
        self._state(
            "worker_stopped",
            f": {report.finished} finished meanwhile, {report.released} handed back{given_up}",
        )

    def _state(self, kind: EventKind, detail: str) -> None:
        log.info("%s%s", kind.replace("_", " "), detail, extra={"worker": self._worker_name})
        self._emit(kind)

    def _log_settled(self, delivery: InFlightJob, outcome: Outcome, kind: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            fields = self._fields(delivery, outcome=kind, duration=outcome.seconds)
            fields["error_type"] = outcome.error_type
            where = (delivery.job.msg_id, delivery.job.queue_name, delivery.job.attempt)
            log.debug("job %s in %s, attempt %s: %s", *where, kind, extra=fields)

    def _tell(
        self,
        kind: EventKind,
        delivery: InFlightJob,
        outcome: Outcome | None = None,
        error_message: str | None = None,
    ) -> None:
        if self._hook.is_set:
            self._emit(
                kind,
                queue_name=delivery.job.queue_name,
                msg_id=delivery.job.msg_id,
                run_id=delivery.job.message.get("run_id"),
                attempt=delivery.job.attempt,
                seconds=outcome and outcome.seconds,
                error_type=outcome and outcome.error_type,
                error_message=outcome.error_message if outcome else error_message,
                error=outcome.error if isinstance(outcome, FailedOutcome) else None,
            )

    def _emit(self, kind: EventKind, **fields: Any) -> None:
        if self._hook.is_set:
            self._hook.emit(kind, WorkerEvent(kind=kind, worker=self._worker_name, **fields))

    def _fields_of(self, delivery: InFlightJob | None) -> dict[str, Any]:
        return {"worker": self._worker_name} if delivery is None else self._fields(delivery)

    def _fields(self, delivery: InFlightJob, **more: Any) -> dict[str, Any]:
        return {
            "worker": self._worker_name,
            "queue": delivery.job.queue_name,
            "msg_id": delivery.job.msg_id,
            "run_id": delivery.job.message.get("run_id"),
            "attempt": delivery.job.attempt,
            **more,
        }


def _told(error_type: str, message: str) -> str | None:
    """Return what is said of an error: its class and its text, of a sensible length."""
    return _storable(message if message.startswith(error_type) else f"{error_type}: {message}")


def _storable(message: str) -> str | None:
    return check.storable("error_message", message, ERROR_MESSAGE_LIMIT)


def _next(delay_seconds: float | None) -> str:
    return f"next attempt in {round(delay_seconds, 1):g} s" if delay_seconds else "next attempt now"
