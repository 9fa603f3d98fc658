"""The values that go in and come out: frozen, with no behaviour that needs a connection."""

from __future__ import annotations

from meshhook.models.dead_letters import (
    DeadLetterJob,
    DLQMetrics,
    ErrorCount,
    ErrorCounts,
    FailedReplay,
    ReplayResult,
    ReplaySummary,
)
from meshhook.models.jobs import (
    AttemptRecord,
    DeadLetterMessage,
    EnqueueBatch,
    EnqueueResult,
    Job,
    JobData,
    JobMessage,
    JobRecord,
)
from meshhook.models.queues import (
    PruneResult,
    QueueInfo,
    QueueMetrics,
    QueueSettings,
    RetryConfig,
    RetryInfo,
    WorkerInfo,
)

__all__ = [
    "AttemptRecord",
    "DLQMetrics",
    "DeadLetterJob",
    "DeadLetterMessage",
    "EnqueueBatch",
    "EnqueueResult",
    "ErrorCount",
    "ErrorCounts",
    "FailedReplay",
    "Job",
    "JobData",
    "JobMessage",
    "JobRecord",
    "PruneResult",
    "QueueInfo",
    "QueueMetrics",
    "QueueSettings",
    "ReplayResult",
    "ReplaySummary",
    "RetryConfig",
    "RetryInfo",
    "WorkerInfo",
]
