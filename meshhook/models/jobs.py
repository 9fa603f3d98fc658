"""Jobs as values: what is sent, what a claim hands out, and what is known of a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Required, TypedDict, overload
from uuid import UUID  # noqa: TC003 - frameworks look the types of JobData up at run time

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


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
        attempt: The number of the first attempt; 1 by default.
        max_attempts: The last attempt that the job will get; the worker's, or 5, by default.
        metadata: Anything that the handler needs: JSON values, dates (sent in ISO 8601), UUID and
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
    ``last_error_at`` can be read even when the message has none. A field with the name of a method
    of dict (``items``, ``get``, ``copy``, ...) can be read as a key only. Type checkers know the
    fields below as attributes; for them a sender's own field is ``message["name"]``.

    Attributes:
        run_id: The run that the job belongs to.
        workflow_id: The workflow that is run.
        project_id: The project of the workflow.
        attempt: The number of this attempt, from 1 on.
        max_attempts: The last attempt that the job will get.
        enqueued_at: When the job was first enqueued, in ISO 8601.
        metadata: What the sender added.
        last_error: What went wrong in the previous attempt; None in the first.
        last_error_at: When that was, in ISO 8601.
    """

    __slots__ = ()  # setting an attribute would silently differ from its key

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

    # Hidden from type checkers, so that they report `message.attemtp` as a mistake.
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
    """The message of a dead letter: the message of the job, and what went wrong.

    What went wrong is None in a message that MeshHook did not put there.

    Attributes:
        error_message: Why the job was dead-lettered.
        error_stack: The stack of the last failure, if there was one.
        moved_to_dlq_at: When it was dead-lettered, in ISO 8601.
        original_msg_id: Its id in the queue that it came from.
        original_enqueued_at: When it was enqueued there, in ISO 8601.
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
    """The result of an enqueue.

    Attributes:
        msg_id: The id of the job.
        duplicate: Whether the idempotency key had been used before, for the job *msg_id*.
    """

    msg_id: int
    duplicate: bool = False


@attrs.frozen(kw_only=True)
class EnqueueBatch(Sequence[EnqueueResult]):
    """The result of enqueueing many jobs: one `EnqueueResult` for each, in order.

    Attributes:
        msg_ids: The ids of the jobs, in the order in which they were given.
        duplicate: Whether the idempotency key, or the key of every job, had been used before.
        duplicates: For each job, whether its own key had been used before; empty when the jobs had
            no keys of their own.
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
        enqueued_at: When it was enqueued.
        vt: When the lease of this claim ends, unless it is extended.
        attempt: Which attempt this is, from 1 on; hand-backs do not count.
        max_attempts: The last attempt that it will get.
        message: What its sender sent.
        trace: The trace context of the enqueue, as W3C headers; None without tracing.
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
    # An earlier delivery was never settled: the job may have killed its worker, so the worker runs
    # it with more care.
    _is_suspect: bool = attrs.field(repr=False, eq=False, default=False)


@attrs.frozen(kw_only=True)
class AttemptRecord:
    """One failed attempt.

    Attributes:
        attempt: Its number, from 1 on.
        read_ct: The number of the delivery.
        outcome: ``retried``, ``dead_lettered``, ``failed`` where the queue has no dead letters, or
            ``lapsed`` where its lease ended unsettled.
        failed_at: When it failed, or when the lapse was noticed.
        error_type: The class of the error.
        error_message: What the error said.
        error_stack: Where it was raised.
        worker: The worker that ran it.
        seconds: How long it took, in seconds.
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
    """What is known of a job, from its enqueue to its end.

    Attributes:
        queue_name: Its queue.
        msg_id: Its id in that queue.
        run_id: The run that it belongs to.
        state: ``available``, ``scheduled`` (waits for its time), ``leased`` (it is claimed),
            ``completed``, ``archived``, ``dead_lettered``, ``failed`` (past its last attempt in a
            queue without dead letters), ``replayed``, ``cancelled`` or ``deleted``.
        attempt: The last attempt so far; 1 before the first.
        enqueued_at: When it was enqueued.
        attempts: Its failed attempts, oldest first.
        read_ct: How often it has been delivered, while it is in its queue.
        vt: When it becomes visible, while it is in its queue.
        message: What its sender sent, while it is in its queue.
        finished_at: When it was finished.
        seconds: How long the last attempt took, in seconds.
        dlq_name: The dead letter queue that it went to.
        dlq_msg_id: Its id there.
        replayed_at: When it was replayed.
        replayed_to: The queue that it was replayed to.
        replayed_msg_id: Its new id there.
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
