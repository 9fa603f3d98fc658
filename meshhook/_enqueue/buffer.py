"""The state of a buffer: waiting jobs, the chunk that is being sent, and failures.

It neither waits nor sends. Every accepted job is in one of three places: among the waiting jobs, in
the one chunk that is being sent, or settled, which means in the queue or handed back to the caller
in an error.
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
        max_delay_seconds: How long a job waits in it at most before it is sent.
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
        size: The size of the message in bytes.
        delay_seconds: Its delay.
        run_at: The time from which it may run instead, as it was given.
        due: That time as text.
    """

    data: Mapping[str, Any]
    message: dict[str, Any]
    size: int
    delay_seconds: float
    run_at: datetime | None = None
    due: str | None = None


@attrs.frozen
class Sending:
    """A chunk that is being sent, and the request id of all its tries."""

    entries: list[Entry]
    key: str = attrs.field(factory=enqueue.buffered_key)


@attrs.define(eq=False)
class Flush:
    """A caller that waits until all jobs accepted so far are settled.

    Attributes:
        accepted: How many jobs had been accepted when it began to wait.
        error: The error that handed the jobs back, if one did.
    """

    accepted: int
    error: PartialEnqueueError | None = None


def entry(
    job_data: Mapping[str, Any], delay_seconds: float | timedelta, run_at: datetime | None
) -> Entry:
    """Check a job and return it with the trace context of its enqueue.

    Raises:
        InvalidInputError: With everything that is wrong.
    """
    message, when = check.all_of(
        lambda: payload.job_data(job_data), lambda: timing.of_one(delay_seconds, run_at)
    )
    (message,) = enqueue.with_trace([message], _telemetry.current_trace())
    size = sizes.size_of([message])
    if size > MAX_MESSAGE_BYTES:
        check.refuse([sizes.too_large("job_data")])
    delay = when.get("delay_seconds", 0)
    return Entry(job_data, message, size, delay, run_at, when.get("run_at"))


class Buffer:
    """Accepted jobs that are on their way into a queue."""

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
        self._due_count = 0
        self._flushes: list[Flush] = []

    @property
    def is_settled(self) -> bool:
        """Whether every accepted job is in the queue or has been handed back."""
        return self._settled == self._accepted

    def has_room(self, entry: Entry) -> bool:
        """Return whether a job can be added; one that is larger than the buffer needs it empty."""
        return not self._waiting or (
            len(self._waiting) < self.limits.max_jobs
            and self._waiting_bytes + entry.size <= self.limits.max_bytes
        )

    def add(self, entry: Entry, now: float) -> bool:
        """Accept a job, and return whether this changes when the next chunk is due."""
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

    def make_all_due(self) -> None:
        """Make all jobs accepted so far due."""
        self._due_count = self._accepted

    def seconds_until_due(self, now: float) -> float | None:
        """Return in how many seconds a chunk is due, or None if there is nothing to send."""
        if self.failure is not None or not self._waiting:
            return None
        if self._is_full() or self._due_count > self._settled:
            return 0
        return max(0, self._waiting_since + self.limits.max_delay_seconds - now)

    def next_call(self, trace: Mapping[str, str] | None) -> Call[EnqueueBatch]:
        """Build the call that sends the waiting jobs, or again the chunk that failed.

        Jobs that were enqueued without a trace context get *trace*.
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
        """Note that the chunk that was sent is in the queue."""
        # After a timeout, the sending thread may call this when everything has been handed back.
        if self._sending is not None:
            self._settled += len(self._sending.entries)
            self._sending = None

    def fail(self, error: BaseException) -> None:
        """Note that the chunk that was sent may not be in the queue."""
        if self._sending is not None:
            self.failure = error

    def begin_flush(self) -> Flush:
        """Make all accepted jobs due; return a handle that `is_over` when they are settled."""
        self.make_all_due()
        flush = Flush(self._accepted)
        self._flushes.append(flush)
        return flush

    def is_over(self, flush: Flush) -> bool:
        """Return whether all jobs of a flush are settled."""
        return flush.error is not None or self._settled >= flush.accepted

    def end_flush(self, flush: Flush) -> None:
        """Forget a flush, and raise its error if it has one."""
        self._flushes.remove(flush)
        if flush.error is not None:
            raise copy.copy(flush.error) from flush.error.__cause__

    def hand_back(self, cause: BaseException) -> PartialEnqueueError:
        """Empty the buffer; return an error with all jobs that are not known to be in the queue."""
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
