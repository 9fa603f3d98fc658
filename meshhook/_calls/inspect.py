"""Calls that look at the project as a whole: its database, its workers, its version."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook._calls.base import Call, given, known, list_of
from meshhook.models import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping


def doctor() -> Call[Any]:
    """Build the call that examines the database.

    Its result is any JSON, so that the caller can report a function that was replaced.
    """
    return Call("meshhook_doctor", {}, _as_it_is)


def version() -> Call[Any]:
    """Build the call that returns the versions of the SQL, PGMQ and Postgres, as any JSON."""
    return Call("meshhook_version", {}, _as_it_is)


def workers(queue_name: str | None = None) -> Call[list[WorkerInfo]]:
    """Build the call that lists the workers of a queue, or of all queues."""
    return Call(
        "meshhook_list_workers",
        given(queue_name=queue_name),
        lambda answer: [_worker_info(row) for row in list_of(answer)],
    )


def _as_it_is(answer: Any) -> Any:
    return answer


def _worker_info(row: Mapping[str, Any]) -> WorkerInfo:
    return WorkerInfo(
        **{
            **known(WorkerInfo, row),
            "queue_names": tuple(row["queue_names"]),
            "started_at": datetime.fromisoformat(row["started_at"]),
            "seen_at": datetime.fromisoformat(row["seen_at"]),
        }
    )
