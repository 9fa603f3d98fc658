"""The values that go in and come out: frozen, and with no behaviour that needs a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict, overload
from uuid import UUID  # noqa: TC003 - frameworks look the types of JobData up when they run

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "AttemptRecord",
    "DLQMetrics",
    "DeadLetterJob",
    "DeadLetterMessage",
    "EnqueueBatch",
    "EnqueueResult",
    "ErrorCount",
    "ErrorCounts",
    "Job",
    "JobData",
    "JobMessage",
    "JobRecord",
    "PruneResult",
    "QueueInfo",
    "QueueMetrics",
    "ReplayError",
    "ReplayResult",
    "ReplaySummary",
    "RetryConfig",
    "RetryInfo",
    "WorkerInfo",
]


_OPTIONAL_IN_A_JOB = frozenset({"last_error", "last_error_at"})
_OPTIONAL_IN_A_DEAD_LETTER = _OPTIONAL_IN_A_JOB | {
    "error_message",
    "error_stack",
    "moved_to_dlq_at",
    "original_msg_id",
    "original_enqueued_at",
    "read_count",
}


class JobData(TypedDict, total=False):
    """The data of a job, for type checkers: they find a misspelt field that a plain dict hides.

    Every method that enqueues takes one, written as a dict or as a call::

        job: meshhook.JobData = {"run_id": run, "workflow_id": workflow, "project_id": project}
        job = meshhook.JobData(run_id=run, workflow_id=workflow, project_id=project)

    Any other mapping is taken as well, and is checked when it is enqueued.

    Attributes:
        run_id: The run that the job belongs to, a UUID.
        workflow_id: The workflow that is run, a UUID.
        project_id: The project of the workflow, a UUID.
        attempt: The attempt that the first delivery is; 1 by default.
        max_attempts: The last attempt that the job will get; the worker's, or 5, by default.
        metadata: Whatever the handler needs: what JSON has, and dates (sent in ISO 8601), UUID and
            Decimal (sent as text) and Enum (sent as its value).
    """

    run_id: Required[str | UUID]
    workflow_id: Required[str | UUID]
    project_id: Required[str | UUID]
    attempt: int
    max_attempts: int
    metadata: dict[str, Any]


class JobMessage(dict[str, Any]):
    """The message of a job: its fields as keys and as attributes.

    ``message.run_id`` and ``message["run_id"]`` are the same. ``metadata``, ``last_error`` and
    ``last_error_at`` can be asked for even where the message has none. A field that is called as a
    method of dict is (``items``, ``get``, ``copy``, ...) is there as a key only. Type checkers
    know the fields below as attributes; a field of the sender's own is ``message["name"]`` to them.

    Attributes:
        run_id: The run that the job belongs to.
        workflow_id: The workflow that is run.
        project_id: The project of the workflow.
        attempt: The attempt that this delivery is, from 1 on.
        max_attempts: The last attempt that the job will get.
        enqueued_at: When the job was first enqueued, in ISO 8601.
        metadata: Whatever the sender added.
        last_error: What went wrong in the attempt before, None on the first.
        last_error_at: When that was, in ISO 8601.
    """

    __slots__ = ()  # an attribute that is set would differ from its key without a word

    _OPTIONAL = _OPTIONAL_IN_A_JOB

    if TYPE_CHECKING:
        run_id: str
        workflow_id: str
        project_id: str
        attempt: int
        max_attempts: int
        enqueued_at: str
        metadata: dict[str, Any]
        last_error: str | None
        last_error_at: str | None

    # Hidden from type checkers, which would take `message.attemtp` for a field of the sender's.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                pass
            if name == "metadata":
                return {}
            if name in self._OPTIONAL:
                return None
            message = f"this message has no field {name!r}; it has {', '.join(map(repr, self))}"
            raise AttributeError(message)


class DeadLetterMessage(JobMessage):
    """The message of a dead letter: that of the job, and what went wrong.

    What went wrong is None in a message that something else than MeshHook has put there.

    Attributes:
        error_message: Why the job was given up.
        error_stack: The stack of the last failure, if there was one.
        moved_to_dlq_at: When it was moved here, in ISO 8601.
        original_msg_id: The id that it had in its queue.
        original_enqueued_at: When it came into its queue, in ISO 8601.
        read_count: How often it had been delivered.
    """

    __slots__ = ()

    _OPTIONAL = _OPTIONAL_IN_A_DEAD_LETTER

    if TYPE_CHECKING:
        error_message: str
        error_stack: str | None
        moved_to_dlq_at: str
        original_msg_id: int
        original_enqueued_at: str
        read_count: int


@attrs.frozen(kw_only=True)
class EnqueueResult:
    """What became of an enqueue.

    Attributes:
        msg_id: The id of the job.
        duplicate: Whether the idempotency key had been used before, so that this is the id of then.
    """

    msg_id: int
    duplicate: bool = False


@attrs.frozen(kw_only=True)
class EnqueueBatch(Sequence[EnqueueResult]):
    """What became of an enqueue of many: one `EnqueueResult` for each job, in order.

    Attributes:
        msg_ids: The ids of the jobs, in the order in which they were given.
        duplicate: Whether the idempotency key, or that of every job, had been used before.
        duplicates: For each job, whether its key had been used before; empty unless the jobs were
            given keys of their own.
    """

    msg_ids: tuple[int, ...]
    duplicate: bool = False
    duplicates: tuple[bool, ...] = ()

    @overload
    def __getitem__(self, index: int) -> EnqueueResult: ...
    @overload
    def __getitem__(self, index: slice) -> EnqueueBatch: ...
    def __getitem__(self, index: int | slice) -> EnqueueResult | EnqueueBatch:
        of_jobs = self.duplicates
        if not isinstance(index, slice):
            duplicate = of_jobs[index] if of_jobs else self.duplicate
            return EnqueueResult(msg_id=self.msg_ids[index], duplicate=duplicate)
        return EnqueueBatch(
            msg_ids=self.msg_ids[index],
            duplicate=all(of_jobs[index]) if of_jobs[index] else self.duplicate,
            duplicates=of_jobs[index],
        )

    def __len__(self) -> int:
        return len(self.msg_ids)


@attrs.frozen(kw_only=True)
class Job:
    """A claimed job. Together, *msg_id* and *read_ct* are the receipt that settles it.

    Attributes:
        queue_name: The queue that it was claimed from.
        msg_id: Its id in that queue.
        read_ct: How often it has been delivered, this delivery included.
        enqueued_at: When it came into the queue.
        vt: When the lease ends, as far as this claim goes.
        attempt: Which attempt this is, from 1 on; hand-backs do not count.
        max_attempts: The last attempt that it will get.
        message: What its sender sent.
        trace: The trace context that it was enqueued in, as W3C headers; None if nobody traced.
    """

    queue_name: str
    msg_id: int
    read_ct: int
    enqueued_at: datetime
    vt: datetime
    attempt: int
    max_attempts: int
    message: JobMessage = attrs.field(repr=False, hash=False)
    trace: Mapping[str, str] | None = attrs.field(repr=False, eq=False, default=None)
    _claimed: float = attrs.field(repr=False, eq=False, default=0.0)
    # Whether a delivery before this one was never settled: it may have killed its worker.
    _is_suspect: bool = attrs.field(repr=False, eq=False, default=False)


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """One failed attempt.

    Attributes:
        attempt: Its number, from 1 on.
        read_ct: The delivery that it was.
        outcome: ``retried``, ``dead_lettered``, ``failed`` where the queue has no dead letters, or
            ``lapsed`` where nobody ever settled it.
        failed_at: When it failed, or when the lapse was noticed.
        error_type: The class of the error.
        error_message: What the error said.
        error_stack: Where it was raised.
        worker: Who worked on it.
        seconds: How long, in seconds.
    """

    attempt: int
    read_ct: int
    outcome: str
    failed_at: datetime
    error_type: str | None = None
    error_message: str | None = None
    error_stack: str | None = attrs.field(default=None, repr=False)
    worker: str | None = None
    seconds: float | None = None


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job's whole life, as far as it has come.

    Attributes:
        queue_name: Its queue.
        msg_id: Its id in that queue.
        run_id: The run that it belongs to.
        state: ``available``, ``scheduled`` (waits for its time), ``leased`` (somebody works on it),
            ``completed``, ``archived``, ``dead_lettered``, ``failed`` (past its last attempt in a
            queue without dead letters), ``replayed``, ``cancelled`` or ``deleted``.
        attempt: The last attempt so far; 1 before the first.
        enqueued_at: When it came into the queue.
        attempts: Its failed attempts, oldest first.
        read_ct: How often it has been delivered, while it is in its queue.
        vt: When it becomes or became visible, while it is in its queue.
        message: What its sender sent, while it is in its queue.
        finished_at: When it was finished.
        seconds: How long the last attempt took, in seconds.
        dlq_name: The dead letter queue that it went to.
        dlq_msg_id: Its id there.
        replayed_at: When it was replayed from there.
        replayed_to: The queue that it was replayed to.
        replayed_msg_id: Its id there.
    """

    queue_name: str
    msg_id: int
    run_id: str | None
    state: str
    attempt: int
    enqueued_at: datetime
    attempts: tuple[AttemptRecord, ...] = ()
    read_ct: int | None = None
    vt: datetime | None = None
    message: JobMessage | None = attrs.field(default=None, repr=False, hash=False)
    finished_at: datetime | None = None
    seconds: float | None = None
    dlq_name: str | None = None
    dlq_msg_id: int | None = None
    replayed_at: datetime | None = None
    replayed_to: str | None = None
    replayed_msg_id: int | None = None


