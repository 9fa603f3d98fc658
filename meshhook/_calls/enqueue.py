"""Calls that put jobs in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook import _validation as check
from meshhook._calls.base import Call, request_id
from meshhook.exceptions import InvalidInputError, Problem
from meshhook.models import EnqueueBatch, EnqueueResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

IDEMPOTENCY_SECONDS = 86_400.0
"""How long an idempotency key is remembered unless the caller says otherwise: a day."""


def one(
    queue_name: str,
    job_data: Mapping[str, Any],
    delay_seconds: float = 0,
    *,
    idempotency_key: str | None = None,
    idempotency_seconds: float = IDEMPOTENCY_SECONDS,
) -> Call[EnqueueResult]:
    """Build the call that enqueues one job."""

    def decode(answer: Any) -> EnqueueResult:
        (msg_id,) = answer["msg_ids"]
        return EnqueueResult(msg_id=msg_id, duplicate=answer["duplicate"])

    params = {
        "queue_name": queue_name,
        "messages": [check.job_data(job_data)],
        "delay_seconds": check.delay_seconds("delay_seconds", delay_seconds),
        **_enqueue_once(idempotency_key, idempotency_seconds),
    }
    return Call("meshhook_enqueue", params, decode)


def many(
    queue_name: str,
    jobs: Iterable[Mapping[str, Any]],
    delay_seconds: float | Sequence[float] = 0,
    *,
    idempotency_key: str | None = None,
    idempotency_seconds: float = IDEMPOTENCY_SECONDS,
) -> Call[EnqueueBatch]:
    """Build the call that enqueues many jobs, all or none."""

    def decode(answer: Any) -> EnqueueBatch:
        return EnqueueBatch(msg_ids=tuple(answer["msg_ids"]), duplicate=answer["duplicate"])

    messages = check.jobs_data(jobs)
    if len(messages) > check.MAX_BATCH:
        fix = f"give at most {check.MAX_BATCH} at once"
        raise InvalidInputError([Problem("jobs", f"{len(messages)} jobs", fix)])
    params = {
        "queue_name": queue_name,
        "messages": messages,
        **_delays(delay_seconds, len(messages)),
        **_enqueue_once(idempotency_key, idempotency_seconds),
    }
    return Call("meshhook_enqueue", params, decode)


def _delays(delay_seconds: float | Sequence[float], count: int) -> dict[str, Any]:
    if not isinstance(delay_seconds, list | tuple):
        return {"delay_seconds": check.delay_seconds("delay_seconds", delay_seconds)}
    if len(delay_seconds) != count:
        fix = f"give one delay for all, or one for each of the {count} jobs"
        raise InvalidInputError([Problem("delay_seconds", f"{len(delay_seconds)} delays", fix)])
    return {
        "delays": [
            check.delay_seconds(f"delay_seconds[{position}]", delay)
            for position, delay in enumerate(delay_seconds)
        ]
    }


def _enqueue_once(key: str | None, seconds: float) -> dict[str, Any]:
    if key is None:
        return {"request_id": request_id()}
    return {
        "request_id": check.request_id("idempotency_key", key),
        "remember_seconds": check.positive_seconds("idempotency_seconds", seconds),
    }
