"""Calls about the jobs that end users enqueue: the enqueue itself, and which queues take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook._calls import timing
from meshhook._calls.base import Call, exactly, given, object_of, request_id
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
    """Build the call that enqueues a job for the user whose token the client sends."""

    def decode(answer: Any) -> bool:
        duplicate = exactly(bool)(object_of(answer)["duplicate"])
        # Without a key from the caller, a known request id means a repeat of this same call, not a
        # duplicate.
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


def allow(
    queue_name: str,
    *,
    max_bytes: int | None = None,
    quota: int | None = None,
    per_seconds: float | None = None,
    allows_anonymous: bool | None = None,
) -> Call[dict[str, Any]]:
    """Build the call that lets users enqueue into a queue; the database checks the limits."""
    params = given(
        queue_name=check.queue_name("queue_name", queue_name),
        max_bytes=max_bytes,
        quota=quota,
        per_seconds=per_seconds,
        allows_anonymous=allows_anonymous,
    )
    return Call("meshhook_allow_user_enqueue", params, object_of)


def disallow(queue_name: str) -> Call[bool]:
    """Build the call that no longer lets users enqueue into a queue."""
    params = {"queue_name": check.queue_name("queue_name", queue_name)}
    return Call("meshhook_disallow_user_enqueue", params, exactly(bool))


def _key(idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return request_id()
    return check.request_id("idempotency_key", idempotency_key)


def _job_data(fields: Mapping[str, Any]) -> dict[str, Any]:
    data = payload.job_data(fields)
    fix = "leave it out: the database sets it for users"
    check.refuse(Problem(field, "reserved", fix) for field in _NOT_FOR_USERS if field in data)
    return data