@attrs.frozen(kw_only=True)
class DeadLetterJob:
    """A job that used up its attempts or was given up, kept with the reason.

    Attributes:
        dlq_name: The dead letter queue that holds it.
        msg_id: Its id there.
        enqueued_at: When it came there.
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
    """Where a dead letter went.

    Attributes:
        msg_id: Its id in the dead letter queue, where it is no more.
        new_msg_id: Its id in the queue that it went to.
        target_queue: That queue.
    """

    msg_id: int
    new_msg_id: int
    target_queue: str


@attrs.frozen(kw_only=True)
class ReplayError:
    """Why a dead letter did not go.

    Attributes:
        msg_id: Its id in the dead letter queue.
        error: The reason.
    """

    msg_id: int
    error: str


@attrs.frozen(kw_only=True)
class ReplaySummary:
    """What became of a replay of many.

    Attributes:
        replayed: Those that went.
        errors: Those that did not, with the reasons.
    """

    replayed: tuple[ReplayResult, ...]
    errors: tuple[ReplayError, ...]

    @property
    def success(self) -> int:
        """Count those that went."""
        return len(self.replayed)

    @property
    def failed(self) -> int:
        """Count those that did not."""
        return len(self.errors)


@attrs.frozen(kw_only=True)
class QueueMetrics:
    """Depth and age of a queue.

    Attributes:
        queue_name: The queue.
        queue_length: All its jobs.
        visible_jobs: Those that can be claimed now.
        invisible_jobs: Those that are being processed or wait for their time.
        oldest_msg_age_seconds: Age of the oldest job in whole seconds, None in an empty queue.
        newest_msg_age_seconds: Age of the newest job in whole seconds, None in an empty queue.
    """

    queue_name: str
    queue_length: int
    visible_jobs: int
    invisible_jobs: int
    oldest_msg_age_seconds: int | None
    newest_msg_age_seconds: int | None


@attrs.frozen(kw_only=True)
class DLQMetrics:
    """Depth and age of a dead letter queue.

    Attributes:
        dlq_name: The dead letter queue.
        total_jobs: All its dead letters.
        oldest_job_age_seconds: Age of the oldest in whole seconds, None if there is none.
        newest_job_age_seconds: Age of the newest in whole seconds, None if there is none.
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
        first_moved_at: When the oldest of them came to the dead letter queue.
        last_moved_at: When the newest of them came.
        msg_id: The id of the newest in the dead letter queue, as an example.
        error_message: Its whole message, None if it has none.
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
        """How many errors there are beyond those that are listed."""
        return self.total_errors - len(self.errors)

    @property
    def jobs_left_out(self) -> int:
        """How many dead letters have an error that is not listed."""
        return self.total_jobs - sum(error.jobs for error in self.errors)


