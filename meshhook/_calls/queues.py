"""Calls that create, change, list, empty and drop queues."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook import _validation as check
from meshhook._calls.base import Call, exactly, given, known, list_of, request_id
from meshhook.models import QueueInfo

if TYPE_CHECKING:
    from collections.abc import Mapping


def create(
    queue_name: str,
    *,
    dlq_name: str | None = None,
    vt_seconds: float | None = None,
    max_attempts: int | None = None,
    base_delay_ms: int | None = None,
    max_delay_ms: int | None = None,
    keeps_history: bool | None = None,
) -> Call[QueueInfo]:
    """Build the call that creates a queue or changes its settings."""
    if dlq_name is not None:
        check.queue_name("dlq_name", dlq_name)
        check.other_queue("dlq_name", dlq_name, queue_name)
    check.queue_settings(vt_seconds, max_attempts, base_delay_ms, max_delay_ms)
    if keeps_history is not None:
        check.flag("keeps_history", keeps_history)
    params = given(
        queue_name=queue_name,
        dlq_name=dlq_name,
        vt_seconds=vt_seconds,
        max_attempts=max_attempts,
        base_delay_ms=base_delay_ms,
        max_delay_ms=max_delay_ms,
        keeps_history=keeps_history,
    )
    return Call("meshhook_create_queue", params, _queue_info)


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
        **{**known(QueueInfo, row), "created_at": datetime.fromisoformat(row["created_at"])}
    )


def purge(queue_name: str) -> Call[int]:
    """Build the call that empties a queue."""
    params = {"queue_name": queue_name, "request_id": request_id()}
    return Call("meshhook_purge", params, exactly(int))
