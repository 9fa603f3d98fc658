"""The executor: one job in its handler, from the job to its outcome.

    invoke   run the handler until it returns, raises, or is cancelled
    judge    what that means: completed, failed, snoozed, dead-lettered, released, or nothing
    outcome  what is sent to the database

Nothing here settles a job; the outcome goes to the `Settler`.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook import _telemetry
from meshhook._calls.settle import Outcome
from meshhook._inputs import check
from meshhook.exceptions import JobTimeoutError
from meshhook.worker import context
from meshhook.worker.control import DeadLetter, JobControl, Retry, Snooze, answer_returned
from meshhook.worker.failure import (
    FailedOutcome,
    Failure,
    MalformedMessage,
    describe,
    handlers_part,
    leaves,
)

if TYPE_CHECKING:
    from types import TracebackType

    from meshhook.models import JobMessage
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter
    from meshhook.worker.settings import Settings
    from meshhook.worker.threads import HandlerThreads


# Not frozen, as there is one for each job.
@attrs.define
class Ended:
    """How a handler ended.

    Attributes:
        seconds: How long it took.
        error: What it raised, or the time-out; None if it returned.
        is_cut: Whether it was cancelled because the job was lost or released.
    """

    seconds: float
    error: BaseException | None = None
    is_cut: bool = False


@attrs.frozen(eq=False)
class Executor:
    """Runs the handler for one job after another.

    Attributes:
        settings: The worker's settings, the handler among them.
        threads: Where plain handlers run.
        in_flight: The jobs in flight.
        reporter: Logs a failed attempt before its outcome is sent.
    """

    settings: Settings
    threads: HandlerThreads
    in_flight: InFlight
    reporter: Reporter

    async def run(self, delivery: InFlightJob) -> Outcome | None:
        """Hand a job to the handler; return its outcome, or None if its lease is lost."""
        if problem := _missing_id(delivery.job.message):
            error = MalformedMessage(problem)
            return self._give_up(
                delivery, Failure(error, "MalformedMessage", f"MalformedMessage: {problem}")
            )
        return self._judge(delivery, await self._invoke(delivery))

    async def _invoke(self, delivery: InFlightJob) -> Ended:
        if not _telemetry.is_used():
            return await self._run_handler(delivery)
        with _telemetry.processing(delivery.job) as attempt:
            ended = await self._run_handler(delivery)
            attempt.seconds = ended.seconds
            if ended.error is not None and not isinstance(_answer(ended.error), Snooze):
                attempt.error = ended.error
        return ended

    async def _run_handler(self, delivery: InFlightJob) -> Ended:
        """Run the handler; catch everything that it raises, except a cancellation from outside."""
        begin = time.monotonic()
        settings = self.settings
        timeout = settings.handler.timeout_seconds or settings.job_timeout_seconds or math.inf
        delivery.deadline = begin + timeout if math.isfinite(timeout) else None
        error: BaseException | None = None
        where: TracebackType | None = None
        ends = math.inf if delivery.deadline is None else anyio.current_time() + timeout
        with anyio.CancelScope(deadline=ends) as delivery.scope:
            try:
                returned = await self._call_handler(delivery)
                if returned is not None:
                    error = answer_returned(returned)
            except anyio.get_cancelled_exc_class() as cancelled:
                where = handlers_part(cancelled.__traceback__)
                if delivery.scope.cancel_called or _is_cancelled_from_outside():
                    raise
                error = cancelled
                _take_back_cancellation()
            except BaseException as raised:  # noqa: BLE001 - a handler may raise anything, SystemExit too
                error = raised
        if delivery.scope.cancelled_caught and not (delivery.lost or delivery.released):
            error = JobTimeoutError(timeout).with_traceback(where)
        seconds = round(time.monotonic() - begin, 6)
        try:
            return Ended(seconds, error, is_cut=delivery.scope.cancelled_caught and error is None)
        finally:
            # The error's traceback refers to this frame. That circle would keep the handler's
            # variables in memory until the garbage collector runs.
            error = None

    async def _call_handler(self, delivery: InFlightJob) -> object:
        context.enter(delivery)
        handler, message = self.settings.handler, delivery.job.message
        if handler.is_async:
            return await handler.function(message)
        self.in_flight.in_threads.add(delivery.key)
        result: object = await self.threads.run(
            lambda: handler.function(message),
            lambda: self.in_flight.in_threads.discard(delivery.key),
        )
        return await result if inspect.isawaitable(result) else result

    def _judge(self, delivery: InFlightJob, ended: Ended) -> Outcome | None:
        """Return the outcome that follows from how the handler ended."""
        if delivery.lost:
            return None
        if ended.is_cut or (delivery.released and ended.error is not None):
            # What a handler raises when it is cancelled says nothing about the job.
            return outcome(delivery, "release")
        if ended.error is None:
            return outcome(delivery, "complete", seconds=ended.seconds)
        return self._judge_error(delivery, ended.error, ended.seconds)

    def _judge_error(self, delivery: InFlightJob, error: BaseException, seconds: float) -> Outcome:
        answer = _answer(error)
        if isinstance(answer, Snooze):
            return _timed(outcome(delivery, "release", delay_seconds=answer.seconds), answer.run_at)
        failure = describe(answer or error)
        if isinstance(answer, DeadLetter):
            return self._give_up(delivery, attrs.evolve(failure, message=answer.reason), seconds)
        is_fatal = any(isinstance(leaf, self.settings.fatal_exceptions) for leaf in leaves(error))
        is_last = delivery.job.attempt >= delivery.job.max_attempts
        if is_last or (is_fatal and answer is None):
            return self._give_up(delivery, failure, seconds)
        delay, run_at = None, None
        if isinstance(answer, Retry):
            delay, run_at = answer.after_seconds, answer.run_at
        if delay is None and run_at is None:
            delay = delivery.queue.delay_seconds(delivery.job.attempt, self.settings.strategy)
        return _timed(self._failed(delivery, "retry", failure, seconds, delay), run_at)

    def _give_up(
        self, delivery: InFlightJob, failure: Failure, seconds: float | None = None
    ) -> Outcome:
        return self._failed(delivery, "dead_letter", failure, seconds, None)

    def _failed(
        self,
        delivery: InFlightJob,
        kind: str,
        failure: Failure,
        seconds: float | None,
        delay: float | None,
    ) -> Outcome:
        failed = FailedOutcome(
            outcome=kind,
            msg_id=delivery.job.msg_id,
            read_ct=delivery.job.read_ct,
            seconds=seconds,
            delay_seconds=delay,
            error_type=failure.error_type,
            error_message=failure.message,
            error_stack=failure.stack,
            worker=self.settings.name,
            error=failure.error if self.reporter.is_watched else None,
        )
        self.reporter.attempt_failed(delivery, failed, failure)
        return failed


def outcome(
    delivery: InFlightJob,
    kind: str,
    seconds: float | None = None,
    delay_seconds: float | None = None,
) -> Outcome:
    """Return an outcome of a job, under the receipt of this delivery."""
    return Outcome(
        outcome=kind,
        msg_id=delivery.job.msg_id,
        read_ct=delivery.job.read_ct,
        seconds=seconds,
        delay_seconds=delay_seconds,
    )


def _timed(outcome: Outcome, run_at: datetime | None) -> Outcome:
    """Return an outcome with the time that a handler asked for, if any."""
    if run_at is None:
        return outcome
    # The delay is for a database with an older MeshHook, which ignores the time.
    delay = max(0.0, (run_at - datetime.now(UTC)).total_seconds())
    return attrs.evolve(outcome, delay_seconds=delay, run_at=check.run_at("run_at", run_at))


def _answer(error: BaseException) -> JobControl | None:
    """Return the answer that an exception is, or that is somewhere in an exception group."""
    answers = [leaf for leaf in leaves(error) if isinstance(leaf, JobControl)]
    order: tuple[type[JobControl], ...] = (DeadLetter, Retry, Snooze)
    return next((answer for kind in order for answer in answers if isinstance(answer, kind)), None)


def _missing_id(message: JobMessage) -> str | None:
    """Return why a message is no job of the default type, None if it is one."""
    for field in ("run_id", "workflow_id", "project_id"):
        value = message.get(field)
        if not isinstance(value, str) or not value:
            return f"{field} is {'missing' if value is None else 'not a text'}"
    return None


def _is_cancelled_from_outside() -> bool:
    return anyio.current_effective_deadline() == -math.inf


def _take_back_cancellation() -> None:
    """Undo that a handler cancelled the task it runs in, so that the task goes on."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return  # trio, where a handler cannot do that
    while task is not None and task.cancelling():
        task.uncancel()
