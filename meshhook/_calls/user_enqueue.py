"""The call by which an end user puts a job in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook._calls import timing
from meshhook._calls.base import Call, exactly, object_of, request_id
from meshhook._inputs import check, payload
from meshhook.exceptions import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

_NOT_FOR_USERS = ("attempt", "max_attempts", "user_id")


def one(
    queue_name: str,
    job_data: Mapping[str, Any],
    delay_seconds: float | timedelta = 0,
    *,
    run_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[bool]:
    """Build the call that enqueues a job for the user whose token goes with it."""

    def decode(answer: Any) -> bool:
        duplicate = exactly(bool)(object_of(answer)["duplicate"])
        # Without a key of the caller's, only a repeat of this very call can be known already.
        return not duplicate or idempotency_key is None

    message, when, key = check.all_of(
        lambda: _job_data(job_data),
        lambda: timing.of_one(delay_seconds, run_at),
        lambda: _key(idempotency_key),
    )
    params = {
        "queue_name": queue_name,
        "message": message,
        **when,
        "request_id": key,
    }
    return Call("meshhook_user_enqueue", params, decode)


def _key(idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return request_id()
    return check.request_id("idempotency_key", idempotency_key)


def _job_data(given: Mapping[str, Any]) -> dict[str, Any]:
    data = payload.job_data(given)
    fix = "leave it out: the database sets it for users"
    check.refuse(Problem(field, "reserved", fix) for field in _NOT_FOR_USERS if field in data)
    return data
