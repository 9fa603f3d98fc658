"""Calls that create, change, pause, list, empty and drop queues."""

from __future__ import annotations

import math
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook._calls.base import Call, exactly, given, known, list_of, optional_time, request_id
from meshhook._inputs import check
from meshhook.models import PruneResult, QueueInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meshhook.models import QueueSettings


def create(queue_name: str, settings: QueueSettings) -> Call[QueueInfo]:
    """Build the call that creates a queue or changes its settings."""
    return Call("meshhook_create_queue", _settings(queue_name, settings), _queue_info)


def configure(queue_name: str, settings: QueueSettings) -> Call[QueueInfo]:
    """Build the call that changes the settings of an existing queue."""
    return Call("meshhook_configure_queue", _settings(queue_name, settings), _queue_info)


def _retention(field: str, value: object) -> object:
    """Check a retention; JSON has no infinity, and PostgREST reads the text of one."""
    return "Infinity" if value == math.inf else check.days(field, value)


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "dlq_name": check.queue_name,
    "vt_seconds": partial(check.number_of_seconds, low=1, high=check.MAX_VT_SECONDS),
    "max_attempts": partial(check.whole_number, low=1, high=check.MAX_ATTEMPTS),
    "base_delay_ms": partial(check.whole_number, low=0, high=check.MAX_INTEGER),
    "max_delay_ms": partial(check.whole_number, low=0, high=check.MAX_INTEGER),
    "keeps_history": check.flag,
    "has_dead_letters": check.flag,
    "retention_days": _retention,
}


def _settings(queue_name: str, settings: QueueSettings) -> dict[str, Any]:
    if unknown := settings.keys() - _CHECKS.keys():
        # A TypeError, as Python raises for an argument that a function does not have.
        raise TypeError(
            f"a queue has no setting {', '.join(map(repr, sorted(unknown)))}; it has "
            f"{', '.join(_CHECKS)}"
        )
    named = given(**settings)
    values = check.all_of(*(partial(_CHECKS[name], name, value) for name, value in named.items()))
    params = dict(zip(named, values, strict=True))
    if "dlq_name" in params:
        check.other_queue("dlq_name", params["dlq_name"], queue_name)
    if "base_delay_ms" in params and "max_delay_ms" in params:
        check.delays(params["base_delay_ms"], params["max_delay_ms"])
    return {"queue_name": queue_name, **params}


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
