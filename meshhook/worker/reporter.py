"""The reporter: turns what a worker does into statistics, log lines and events."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

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
    from meshhook.worker.failure import ExcInfo, Failure
    from meshhook.worker.health import Health, Kind
    from meshhook.worker.in_flight import InFlightJob
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.stats import StopReport

# Without a handler: where the application sets up no logging, Python shows warnings and errors.
log = logging.getLogger("meshhook.worker")

# The counts that grow, and the events that are emitted, when an outcome is confirmed.
_SETTLED: dict[str, tuple[tuple[str, ...], tuple[EventKind, ...]]] = {
    "complete": (("processed", "succeeded"), ("succeeded",)),
    "retry": (("processed", "failed", "retried"), ("failed", "retried")),
    "dead_letter": (("processed", "failed", "moved_to_dlq"), ("failed", "dead_lettered")),
}


@attrs.define(eq=False)
class Reporter:
    """Counts, logs and emits events; never with a message's content in a log line.

    Args:
        worker_name: The worker's name.
        health: Whether Supabase can be reached.
        hook: Gets each event.
        on_error: Gets each error of an attempt.
        log_tracebacks: Whether a failed attempt is logged with its traceback.
    """

    _worker_name: str
    _health: Health
    _hook: HookCaller
    _on_error: HookCaller
    _log_tracebacks: bool = attrs.field(kw_only=True)
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    _last_error: str | None = attrs.field(default=None, init=False)

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
        """Return how many attempts have ended, and how many seconds they took."""
        return self._counts["processed"], self._seconds

    @property
    def is_watched(self) -> bool:
        """Whether a hook gets the events."""
        return self._hook.is_set

    def claimed(self, delivery: InFlightJob) -> None:
        """A job has been claimed."""
        self._emit("claimed", delivery)

    def started(self, delivery: InFlightJob) -> None:
        """A job goes into its handler."""
        delivery.begun_at = time.monotonic()
        self._counts["running"] += 1
        if log.isEnabledFor(logging.DEBUG):
            self._log(logging.DEBUG, "job started", delivery=delivery)
        self._emit("started", delivery)

    def ended(self) -> None:
        """A job leaves its handler."""
        self._counts["running"] -= 1

    def attempt_failed(
        self, delivery: InFlightJob, outcome: FailedOutcome, failure: Failure
    ) -> None:
        """An attempt has failed; its outcome is settled later, after an outage if there is one."""
        job = delivery.job
        is_last = outcome.outcome == "dead_letter"
        level = logging.ERROR if is_last else logging.WARNING
        if log.isEnabledFor(level):
            then = (
                f"it goes to {delivery.queue.last_stop}"
                if is_last
                else _next(outcome.delay_seconds)
            )
            error = _one_line(failure.error_type, failure.message)
            self._log(
                level,
                "job %s in %s, attempt %s of %s failed: %s; %s",
                *(job.msg_id, job.queue_name, job.attempt, job.max_attempts, error, then),
                exc_info=failure.exc_info() if self._log_tracebacks else None,
                delivery=delivery,
                outcome="failed",
                duration=outcome.seconds,
                error_type=failure.error_type,
                error_message=_storable(failure.message),
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
        if self.is_watched:
            for kind in kinds:
                self._emit(kind, delivery, **_of_outcome(outcome))

    def lost(self, delivery: InFlightJob, why: str) -> None:
        """A lease is lost."""
        self._counts["lost"] += 1
        job = delivery.job
        self._log(
            logging.WARNING,
            "lost the lease of job %s in %s, attempt %s: %s",
            *(job.msg_id, job.queue_name, job.attempt, why),
            delivery=delivery,
            outcome="lost",
        )
        self._emit("lost", delivery, error_message=why)

    def dead_lettered(self, queue: WorkedQueue, msg_id: int, error: str) -> None:
        """A claim moved a job that was past its last attempt out of the queue."""
        self._counts["moved_to_dlq"] += 1
        self._last_error = error
        self._log(
            logging.ERROR,
            "job %s in %s is given up: %s; it went to %s",
            *(msg_id, queue.name, error, queue.last_stop),
            queue=queue.name,
            msg_id=msg_id,
            outcome="dead_lettered",
            error_type=error.partition(":")[0],
            error_message=error,
        )
        self._emit("dead_lettered", queue_name=queue.name, msg_id=msg_id, error_message=error)

    def failed(self, error: RequestError, kind: Kind, sent_at: float) -> None:
        """A call failed and will be repeated; an error that waiting does not fix is raised."""
        is_news = self._health.failed(error, kind, sent_at)
        self._last_error = str(error)
        level = logging.WARNING if is_news else logging.DEBUG
        self._log(level, "waiting for Supabase: %s", error)
        if is_news:
            self._emit("outage", error_type=type(error).__name__, error_message=str(error))

    def answered(self, kind: Kind) -> None:
        """A call succeeded, which may end an outage."""
        self._recovered(self._health.succeeded(kind))

    def rested(self, kind: Kind) -> None:
        """No more calls of a kind are needed, which may end an outage."""
        self._recovered(self._health.rested(kind))

    def _recovered(self, seconds: float | None) -> None:
        if seconds is not None:
            self._log(logging.WARNING, "Supabase is back after %.1f s", seconds)
            self._emit("recovered", seconds=seconds)

    def paused(self, queue_name: str, *, is_paused: bool) -> None:
        """A queue is paused, or hands out jobs again."""
        kind: EventKind = "paused" if is_paused else "resumed"
        self._log(logging.INFO, "queue %s is %s", queue_name, kind, queue=queue_name)
        self._emit(kind, queue_name=queue_name)

    def pruning_failed(self, queue_name: str, error: RequestError) -> None:
        """Old history could not be deleted; it is tried again later."""
        text = "could not prune the history of %s: %s"
        self._log(logging.INFO, text, queue_name, error, queue=queue_name)

    def gave_up(self, delivery: InFlightJob, why: str) -> None:
        """A job could not be settled; it comes again when its lease ends."""
        self._log(
            logging.ERROR,
            "could not settle job %s in %s: %s",
            *(delivery.job.msg_id, delivery.job.queue_name, why),
            delivery=delivery,
            outcome="given_up",
        )
        self._emit("given_up", delivery, error_message=why)

    def blocked(self, blocked: Blocked) -> None:
        """The event loop is blocked; this is called in another thread, so it is only logged."""
        self._log(
            logging.WARNING,
            "the event loop has been blocked for %.1f s by %s: %s",
            *(blocked.seconds, blocked.culprit, blocked.fix),
            delivery=blocked.standing.delivery,
        )

    def unblocked(self, blocked: Blocked) -> None:
        """The event loop was blocked, and runs again."""
        self._counts["blocked"] += 1
        delivery = blocked.standing.delivery
        if blocked.is_logged:
            self._log(
                logging.WARNING,
                "the event loop moves again: it was blocked for %.1f s in all, most recently by %s",
                *(blocked.seconds, blocked.culprit),
                delivery=delivery,
            )
        seconds = round(blocked.seconds, 3)
        self._emit("blocked", delivery, seconds=seconds, error_message=blocked.culprit)

    def extension_failed(self, queue_name: str, error: MeshHookError, level: int) -> None:
        """A lease could not be extended while the event loop is blocked; it is tried again."""
        text = "could not extend the leases in %s while the event loop is blocked: %s"
        self._log(level, text, queue_name, error, queue=queue_name)

    def extended_no_longer(self, jobs: Sequence[InFlightJob]) -> None:
        """Leases are no longer extended, because a handler's time was up long ago."""
        first, others = jobs[0], len(jobs) - 1
        self._log(
            logging.WARNING,
            "the lease of job %s in %s%s is extended no longer: a time-out is over, and no handler"
            " can be cancelled while the event loop is blocked",
            *(first.job.msg_id, first.job.queue_name, f", and of {others} more," if others else ""),
            delivery=first,
        )

    def started_to_work(self) -> None:
        """The worker itself starts."""
        self._state("worker_started", "")

    def stopping(self, reason: str) -> None:
        """The worker stops; of an error only the class is given, since its text is raised."""
        self._state("worker_stopping", f": {reason}")

    def stopped(self, report: StopReport) -> None:
        """The worker has stopped."""
        given_up = f", {len(report.given_up)} given up" if report.given_up else ""
        self._state(
            "worker_stopped",
            f": {report.finished} finished since, {report.released} handed back{given_up}",
        )

    def _state(self, kind: EventKind, detail: str) -> None:
        self._log(logging.INFO, "%s%s", kind.replace("_", " "), detail)
        self._emit(kind)

    def _log_settled(self, delivery: InFlightJob, outcome: Outcome, kind: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            self._log(
                logging.DEBUG,
                "job %s in %s, attempt %s: %s",
                *(delivery.job.msg_id, delivery.job.queue_name, delivery.job.attempt, kind),
                delivery=delivery,
                outcome=kind,
                duration=outcome.seconds,
                error_type=outcome.error_type,
            )

    def _log(
        self,
        level: int,
        text: str,
        *arguments: object,
        exc_info: ExcInfo | None = None,
        delivery: InFlightJob | None = None,
        **fields: object,
    ) -> None:
        """Log a line with the worker's name, the fields of a job if it is about one, and others."""
        if not log.isEnabledFor(level):
            return
        if delivery is not None:
            job = delivery.job
            fields = {
                "queue": job.queue_name,
                "msg_id": job.msg_id,
                "run_id": job.message.get("run_id"),
                "attempt": job.attempt,
                **fields,
            }
        extra = {"worker": self._worker_name, **fields}
        log.log(level, text, *arguments, exc_info=exc_info, extra=extra, stacklevel=2)

    def _emit(self, kind: EventKind, delivery: InFlightJob | None = None, **fields: Any) -> None:
        """Queue an event for the hook, with the fields of a job if it is about one."""
        if not self._hook.is_set:
            return
        if delivery is not None:
            job = delivery.job
            fields |= {
                "queue_name": job.queue_name,
                "msg_id": job.msg_id,
                "run_id": job.message.get("run_id"),
                "attempt": job.attempt,
            }
        self._hook.emit(kind, WorkerEvent(kind=kind, worker=self._worker_name, **fields))


def _of_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of an event that come from an outcome."""
    return {
        "seconds": outcome.seconds,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "error": outcome.error if isinstance(outcome, FailedOutcome) else None,
    }


def _one_line(error_type: str, message: str) -> str | None:
    """Return an error's class and text, cut to the length that the history has, too."""
    return _storable(message if message.startswith(error_type) else f"{error_type}: {message}")


def _storable(message: str) -> str | None:
    return check.storable("error_message", message, ERROR_MESSAGE_LIMIT)


def _next(delay_seconds: float | None) -> str:
    return f"next attempt in {round(delay_seconds, 1):g} s" if delay_seconds else "next attempt now"
