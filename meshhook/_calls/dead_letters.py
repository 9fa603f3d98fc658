"""Calls that read, replay and measure dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook._calls.base import Call, given, known, list_of, request_id
from meshhook._calls.jobs import attempt_records
from meshhook._defaults import MAX_JOBS_PER_CALL, MAX_JOBS_PER_PAGE
from meshhook._inputs import check
from meshhook.exceptions import JobNotFoundError, QueueNotFoundError
from meshhook.models import (
    DeadLetterJob,
    DeadLetterMessage,
    DLQMetrics,
    ErrorCount,
    ErrorCounts,
    FailedReplay,
    ReplayResult,
    ReplaySummary,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from meshhook.exceptions import MeshHookError


def list_page(dlq_name: str, limit: int, after_msg_id: int) -> Call[list[DeadLetterJob]]:
    """Build the call that lists dead letters, oldest first."""
    params = {
        "dlq_name": dlq_name,
        "quantity": check.whole_number("limit", limit, 1, MAX_JOBS_PER_PAGE),
        "after_msg_id": check.whole_number("after_msg_id", after_msg_id, 0, check.MAX_MSG_ID),
    }
    return Call(
        "meshhook_list_dead_letters",
        params,
        lambda answer: [_dead(dlq_name, row) for row in list_of(answer)],
    )


def get(dlq_name: str, msg_id: int) -> Call[DeadLetterJob | None]:
    """Build the call that fetches one dead letter."""
    params = {"dlq_name": dlq_name, "msg_id": check.msg_id("msg_id", msg_id)}
    return Call(
        "meshhook_get_dead_letter",
        params,
        lambda answer: None if answer is None else _dead(dlq_name, answer),
    )


def by_error(dlq_name: str, limit: int) -> Call[dict[str, list[DeadLetterJob]]]:
    """Build the call that groups dead letters by error."""

    def decode(answer: Any) -> dict[str, list[DeadLetterJob]]:
        return {
            row["error"]: [_dead(dlq_name, job) for job in row["jobs"]] for row in list_of(answer)
        }

    params = {
        "dlq_name": dlq_name,
        "quantity": check.whole_number("limit", limit, 1, MAX_JOBS_PER_CALL),
    }
    return Call("meshhook_group_dead_letters", params, decode)


def count_by_error(dlq_name: str, limit: int) -> Call[ErrorCounts]:
    """Build the call that counts all dead letters by error."""
    params = {
        "dlq_name": dlq_name,
        "quantity": check.whole_number("limit", limit, 1, MAX_JOBS_PER_PAGE),
    }
    return Call("meshhook_count_dead_letters", params, _counts)


def _counts(answer: Any) -> ErrorCounts:
    errors = tuple(
        ErrorCount(
            **{
                **known(ErrorCount, row),
                "first_moved_at": datetime.fromisoformat(row["first_moved_at"]),
                "last_moved_at": datetime.fromisoformat(row["last_moved_at"]),
            }
        )
        for row in list_of(answer["errors"])
    )
    return ErrorCounts(**{**known(ErrorCounts, answer), "errors": errors})


def _dead(dlq_name: str, row: Mapping[str, Any]) -> DeadLetterJob:
    # Other programs may have put anything into that queue; it is returned all the same.
    message = row["message"]
    message = DeadLetterMessage(message if isinstance(message, dict) else {"message": message})
    state = message.pop("_meshhook", None)
    if isinstance(state, dict) and "original" in state:
        message["message"] = state["original"]
    return DeadLetterJob(
        dlq_name=dlq_name,
        msg_id=row["msg_id"],
        enqueued_at=datetime.fromisoformat(row["enqueued_at"]),
        message=message,
        attempts=attempt_records(row.get("attempts", ())),
    )


def metrics(dlq_name: str) -> Call[DLQMetrics]:
    """Build the call that measures a dead letter queue."""
    return Call(
        "meshhook_dlq_metrics",
        {"dlq_name": dlq_name},
        lambda answer: DLQMetrics(**known(DLQMetrics, answer)),
    )


def replay(dlq_name: str, msg_ids: Iterable[int], target_queue: str | None) -> Call[ReplaySummary]:
    """Build the call that moves dead letters back to their queues."""

    def decode(answer: Any) -> ReplaySummary:
        rows = list_of(answer)
        return ReplaySummary(
            replayed=tuple(_replayed(row) for row in rows if row["status"] == "replayed"),
            errors=tuple(
                FailedReplay(msg_id=row["msg_id"], error=_reason(dlq_name, row))
                for row in rows
                if row["status"] != "replayed"
            ),
        )

    if target_queue is not None:
        check.queue_name("target_queue", target_queue)
        check.other_queue("target_queue", target_queue, dlq_name)
    params = given(
        dlq_name=dlq_name,
        msg_ids=check.msg_ids("msg_ids", msg_ids),
        target_queue=target_queue,
        request_id=request_id(),
    )
    return Call("meshhook_replay", params, decode)


def replay_one(dlq_name: str, msg_id: int, target_queue: str | None) -> Call[ReplayResult]:
    """Build the call that moves one dead letter back; its decoder raises if that failed."""
    many = replay(dlq_name, [msg_id], target_queue)

    def decode(answer: Any) -> ReplayResult:
        (row,) = list_of(answer)
        if row["status"] != "replayed":
            raise _not_replayed(dlq_name, row)
        return _replayed(row)

    return Call(many.function, many.params, decode)


def _replayed(row: Mapping[str, Any]) -> ReplayResult:
    return ReplayResult(
        msg_id=row["msg_id"], new_msg_id=row["new_msg_id"], target_queue=row["target_queue"]
    )


def _reason(dlq_name: str, row: Mapping[str, Any]) -> str:
    if row["status"] == "missing":
        return str(JobNotFoundError(dlq_name, row["msg_id"]))
    return str(row["error"])


def _not_replayed(dlq_name: str, row: Mapping[str, Any]) -> MeshHookError:
    if row["status"] == "missing":
        return JobNotFoundError(dlq_name, row["msg_id"])
    message = f"{row['error']} Create it with create_queue(), or replay to a target_queue."
    return QueueNotFoundError(message, function="meshhook_replay")
