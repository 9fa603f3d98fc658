"""The result of a drain in a test, job by job."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from meshhook.worker.context import current_job
from meshhook.worker.control import JobControl
from meshhook.worker.handler import create_job_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshhook.models import JobMessage
    from meshhook.serverless import DrainReport
    from meshhook.worker.events import WorkerEvent
    from meshhook.worker.handler import JobHandler

OUTCOMES = frozenset({"succeeded", "retried", "dead_lettered", "snoozed", "released", "lost"})


@attrs.frozen(kw_only=True)
class WorkedJob:
    """One attempt at a job, and its outcome.

    Attributes:
        queue_name: Its queue.
        msg_id: Its id there.
        outcome: ``succeeded``, ``retried``, ``dead_lettered``, ``snoozed``, ``released`` (handed
            back unfinished) or ``lost`` (its lease was lost).
        run_id: The run that it belongs to.
        attempt: The number of the attempt; None if the job was past its last when it was claimed.
        message: The handler's argument; None if it was not called.
        error: What the handler raised, or another reason of the failure such as a
            `JobTimeoutError`. Also an answer (`Retry`, `Snooze`, `DeadLetter`), raised or returned.
        error_message: The error, as in the job's history.
        seconds: How long the handler took, in seconds.
    """

    queue_name: str
    msg_id: int
    outcome: str
    run_id: str | None = None
    attempt: int | None = None
    message: JobMessage | None = attrs.field(default=None, repr=False, hash=False)
    error: BaseException | None = None
    error_message: str | None = None
    seconds: float | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class DrainResult:
    """What a drain did.

    Attributes:
        jobs: Each attempt in the order in which it was settled.
        report: The numbers, as `meshhook.drain` gives them.
    """

    jobs: tuple[WorkedJob, ...]
    report: DrainReport = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def succeeded(self) -> tuple[WorkedJob, ...]:
        """The jobs that were completed."""
        return self._with("succeeded")

    @property
    def retried(self) -> tuple[WorkedJob, ...]:
        """The attempts that failed, whose jobs will come again."""
        return self._with("retried")

    @property
    def dead_lettered(self) -> tuple[WorkedJob, ...]:
        """The jobs that were moved to the dead letter queue."""
        return self._with("dead_lettered")

    @property
    def snoozed(self) -> tuple[WorkedJob, ...]:
        """The jobs that the handler put off."""
        return self._with("snoozed")

    def raise_errors(self) -> None:
        """Raise what failed, so that a test shows the handler's own traceback.

        Raises:
            BaseException: What the handler raised, if one attempt failed.
            BaseExceptionGroup: What it raised, if several did; an ExceptionGroup unless one of them
                is an answer (`Retry`, `DeadLetter`) or another base exception.
        """
        errors = [job.error for job in (*self.retried, *self.dead_lettered) if job.error]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            message = f"{len(errors)} attempts failed"
            raise BaseExceptionGroup(message, errors)

    def _with(self, outcome: str) -> tuple[WorkedJob, ...]:
        return tuple(job for job in self.jobs if job.outcome == outcome)


class Recorder:
    """Records the calls of a handler, its answers, and the outcomes that the worker reports."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int, int], tuple[JobMessage, BaseException | None]] = {}
        self._jobs: list[WorkedJob] = []

    def handler(self, function: JobHandler | Callable[[JobMessage], Any]) -> JobHandler:
        """Return a handler that does the same, and is recorded."""
        handler = create_job_handler(function)
        recorded = self._async(handler) if handler.is_async else self._sync(handler)
        return attrs.evolve(handler, function=recorded)

    def on_event(self, event: WorkerEvent) -> None:
        """Record an outcome; the `on_event` of a drain."""
        if event.kind not in OUTCOMES or event.queue_name is None or event.msg_id is None:
            return
        call = (event.queue_name, event.msg_id, event.attempt or 0)
        message, raised = self._calls.pop(call, (None, None))
        self._jobs.append(
            WorkedJob(
                queue_name=event.queue_name,
                msg_id=event.msg_id,
                outcome=event.kind,
                run_id=event.run_id,
                attempt=event.attempt,
                message=message,
                error=event.error if raised is None else raised,
                error_message=event.error_message,
                seconds=event.seconds,
            )
        )

    def result(self, report: DrainReport) -> DrainResult:
        """Return everything that happened."""
        return DrainResult(jobs=tuple(self._jobs), report=report)

    def _async(self, handler: JobHandler) -> Callable[[JobMessage], Any]:
        async def recorded(message: JobMessage) -> object:
            with self._recording(message):
                return self._returned(message, await handler(message))

        return recorded

    def _sync(self, handler: JobHandler) -> Callable[[JobMessage], Any]:
        def recorded(message: JobMessage) -> object:
            with self._recording(message):
                return self._returned(message, handler(message))

        return recorded

    @contextmanager
    def _recording(self, message: JobMessage) -> Iterator[None]:
        self._remember(message)
        try:
            yield
        except (Exception, JobControl) as error:
            self._remember(message, error)
            raise

    def _returned(self, message: JobMessage, returned: object) -> object:
        if isinstance(returned, JobControl):
            self._remember(message, returned)
        return returned

    def _remember(self, message: JobMessage, error: BaseException | None = None) -> None:
        job = current_job().job
        self._calls[job.queue_name, job.msg_id, job.attempt] = (message, error)
