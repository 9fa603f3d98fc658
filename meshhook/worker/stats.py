"""What a worker has done so far, and how it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["StopReport", "WorkerStats"]


@attrs.frozen(kw_only=True)
class WorkerStats:
    """What a worker has done so far. Only what the database has confirmed is counted.

    Attributes:
        processed: Attempts that ended: succeeded and failed ones.
        succeeded: Jobs completed.
        failed: Attempts that failed: retried ones and those that ended in the dead letter queue.
        retried: Jobs that will come again.
        moved_to_dlq: Jobs moved to the dead letter queue, including those that a claim found past
            their last attempt.
        snoozed: Jobs that their handlers put off.
        released: Jobs handed back when the worker stopped.
        lost: Jobs whose lease was lost; the results of their handlers do not count.
        blocked: How often the event loop was blocked; the log names the cause.
        running: Jobs in their handlers now.
        last_error: The last error of a call or an attempt, as one line.
        last_successful_poll: When a claim last succeeded.
        unhealthy_since: When calls began to fail; None while they succeed.
    """

    processed: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    moved_to_dlq: int = 0
    snoozed: int = 0
    released: int = 0
    lost: int = 0
    blocked: int = 0
    running: int = 0
    last_error: str | None = None
    last_successful_poll: datetime | None = None
    unhealthy_since: datetime | None = None


@attrs.frozen(kw_only=True)
class StopReport:
    """How a worker stopped.

    Attributes:
        reason: Why it stopped.
        finished: How many jobs were finished and settled after the stop was asked for.
        released: How many were handed back.
        given_up: The ids, with their queues, of jobs that could not be settled or handed back in
            time. They come again when their leases end.
    """

    reason: str
    finished: int = 0
    released: int = 0
    given_up: tuple[tuple[str, int], ...] = ()
