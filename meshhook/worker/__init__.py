"""The worker: it claims jobs, hands them to a handler and settles their outcomes.

To read it, begin with `worker` (the public class) and `supervisor` (the parts, and how they stop).
Then follow a job: `claim`, `dispatch`, `execute`, `settle`.
"""

from __future__ import annotations

from meshhook.worker.context import CurrentJob, current_job
from meshhook.worker.control import DeadLetter, Retry, Snooze
from meshhook.worker.draining import DrainReport, drain, drain_sync
from meshhook.worker.events import WorkerEvent
from meshhook.worker.handler import JobHandler, create_job_handler
from meshhook.worker.stats import StopReport, WorkerStats
from meshhook.worker.worker import Worker

__all__ = [
    "CurrentJob",
    "DeadLetter",
    "DrainReport",
    "JobHandler",
    "Retry",
    "Snooze",
    "StopReport",
    "Worker",
    "WorkerEvent",
    "WorkerStats",
    "create_job_handler",
    "current_job",
    "drain",
    "drain_sync",
]
