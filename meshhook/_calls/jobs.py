"""Calls that look jobs up and measure queues."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook._calls.base import Call, given, known, list_of, object_of, optional_time
from meshhook._defaults import MAX_JOBS_PER_PAGE
from meshhook._inputs import check
from meshhook.models import AttemptRecord, JobMessage, JobRecord, QueueMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID


def job(queue_name: str, msg_id: int) -> Call[JobRecord | None]:
    """Build the call that looks one job up."""
    params = {"queue_name": queue_name, "msg_id": check.msg_id("msg_id", msg_id)}
    return Call(
        "meshhook_get_job", params, lambda answer: None if answer is None else _record(answer)
    )


def jobs_of_run(queue_name: str, run_id: str | UUID, limit: int = 100) -> Call[list[JobRecord]]:
    """Build the call that looks up the jobs of a run."""
    params = {
        "queue_name": queue_name,
        "run_id": check.run_id(run_id),
        "quantity": check.whole_number("limit", limit, 1, MAX_JOBS_PER_PAGE),
    }
    return Call(
        "meshhook_find_jobs", params, lambda answer: [_record(row) for row in list_of(answer)]
    )


JOB_STATES = (
    "available",
    "scheduled",
    "leased",
    "completed",
    "archived",
    "dead_lettered",
    "failed",
    "cancelled",
    "deleted",
    "replayed",
)
"""The states of a job; the first three are of jobs that are in their queue."""


def jobs_in_state(
    queue_name: str, state: str | None, limit: int = 100, before_msg_id: int | None = None
) -> Call[list[JobRecord]]:
    """Build the call that lists jobs, newest first."""
    params = given(
        queue_name=queue_name,
        state=None if state is None else check.one_of("state", state, JOB_STATES),
        quantity=check.whole_number("limit", limit, 1, MAX_JOBS_PER_PAGE),
        before_msg_id=None
        if before_msg_id is None
        else check.msg_id("before_msg_id", before_msg_id),
    )
    return Call(
        "meshhook_list_jobs", params, lambda answer: [_record(row) for row in list_of(answer)]
    )


def _record(row: Mapping[str, Any]) -> JobRecord:
    message = object_of(row).get("message")
    if isinstance(message, dict):
        message = JobMessage(message)
        message.pop("_meshhook", None)
    times = {name: optional_time(row.get(name)) for name in ("vt", "finished_at", "replayed_at")}
    return JobRecord(
        **{
            **known(JobRecord, row),
            **times,
            "enqueued_at": datetime.fromisoformat(row["enqueued_at"]),
            "attempts": attempt_records(row["attempts"]),
            "message": message,
        }
    )


def attempt_records(rows: Iterable[Mapping[str, Any]]) -> tuple[AttemptRecord, ...]:
    return tuple(
        AttemptRecord(
            **{**known(AttemptRecord, row), "failed_at": datetime.fromisoformat(row["failed_at"])}
        )
        for row in rows
    )


def queue_metrics(queue_name: str) -> Call[QueueMetrics]:
    """Build the call that measures a queue."""
    return Call(
        "meshhook_queue_metrics",
        {"queue_name": queue_name},
        lambda answer: QueueMetrics(**known(QueueMetrics, answer)),
    )
