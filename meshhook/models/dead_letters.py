"""Dead letters as values: the letters, their replay and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

    from meshhook.models.jobs import AttemptRecord, DeadLetterMessage


@attrs.frozen(kw_only=True)
class DeadLetterJob:
    """A job that used up its attempts or was dead-lettered by its handler, with the reason.

    Attributes:
        dlq_name: The dead letter queue that holds it.
        msg_id: Its id there.
        enqueued_at: When it was dead-lettered.
        message: What its sender sent, and what went wrong.
        attempts: Its failed attempts, oldest first; only `get_dead_letter_job` fetches them.
    """

    dlq_name: str
    msg_id: int
    enqueued_at: datetime
    message: DeadLetterMessage = attrs.field(repr=False, hash=False)
    attempts: tuple[AttemptRecord, ...] = ()


@attrs.frozen(kw_only=True)
class ReplayResult:
    """A dead letter that was replayed.

    Attributes:
        msg_id: Its id in the dead letter queue, which it has left.
        new_msg_id: Its id in the target queue.
        target_queue: The queue that it was replayed to.
    """

    msg_id: int
    new_msg_id: int
    target_queue: str


@attrs.frozen(kw_only=True)
class FailedReplay:
    """Why a dead letter could not be replayed.

    Attributes:
        msg_id: Its id in the dead letter queue.
        error: The reason.
    """

    msg_id: int
    error: str


@attrs.frozen(kw_only=True)
class ReplaySummary:
    """The result of replaying many dead letters.

    Attributes:
        replayed: Those that were replayed.
        errors: Those that could not be, with the reasons.
    """

    replayed: tuple[ReplayResult, ...]
    errors: tuple[FailedReplay, ...]

    @property
    def success(self) -> int:
        """How many were replayed."""
        return len(self.replayed)

    @property
    def failed(self) -> int:
        """How many could not be replayed."""
        return len(self.errors)


@attrs.frozen(kw_only=True)
class DLQMetrics:
    """Depth and age of a dead letter queue.

    Attributes:
        dlq_name: The dead letter queue.
        total_jobs: All its dead letters.
        oldest_job_age_seconds: Age of the oldest in whole seconds, None if it is empty.
        newest_job_age_seconds: Age of the newest in whole seconds, None if it is empty.
    """

    dlq_name: str
    total_jobs: int
    oldest_job_age_seconds: int | None
    newest_job_age_seconds: int | None


@attrs.frozen(kw_only=True)
class ErrorCount:
    """How many dead letters have one error.

    Attributes:
        error: The error: the first line of its message, up to 200 characters.
        jobs: How many dead letters have it.
        first_moved_at: When the first of them was dead-lettered.
        last_moved_at: When the last of them was.
        msg_id: The id of the newest in the dead letter queue, as an example.
        error_message: The whole message of that one, None if it has none.
    """

    error: str
    jobs: int
    first_moved_at: datetime
    last_moved_at: datetime
    msg_id: int
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class ErrorCounts:
    """All dead letters of a queue, counted by error.

    Attributes:
        total_jobs: All its dead letters.
        total_errors: How many different errors they have.
        errors: The errors, the most frequent first, up to the limit that was asked for.
    """

    total_jobs: int
    total_errors: int
    errors: tuple[ErrorCount, ...]

    @property
    def errors_left_out(self) -> int:
        """How many errors are not listed."""
        return self.total_errors - len(self.errors)

    @property
    def jobs_left_out(self) -> int:
        """How many dead letters have an error that is not listed."""
        return self.total_jobs - sum(error.jobs for error in self.errors)
