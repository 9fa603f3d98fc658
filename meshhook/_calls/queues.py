"""Calls that create, change, pause, list, empty and drop queues."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook._calls.base import Call, exactly, given, known, list_of, optional_time, request_id
from meshhook._inputs import check
from meshhook.models import PruneResult, QueueInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta


def create(queue_name: str, **settings: Any) -> Call[QueueInfo]:
    """Build the call that creates a queue or changes its settings."""
    return Call("meshhook_create_queue", _settings(queue_name, **settings), _queue_info)


def configure(queue_name: str, **settings: Any) -> Call[QueueInfo]:
    """Build the call that changes the settings of a queue that is there."""
    return Call("meshhook_configure_queue", _settings(queue_name, **settings), _queue_info)


def _settings(  # noqa: PLR0913 - settings with defaults, given by name
    queue_name: str,
    *,
    dlq_name: str | None = None,
    vt_seconds: float | timedelta | None = None,
    max_attempts: int | None = None,
    base_delay_ms: int | None = None,
    max_delay_ms: int | None = None,
    keeps_history: bool | None = None,
    has_dead_letters: bool | None = None,
    retention_days: float | None = None,
) -> dict[str, Any]:
    if dlq_name is not None:
        check.queue_name("dlq_name", dlq_name)
        check.other_queue("dlq_name", dlq_name, queue_name)
    check.queue_settings(vt_seconds, max_attempts, base_delay_ms, max_delay_ms)
    if keeps_history is not None:
        check.flag("keeps_history", keeps_history)
    if has_dead_letters is not None:
        check.flag("has_dead_letters", has_dead_letters)
    if retention_days is not None:
        check.days("retention_days", retention_days)
    return given(
        queue_name=queue_name,
        dlq_name=dlq_name,
        vt_seconds=check.seconds(vt_seconds),
        max_attempts=max_attempts,
        base_delay_ms=base_delay_ms,
        max_delay_ms=max_delay_ms,
        keeps_history=keeps_history,
        has_dead_letters=has_dead_letters,
        retention_days=retention_days,
    )


def pause(queue_name: str) -> Call[bool]:
    """Build the call that pauses a queue."""
    return Call("meshhook_pause_queue", {"queue_name": queue_name}, exactly(bool))


def resume(queue_name: str) -> Call[bool]:
    """Build the call that resumes a queue."""
    return Call("meshhook_resume_queue", {"queue_name": queue_name}, exactly(bool))


def prune(
    queue_name: str, older_than_days: float | None = None, max_rows: int = 10_000
) -> Call[PruneResult]:
    """Build the call that deletes old history."""
    params = given(
        queue_name=queue_name,
        older_than_days=None
        if older_than_days is None
        else check.days("older_than_days", older_than_days),
        max_rows=check.whole_number("max_rows", max_rows, 1, check.MAX_PRUNE),
    )
    return Call("meshhook_prune", params, lambda answer: PruneResult(**known(PruneResult, answer)))


def drop(queue_name: str, *, drop_dlq: bool = False) -> Call[bool]:
    """Build the call that drops a queue."""
    params = {
        "queue_name": queue_name,
        "drop_dlq": check.flag("drop_dlq", drop_dlq),
        "request_id": request_id(),
    }
    return Call("meshhook_drop_queue", params, exactly(bool))


def list_all() -> Call[list[QueueInfo]]:
    """Build the call that lists every queue."""
    return Call(
        "meshhook_list_queues", {}, lambda answer: [_queue_info(row) for row in list_of(answer)]
    )


def _queue_info(row: Mapping[str, Any]) -> QueueInfo:
    return QueueInfo(
        **{
            **known(QueueInfo, row),
            "created_at": datetime.fromisoformat(row["created_at"]),
            "paused_at": optional_time(row.get("paused_at")),
        }
    )


def purge(queue_name: str) -> Call[int]:
    """Build the call that empties a queue."""
    params = {"queue_name": queue_name, "request_id": request_id()}
    return Call("meshhook_purge", params, exactly(int))
