"""Calls that claim jobs."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._calls.base import Call, given, request_id
from meshhook._defaults import MAX_BYTES_PER_CALL, MAX_JOBS_PER_CLAIM
from meshhook._inputs import check
from meshhook.models import Job, JobMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta


@attrs.frozen
class Claim:
    """The answer to a claim.

    Attributes:
        jobs: The claimed jobs, the one that has been due longest first.
        dead_lettered: The ids of the jobs that were past their last attempt and were dead-lettered
            instead, each with its error.
        vt_seconds: How long the leases last, in seconds.
        base_delay_ms: The queue's delay after a first failure, in milliseconds.
        max_delay_ms: What a delay of the queue never exceeds, in milliseconds.
        bytes: About how large the messages are together, in bytes.
        paused: Whether the queue is paused, so that no job is claimed.
        retention_days: How long the queue keeps its history, in days; None without a limit.
        dlq_name: The dead letter queue; None if the queue has none, empty if the database does not
            say.
    """

    jobs: tuple[Job, ...]
    dead_lettered: tuple[tuple[int, str], ...]
    vt_seconds: float
    base_delay_ms: int
    max_delay_ms: int
    bytes: int
    paused: bool = False
    retention_days: float | None = None
    dlq_name: str | None = ""

    def is_short_of(self, quantity: int) -> bool:
        """Return whether no more jobs were due, so that it is no use to ask again at once.

        A claim also ends early when its messages are large or when it dead-letters many jobs;
        then more may be due.
        """
        return (
            len(self.jobs) < quantity and not self.dead_lettered and self.bytes < MAX_BYTES_PER_CALL
        )


def batch(
    queue_name: str,
    quantity: int,
    vt_seconds: float | timedelta | None = None,
    **more: int | None,
) -> Call[Claim]:
    """Build the call that claims jobs, for its whole answer."""
    params = arguments(queue_name, quantity, vt_seconds, **more)
    return Call("meshhook_dequeue", params, reader(queue_name))


def arguments(
    queue_name: str,
    quantity: int,
    vt_seconds: float | timedelta | None,
    **more: int | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the parameters of a claim."""
    if vt_seconds is not None:
        vt_seconds = check.vt_seconds("vt_seconds", vt_seconds)
    return given(
        queue_name=queue_name,
        quantity=check.whole_number("quantity", quantity, 1, MAX_JOBS_PER_CLAIM),
        vt_seconds=vt_seconds,
        **more,
        request_id=request_id(),
    )


def reader(queue_name: str) -> Callable[[Any], Claim]:
    """Return the decoder of a claim's answer."""

    def decode(answer: Any) -> Claim:
        claimed = time.monotonic()
        vt = datetime.fromisoformat(answer["vt"])
        return Claim(
            tuple(_job(queue_name, vt, claimed, row) for row in answer["jobs"]),
            tuple((row["msg_id"], row["error_message"]) for row in answer["dead_lettered"]),
            answer["vt_seconds"],
            answer["base_delay_ms"],
            answer["max_delay_ms"],
            answer["bytes"],
            answer.get("paused", False),
            answer.get("retention_days"),
            answer.get("dlq_name", ""),
        )

    return decode


def one(queue_name: str, vt_seconds: float | timedelta) -> Call[Job | None]:
    """Build the call that claims one job."""
    claimed = batch(queue_name, 1, vt_seconds)

    def decode(answer: Any) -> Job | None:
        return next(iter(claimed.decode(answer).jobs), None)

    return Call(claimed.function, claimed.params, decode)


def many(queue_name: str, quantity: int, vt_seconds: float | timedelta) -> Call[list[Job]]:
    """Build the call that claims jobs, for the jobs alone."""
    claimed = batch(queue_name, quantity, vt_seconds)
    return Call(claimed.function, claimed.params, lambda answer: list(claimed.decode(answer).jobs))


def _job(queue_name: str, vt: datetime, claimed: float, row: Mapping[str, Any]) -> Job:
    message = JobMessage(row["message"])
    state = message.pop("_meshhook", None)
    state = state if isinstance(state, dict) else {}
    # Suspect: the delivery before this one may have killed its worker. A settled failure leaves its
    # error in the message. A hand-back writes the attempt and keeps the error of an older failure;
    # "lapsed" says that a delivery since then was never settled.
    is_suspect = row["attempt"] > 1 and (
        message.get("attempt") != row["attempt"]
        or "last_error" not in message
        or state.get("lapsed") is True
    )
    # The row also counts deliveries that were never settled; the message does not know of them.
    message["attempt"] = row["attempt"]
    message["max_attempts"] = row["max_attempts"]
    return Job(
        queue_name=queue_name,
        msg_id=row["msg_id"],
        read_ct=row["read_ct"],
        enqueued_at=datetime.fromisoformat(row["enqueued_at"]),
        vt=vt,
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        message=message,
        claimed=claimed,
        is_suspect=is_suspect,
        trace=state.get("trace"),
    )
