"""Calls that put jobs in a queue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook import _validation as check
from meshhook._calls.base import Call, exactly, list_of, request_id
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
    trace: Mapping[str, str] | None = None,
) -> Call[EnqueueResult]:
    """Build the call that enqueues one job."""

    def decode(answer: Any) -> EnqueueResult:
        (msg_id,), duplicate = _enqueued(answer, 1, idempotency_key)
        return EnqueueResult(msg_id=msg_id, duplicate=duplicate)

    message, delay, once = check.all_of(
        lambda: check.job_data(job_data),
        lambda: check.delay_seconds("delay_seconds", delay_seconds),
        lambda: _enqueue_once(idempotency_key, idempotency_seconds),
    )
    params = {
        "queue_name": queue_name,
        "messages": _with_trace([message], trace),
        "delay_seconds": delay,
        **once,
    }
    return Call("meshhook_enqueue", params, decode)


def many(
    queue_name: str,
    jobs: Iterable[Mapping[str, Any]],
    delay_seconds: float | Sequence[float] = 0,
    *,
    idempotency_key: str | None = None,
    idempotency_seconds: float = IDEMPOTENCY_SECONDS,
    trace: Mapping[str, str] | None = None,
) -> Call[EnqueueBatch]:
    """Build the call that enqueues many jobs, all or none."""

    def decode(answer: Any) -> EnqueueBatch:
        msg_ids, duplicate = _enqueued(answer, len(messages), idempotency_key)
        return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate)

    listed = list(jobs)
    check.number_of("jobs", len(listed))
    messages, delays, once = check.all_of(
        lambda: check.jobs_data(listed),
        lambda: _delays(delay_seconds, len(listed)),
        lambda: _enqueue_once(idempotency_key, idempotency_seconds),
    )
    params = {"queue_name": queue_name, "messages": _with_trace(messages, trace), **delays, **once}
    return Call("meshhook_enqueue", params, decode)


def _with_trace(
    messages: list[dict[str, Any]], trace: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    if trace:
        for message in messages:
            message["_meshhook"] = {"trace": dict(trace)}
    return messages


def _delays(delay_seconds: float | Sequence[float], count: int) -> dict[str, Any]:
    if not isinstance(delay_seconds, list | tuple):
        return {"delay_seconds": check.delay_seconds("delay_seconds", delay_seconds)}
    if len(delay_seconds) != count:
        fix = f"give one delay for all, or one for each of the {count} jobs"
        raise InvalidInputError([Problem("delay_seconds", f"{len(delay_seconds)} delays", fix)])
    delays = check.all_of(
        *(
            partial(check.delay_seconds, f"delay_seconds[{position}]", delay)
            for position, delay in enumerate(delay_seconds)
        )
    )
    return {"delays": delays}


def _enqueued(answer: Any, count: int, key: str | None) -> tuple[tuple[int, ...], bool]:
    msg_ids = tuple(exactly(int)(msg_id) for msg_id in list_of(answer["msg_ids"]))
    if len(msg_ids) != count:
        message = f"expected {count} ids, got {len(msg_ids)}"
        raise ValueError(message)
    # Without a key of the caller's, only a repeat of this very call can be known already.
    return msg_ids, exactly(bool)(answer["duplicate"]) and key is not None


def _enqueue_once(key: str | None, seconds: float) -> dict[str, Any]:
    if key is None:
        return {"request_id": request_id()}
    return {
        "request_id": check.request_id("idempotency_key", key),
        "remember_seconds": check.number_of_seconds("idempotency_seconds", seconds, 1),
    }
