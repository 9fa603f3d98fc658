"""Durable background jobs on Supabase: PGMQ over RPC, with receipts, retries and dead letters."""

from __future__ import annotations

import typing

from meshhook._http.repeat import RepeatPolicy
from meshhook.connection import connect, connect_sync
from meshhook.dlq_service import DLQService
from meshhook.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DatabaseError,
    ExpiredKeyError,
    InvalidInputError,
    InvalidKeyError,
    JobNotFoundError,
    JobTimeoutError,
    LeaseLostError,
    MeshHookError,
    MissingFunctionsError,
    OutageError,
    PartialEnqueueError,
    PermissionDeniedError,
    Problem,
    QueueNotFoundError,
    RateLimitedError,
    RejectedError,
    RequestError,
    RequestTimeoutError,
    ServerUnavailableError,
    StatementTimeoutError,
    UnexpectedAnswerError,
    UnreachableError,
)
from meshhook.models import (
    AttemptRecord,
    DeadLetterJob,
    DeadLetterMessage,
    DLQMetrics,
    EnqueueBatch,
    EnqueueResult,
    ErrorCount,
    ErrorCounts,
    FailedReplay,
    Job,
    JobData,
    JobMessage,
    JobRecord,
    PruneResult,
    QueueInfo,
    QueueMetrics,
    QueueSettings,
    ReplayResult,
    ReplaySummary,
    RetryConfig,
    RetryInfo,
    WorkerInfo,
)
from meshhook.queue_service import QueueService, list_queues
from meshhook.retry import RetryStrategy
from meshhook.sync_services import SyncDLQService, SyncQueueService, list_queues_sync

if typing.TYPE_CHECKING:
    from meshhook.worker import (
        CurrentJob,
        DeadLetter,
        DrainReport,
        JobHandler,
        Retry,
        Snooze,
        StopReport,
        Worker,
        WorkerEvent,
        WorkerStats,
        create_job_handler,
        current_job,
        drain,
        drain_sync,
    )

__all__ = [
    "AttemptRecord",
    "AuthenticationError",
    "ConfigurationError",
    "CurrentJob",
    "DLQMetrics",
    "DLQService",
    "DatabaseError",
    "DeadLetter",
    "DeadLetterJob",
    "DeadLetterMessage",
    "DrainReport",
    "EnqueueBatch",
    "EnqueueResult",
    "ErrorCount",
    "ErrorCounts",
    "ExpiredKeyError",
    "FailedReplay",
    "InvalidInputError",
    "InvalidKeyError",
    "Job",
    "JobData",
    "JobHandler",
    "JobMessage",
    "JobNotFoundError",
    "JobRecord",
    "JobTimeoutError",
    "LeaseLostError",
    "MeshHookError",
    "MissingFunctionsError",
    "OutageError",
    "PartialEnqueueError",
    "PermissionDeniedError",
    "Problem",
    "PruneResult",
    "QueueInfo",
    "QueueMetrics",
    "QueueNotFoundError",
    "QueueService",
    "QueueSettings",
    "RateLimitedError",
    "RejectedError",
    "RepeatPolicy",
    "ReplayResult",
    "ReplaySummary",
    "RequestError",
    "RequestTimeoutError",
    "Retry",
    "RetryConfig",
    "RetryInfo",
    "RetryStrategy",
    "ServerUnavailableError",
    "Snooze",
    "StatementTimeoutError",
    "StopReport",
    "SyncDLQService",
    "SyncQueueService",
    "UnexpectedAnswerError",
    "UnreachableError",
    "Worker",
    "WorkerEvent",
    "WorkerInfo",
    "WorkerStats",
    "connect",
    "connect_sync",
    "create_job_handler",
    "current_job",
    "drain",
    "drain_sync",
    "list_queues",
    "list_queues_sync",
]


def __getattr__(name: str) -> typing.Any:
    # The public names that are not imported above are the worker's: a third of the import, which a
    # program that only enqueues does not need.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from meshhook import worker  # noqa: PLC0415 - only when it is used

    value = globals()[name] = getattr(worker, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
