"""What a buffer of jobs knows: what waits, what is under way, what failed. No waiting, no sending.

Whatever was accepted is in one of three places: among the waiting jobs, in the one chunk that is
under way, or settled: in the queue, or handed back to the caller in an error.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import attrs

from meshhook import _telemetry
from meshhook._calls import enqueue, timing
from meshhook._defaults import IDEMPOTENCY_SECONDS, MAX_JOBS_PER_CALL, MAX_MESSAGE_BYTES
from meshhook._inputs import check, payload, sizes
from meshhook.exceptions import PartialEnqueueError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from meshhook._calls.base import Call
    from meshhook.models import EnqueueBatch


@attrs.frozen(kw_only=True)
class Limits:
    """When a buffer is sent.

    Attributes:
        max_jobs: How many jobs make it full.
        max_bytes: How many bytes of JSON make it full.
        max_delay_seconds: How long a job waits in it at the most before it is sent.
        grace_seconds: How long the last jobs may take when the block is cancelled.
    """

    max_jobs: int
    max_bytes: int
    max_delay_seconds: float = attrs.field(converter=check.seconds)
    grace_seconds: float = attrs.field(converter=check.seconds)

    def __attrs_post_init__(self) -> None:
        check.all_of(
            lambda: check.whole_number("max_jobs", self.max_jobs, 1, MAX_JOBS_PER_CALL),
            lambda: check.whole_number("max_bytes", self.max_bytes, 1, MAX_MESSAGE_BYTES),
            lambda: check.number_of_seconds("max_delay_seconds", self.max_delay_seconds, 0),
            lambda: check.number_of_seconds("grace_seconds", self.grace_seconds, 0),
        )


@attrs.frozen
class Entry:
    """An accepted job.

    Attributes:
        data: The job's data, as it was given.
        message: The message that is sent.
        size: How many bytes that takes.
        delay_seconds: Its delay.
        run_at: Its time instead, as it was given.
        due: The same as text.
    """

    data: Mapping[str, Any]
    message: dict[str, Any]
    size: int
    delay_seconds: float
    run_at: datetime | None = None
    due: str | None = None


@attrs.frozen
class Sending:
    """A chunk under way, and the request id under which it is sent, however often."""

    entries: list[Entry]
    key: str = attrs.field(factory=enqueue.buffered_key)


@attrs.define(eq=False)
class Flush:
    """Somebody who waits until what was accepted so far is settled.

    Attributes:
        accepted: How many jobs had been accepted by then.
        error: With what they were handed back, if they were.
    """

    accepted: int
    error: PartialEnqueueError | None = None


def checked_message(
    job_data: Mapping[str, Any],
    delay_seconds: float | timedelta,
    run_at: datetime | None,
    trace: Mapping[str, str] | None,
) -> tuple[dict[str, Any], int, float, str | None]:
    """Check a job that is sent later.

    Args:
        job_data: Its data.
        delay_seconds: Its delay.
        run_at: Its time instead.
        trace: The trace context that it was enqueued in.

    Returns:
        Its message, how many bytes that takes, its delay, and its time as text.

    Raises:
        InvalidInputError: With everything that is wrong.
    """
    message, when = check.all_of(
        lambda: payload.job_data(job_data), lambda: timing.of_one(delay_seconds, run_at)
    )
    (message,) = enqueue.with_trace([message], trace)
    size = sizes.size_of([message])
    if size > MAX_MESSAGE_BYTES:
        check.refuse([sizes.too_large("job_data")])
    return message, size, when.get("delay_seconds", 0), when.get("run_at")


def entry(
    job_data: Mapping[str, Any], delay_seconds: float | timedelta, run_at: datetime | None
) -> Entry:
    """Check a job and return it with the trace context of whoever enqueues it."""
    trace = _telemetry.current_trace()
    message, size, delay, due = checked_message(job_data, delay_seconds, run_at, trace)
    return Entry(job_data, message, size, delay, run_at, due)


class Buffer:
    """Jobs that are accepted, on their way into a queue.

    Args:
        queue_name: The queue.
        limits: When the jobs are sent.
    """

    def __init__(self, queue_name: str, limits: Limits) -> None:
        self.limits = limits
        self.failure: BaseException | None = None
        self._queue_name = queue_name
        self._waiting: list[Entry] = []
        self._waiting_bytes = 0
        self._waiting_since = 0.0
        self._sending: Sending | None = None
        self._accepted = 0
        self._settled = 0
        self._hurry = 0
        self._flushes: list[Flush] = []

    @property
    def is_settled(self) -> bool:
        """Whether everything that was accepted is in the queue or has been handed back."""
        return self._settled == self._accepted

    def has_room(self, entry: Entry) -> bool:
        """Tell whether a job can be added. A job that is larger than the buffer needs it empty."""
        return not self._waiting or (
            len(self._waiting) < self.limits.max_jobs
            and self._waiting_bytes + entry.size <= self.limits.max_bytes
        )

    def add(self, entry: Entry, now: float) -> bool:
        """Accept a job, and tell whether this changes when the next chunk is due."""
        if not self._waiting:
            self._waiting_since = now
        self._waiting.append(entry)
        self._waiting_bytes += entry.size
        self._accepted += 1
        return len(self._waiting) == 1 or self._is_full()

    def _is_full(self) -> bool:
        return (
            len(self._waiting) >= self.limits.max_jobs
            or self._waiting_bytes >= self.limits.max_bytes
        )

    def hurry(self) -> None:
        """Let everything accepted so far be due."""
        self._hurry = self._accepted

    def seconds_until_due(self, now: float) -> float | None:
        """Return in how many seconds a chunk is to be sent, or None if there is none to send."""
        if self.failure is not None or not self._waiting:
            return None
        if self._is_full() or self._hurry > self._settled:
            return 0
        return max(0, self._waiting_since + self.limits.max_delay_seconds - now)

    def next_call(self, trace: Mapping[str, str] | None) -> Call[EnqueueBatch]:
        """Build the call that sends what waits, or once more what failed.

        Args:
            trace: The trace context for jobs that were enqueued in none.

        Returns:
            The call.
        """
        if self._sending is None:
            self._sending = Sending(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
        self.failure = None
        entries = self._sending.entries
        messages = [
            entry.message
            if "_meshhook" in entry.message
            else enqueue.with_trace([entry.message], trace)[0]
            for entry in entries
        ]
        delays = [entry.delay_seconds for entry in entries]
        run_ats = [entry.due for entry in entries]
        return enqueue.buffered(self._queue_name, messages, delays, self._sending.key, run_ats)

    def succeed(self) -> None:
        """Take note that the chunk under way is in the queue."""
        # A thread that was given up may come with this after everything has been handed back.
        if self._sending is not None:
            self._settled += len(self._sending.entries)
            self._sending = None

    def fail(self, error: BaseException) -> None:
        """Take note that the chunk under way may not be in the queue."""
        if self._sending is not None:
            self.failure = error

    def begin_flush(self) -> Flush:
        """Let everything accepted so far be due, and return what tells when it is settled."""
        self.hurry()
        flush = Flush(self._accepted)
        self._flushes.append(flush)
        return flush

    def is_over(self, flush: Flush) -> bool:
        """Tell whether there is nothing left that a flush could wait for."""
        return flush.error is not None or self._settled >= flush.accepted

    def end_flush(self, flush: Flush) -> None:
        """Forget about a flush, and raise what it has met."""
        self._flushes.remove(flush)
        if flush.error is not None:
            raise copy.copy(flush.error) from flush.error.__cause__

    def hand_back(self, cause: BaseException) -> PartialEnqueueError:
        """Give up what is not in the queue yet, and return it as an error."""
        sent = self._sending or Sending([])
        unsettled = [*sent.entries, *self._waiting]
        run_ats = [entry.run_at for entry in unsettled]
        error = PartialEnqueueError(
            self._queue_name,
            cause,
            enqueued=(),
            jobs=[entry.data for entry in unsettled],
            delay_seconds=[entry.delay_seconds for entry in unsettled],
            run_at=run_ats if any(run_ats) else None,
            uncertain=len(sent.entries),
            idempotency_key=sent.key,
            remembered_seconds=IDEMPOTENCY_SECONDS,
        )
        error.__cause__ = cause
        for flush in self._flushes:
            if not self.is_over(flush):
                flush.error = error
        self.failure = self._sending = None
        self._waiting, self._waiting_bytes = [], 0
        self._settled = self._accepted
        return error