@attrs.frozen(kw_only=True)
class QueueInfo:
    """A queue and its settings.

    The settings are None for a queue that MeshHook has not used yet.

    Attributes:
        queue_name: The queue.
        created_at: When it was created.
        is_dlq: Whether it is the dead letter queue of another.
        dlq_name: Its dead letter queue.
        vt_seconds: The visibility timeout of a claim that names none, in seconds.
        max_attempts: The last attempt of a job where neither its sender nor the worker sets one.
        base_delay_ms: The delay after a first failure, in milliseconds.
        max_delay_ms: What a delay never exceeds, in milliseconds.
        keeps_history: Whether finished jobs and failed attempts are kept for `get_job`.
        has_dead_letters: Whether jobs past their last attempt go to the dead letter queue; if not,
            they go to the archive.
        retention_days: How long workers let history and archive grow, in days; None for ever.
        paused_at: Since when the queue is paused; None if it is not.
    """

    queue_name: str
    created_at: datetime
    is_dlq: bool = False
    dlq_name: str | None = None
    vt_seconds: float | None = None
    max_attempts: int | None = None
    base_delay_ms: int | None = None
    max_delay_ms: int | None = None
    keeps_history: bool | None = None
    has_dead_letters: bool | None = None
    retention_days: float | None = None
    paused_at: datetime | None = None


