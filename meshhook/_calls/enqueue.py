"""Calls that enqueue jobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook._calls import timing
from meshhook._calls.base import Call, exactly, given, list_of, request_id
from meshhook._defaults import IDEMPOTENCY_SECONDS
from meshhook._inputs import check, payload, sizes
from meshhook.exceptions import (
    InvalidInputError,
    Problem,
)
from meshhook.models import EnqueueBatch, EnqueueResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

_BUFFERED = "meshhook-buffered-"


def one(
    queue_name: str,
    job_data: Mapping[str, Any],
    delay_seconds: float | timedelta = 0,
    *,
    run_at: datetime | None = None,
    idempotency_key: str | None = None,
    idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    trace: Mapping[str, str] | None = None,
) -> Call[EnqueueResult]:
    """Build the call that enqueues one job."""

    def decode(answer: Any) -> EnqueueResult:
        (msg_id,), duplicate = _enqueued(answer, 1, request["request_id"])
        # Without a key from the caller, a known request id means a repeat of this same call, not a
        # duplicate.
        duplicate = duplicate and idempotency_key is not None
        return EnqueueResult(msg_id=msg_id, duplicate=duplicate)

    message, when, request = check.all_of(
        lambda: _message(job_data),
        lambda: timing.of_one(delay_seconds, run_at),
        lambda: once(idempotency_key, idempotency_seconds),
    )
    params = {
        "queue_name": queue_name,
        "messages": with_trace([message], trace),
        **when,
        **request,
    }
    return Call("meshhook_enqueue", params, decode)


def buffered(
    queue_name: str,
    messages: list[dict[str, Any]],
    delays: list[float],
    key: str,
    run_ats: Sequence[str | None] = (),
) -> Call[EnqueueBatch]:
    """Build the call that enqueues checked jobs under a `buffered_key`."""
    when = timing.Timing(delays if any(delays) else 0, list(run_ats) if any(run_ats) else None)
    named = {"request_id": key, "remember_seconds": IDEMPOTENCY_SECONDS}
    return several(queue_name, messages, {**when.of(slice(None)), **named}, is_named=True)


def buffered_key() -> str:
    """Return a request id for a chunk of a buffer.

    A buffer ends its chunks by time, not only by size. If the caller later enqueues the jobs of a
    `PartialEnqueueError` under this id, the chunk may be cut at another place. Then the database
    remembers fewer jobs than are sent, which is no error: the batch goes on after those.
    """
    return _BUFFERED + request_id()


def with_trace(
    messages: list[dict[str, Any]], trace: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """Return messages with the trace context of their enqueue."""
    if not trace:
        return messages
    return [{**message, "_meshhook": {"trace": dict(trace)}} for message in messages]


def _message(job_data: Mapping[str, Any]) -> dict[str, Any]:
    message = payload.job_data(job_data)
    if sizes.is_too_large([message]):
        check.refuse([sizes.too_large("job_data")])
    return message


def several(
    queue_name: str,
    messages: list[dict[str, Any]],
    more: dict[str, Any],
    text: str | None = None,
    *,
    is_named: bool,
) -> Call[EnqueueBatch]:
    """Build the call that enqueues messages, whose JSON is *text* if they are already encoded.

    *is_named*: whether the request id is a key from the caller. If not, a known request id means a
    repeat of this same call, not a duplicate.
    """

    def decode(answer: Any) -> EnqueueBatch:
        msg_ids, is_known = _enqueued(answer, len(messages), more["request_id"])
        duplicate = is_known and is_named
        if "keys" not in more:
            return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate)
        if duplicate:
            return with_keys(msg_ids, (True,) * len(msg_ids))
        return with_keys(msg_ids, _duplicates(answer, len(messages)))

    params = {"queue_name": queue_name, "messages": messages, **more}
    return Call("meshhook_enqueue", params, decode, given(messages=text))


def _enqueued(answer: Any, count: int, key: str) -> tuple[tuple[int, ...], bool]:
    msg_ids = tuple(exactly(int)(msg_id) for msg_id in list_of(answer["msg_ids"]))
    duplicate = exactly(bool)(answer["duplicate"])
    is_known = duplicate and key.startswith(_BUFFERED)
    if len(msg_ids) != count and not (is_known and 0 < len(msg_ids) < count):
        message = f"expected {count} ids, got {len(msg_ids)}"
        raise ValueError(message)
    return msg_ids, duplicate


def _duplicates(answer: Any, count: int) -> tuple[bool, ...]:
    duplicates = tuple(exactly(bool)(known) for known in list_of(answer["duplicates"]))
    if len(duplicates) != count:
        message = f"expected {count} keys, got {len(duplicates)}"
        raise ValueError(message)
    return duplicates


def with_keys(msg_ids: tuple[int, ...], duplicates: tuple[bool, ...]) -> EnqueueBatch:
    duplicate = bool(duplicates) and all(duplicates)
    return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate, duplicates=duplicates)


def once(key: str | None, seconds: float | timedelta, *, has_keys: bool = False) -> dict[str, Any]:
    if key is None and not has_keys:
        return {"request_id": request_id()}
    return {
        "request_id": request_id() if key is None else check.request_id("idempotency_key", key),
        "remember_seconds": check.number_of_seconds("idempotency_seconds", seconds, 1),
    }


def keys_of(given: Iterable[str | None], count: int, key: str | None) -> list[str | None]:
    """Check the keys of jobs; each must differ from the key of the whole enqueue."""
    keys = check.several("idempotency_keys", given)
    if len(keys) != count:
        fix = f"give one for each of the {count} jobs, None for a job without one"
        raise InvalidInputError([Problem("idempotency_keys", f"{len(keys)} keys", fix)])
    check.all_of(
        *(
            partial(check.request_id, f"idempotency_keys[{position}]", one)
            for position, one in enumerate(keys)
            if one is not None
        )
    )
    if key is not None and key in keys:
        fix = "give the whole another name than its jobs"
        check.refuse([Problem("idempotency_key", check.shown(key), fix)])
    return keys