@attrs.frozen(kw_only=True)
class WorkerInfo:
    """A worker, as it told of itself.

    Attributes:
        worker_id: What it is known by; new for each start.
        name: What it is called.
        queue_names: The queues that it serves.
        host: The machine.
        pid: The process.
        version: The version of the SDK.
        concurrency: How many handlers it may run at once.
        running: How many it ran when it was seen last.
        interval_seconds: How often it shows signs of life, in seconds.
        started_at: When it started.
        seen_at: When it was seen last.
        is_alive: Whether it has missed no more than two signs of life.
    """

    worker_id: str
    name: str | None = None
    queue_names: tuple[str, ...]
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    concurrency: int | None = None
    running: int | None = None
    interval_seconds: float
    started_at: datetime
    seen_at: datetime
    is_alive: bool


@attrs.frozen(kw_only=True)
class PruneResult:
    """What was deleted of a queue's history.

    Attributes:
        jobs: Finished jobs.
        attempts: Failed attempts.
        archived: Archived messages.
        requests: Answers that were kept for repeated requests.
        more: Whether there may be more to delete.
    """

    jobs: int
    attempts: int
    archived: int
    requests: int
    more: bool


@attrs.frozen(kw_only=True)
class RetryConfig:
    """The settings of a `RetryStrategy`.

    Attributes:
        base_delay_ms: The delay after the first failure, without jitter, in milliseconds.
        max_delay_ms: What a delay never exceeds, in milliseconds.
        max_attempts: The last allowed attempt.
    """

    base_delay_ms: int = 1000
    max_delay_ms: int = 300_000
    max_attempts: int = 5


@attrs.frozen(kw_only=True)
class RetryInfo:
    """What follows when an attempt fails.

    Attributes:
        attempt: The attempt, from 1 on.
        max_attempts: The last allowed one.
        can_retry: Whether another follows.
        delay_ms: After which delay, in milliseconds.
        delay_seconds: The same delay in seconds.
        should_move_to_dead_letter: Whether the job goes to the dead letter queue instead.
    """

    attempt: int
    max_attempts: int
    can_retry: bool
    delay_ms: int
    delay_seconds: float
    should_move_to_dead_letter: bool
