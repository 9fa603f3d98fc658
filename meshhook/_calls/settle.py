"""Calls that settle claimed jobs, extend their leases, delete and cancel jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._calls import timing
from meshhook._calls.base import Call, exactly, given, list_of, request_id
from meshhook._inputs import check
from meshhook.exceptions import InvalidInputError, Problem
from meshhook.models import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

ERROR_MESSAGE_LIMIT = 4_000
"""How many characters of an error message are kept at most."""

ERROR_STACK_LIMIT = 32_000
"""How many characters of a stack are kept at most."""

NAME_LIMIT = 200
"""How many characters of the name of an error or a worker are kept at most."""


# Not frozen, as there is one for each job: a frozen class takes twice as long to make.
@attrs.define(kw_only=True)
class Outcome:
    """The outcome of one claimed job.

    Attributes:
        outcome: ``complete``, ``archive``, ``retry``, ``release`` or ``dead_letter``.
        msg_id: The job.
        read_ct: The delivery that is settled.
        seconds: How long the handler took.
        delay_seconds: How long the job stays hidden, for a retry or a release.
        run_at: Until when it stays hidden instead, as text; an older database uses the delay.
        error_type: The class of the error.
        error_message: Its message.
        error_stack: Its stack.
        worker: The name of the worker.
    """

    outcome: str
    msg_id: int
    read_ct: int
    seconds: float | None = None
    delay_seconds: float | None = None
    run_at: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_stack: str | None = None
    worker: str | None = None


def _receipts(queue_name: str, jobs: Sequence[Job | int]) -> dict[str, Any]:
    """Return the parameters that name jobs, with their read counts unless bare ids were given."""
    check.number_of("jobs", len(jobs))
    ids: list[int] = []
    read_cts: list[int | None] = []
    for job in jobs:
        if isinstance(job, Job):
            if job.queue_name != queue_name:
                fix = f'settle it through a service for the queue "{job.queue_name}"'
                raise InvalidInputError(
                    [Problem("job", f"of another queue than {queue_name}", fix)]
                )
            ids.append(job.msg_id)
            read_cts.append(job.read_ct)
        else:
            ids.append(check.msg_id("job_or_msg_id", job))
            read_cts.append(None)
    params: dict[str, Any] = {"queue_name": queue_name, "msg_ids": ids}
    if any(read_ct is not None for read_ct in read_cts):
        params["read_cts"] = read_cts
    return params


def queue_of(job: object) -> str:
    """Return the queue that a claimed job is from."""
    if not isinstance(job, Job):
        fix = "give the job as dequeue() returned it"
        raise InvalidInputError([Problem("job", check.shown(job), fix)])
    return job.queue_name


def _seconds(jobs: Sequence[Job | int]) -> list[float | None]:
    now = time.monotonic()
    return [
        round(max(0.0, now - job._claimed), 6) if isinstance(job, Job) and job._claimed else None  # noqa: SLF001 - ours
        for job in jobs
    ]


def reader(count: int) -> Callable[[Any], list[str]]:
    """Return a decoder of statuses; any other number of them is not about these jobs."""

    def decode(answer: Any) -> list[str]:
        statuses = [exactly(str)(status) for status in list_of(answer)]
        if len(statuses) != count:
            message = f"expected {count} statuses, got {len(statuses)}"
            raise ValueError(message)
        return statuses

    return decode


def _all_ok(count: int) -> Callable[[Any], list[bool]]:
    return lambda answer: [status == "ok" for status in reader(count)(answer)]


def _one_ok(answer: Any) -> bool:
    return _all_ok(1)(answer)[0]


def acknowledge(queue_name: str, jobs: Sequence[Job | int]) -> Call[list[bool]]:
    """Build the call that deletes processed jobs."""
    params = {**_receipts(queue_name, jobs), "seconds": _seconds(jobs), "request_id": request_id()}
    return Call("meshhook_acknowledge", params, _all_ok(len(jobs)))


def archive(queue_name: str, job: Job | int) -> Call[bool]:
    """Build the call that moves a processed job to PGMQ's archive."""
    params = {
        **_receipts(queue_name, [job]),
        "seconds": _seconds([job]),
        "request_id": request_id(),
    }
    return Call("meshhook_archive", params, _one_ok)


def retry(
    queue_name: str,
    job: Job | int,
    delay_seconds: float | timedelta = 0,
    error_message: str | None = None,
    error_stack: str | None = None,
    *,
    run_at: datetime | None = None,
) -> Call[bool]:
    """Build the call that settles a job as failed, so that it runs again."""
    params = {
        **_receipts(queue_name, [job]),
        **timing.of_one(delay_seconds, run_at),
        **_error(error_message, error_stack),
        "request_id": request_id(),
    }
    return Call("meshhook_retry", params, _one_ok)


def release(
    queue_name: str,
    job: Job | int,
    delay_seconds: float | timedelta = 0,
    *,
    run_at: datetime | None = None,
) -> Call[bool]:
    """Build the call that hands a job back with its attempt unused."""
    params = {
        **_receipts(queue_name, [job]),
        **timing.of_one(delay_seconds, run_at),
        "request_id": request_id(),
    }
    return Call("meshhook_release", params, _one_ok)


def extend(
    queue_name: str,
    jobs: Sequence[Job | int],
    vt_seconds: float | timedelta,
    worker: Mapping[str, Any] | None = None,
) -> Call[list[bool]]:
    """Build the call that extends leases; the receipts make it safe to repeat."""
    params = {
        **_receipts(queue_name, jobs),
        "vt_seconds": check.vt_seconds("vt_seconds", vt_seconds),
        **given(worker=worker),
    }
    return Call("meshhook_extend", params, lambda answer: _all_ok(len(jobs))(answer["statuses"]))


def dead_letter(
    queue_name: str,
    job: Job | int,
    error_message: str,
    error_stack: str | None = None,
    *,
    dlq_name: str | None = None,
) -> Call[bool]:
    """Build the call that moves a job to the dead letter queue."""
    if dlq_name is not None:
        check.other_queue("dlq_name", dlq_name, queue_name)
    params = {
        **_receipts(queue_name, [job]),
        **_error(error_message, error_stack),
        **given(dlq_name=dlq_name),
        "request_id": request_id(),
    }
    return Call("meshhook_dead_letter", params, _one_ok)


def settle(queue_name: str, outcomes: Sequence[Outcome]) -> Call[list[str]]:
    """Build the call that settles many jobs, each with its outcome."""
    params = {"queue_name": queue_name, "outcomes": rows(outcomes), "request_id": request_id()}
    return Call("meshhook_settle", params, reader(len(outcomes)))


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes in the form that the database takes."""
    return [_completion(o) if o.outcome == "complete" else _row(o) for o in outcomes]


def _completion(o: Outcome) -> dict[str, Any]:
    """Return a completion, as nearly all outcomes are: it has no texts to check."""
    row = {"outcome": o.outcome, "msg_id": o.msg_id, "read_ct": o.read_ct}
    if o.seconds is not None:
        row["seconds"] = o.seconds
    return row


def _row(o: Outcome) -> dict[str, Any]:
    return {
        **given(
            outcome=o.outcome,
            msg_id=o.msg_id,
            read_ct=o.read_ct,
            seconds=o.seconds,
            delay_seconds=o.delay_seconds,
            run_at=o.run_at,
            error_type=check.storable("error_type", o.error_type, NAME_LIMIT),
            worker=check.storable("worker", o.worker, NAME_LIMIT),
        ),
        **_error(o.error_message, o.error_stack),
    }


def _error(message: str | None, stack: str | None) -> dict[str, Any]:
    return given(
        error_message=check.storable("error_message", message, ERROR_MESSAGE_LIMIT),
        error_stack=check.storable("error_stack", stack, ERROR_STACK_LIMIT),
    )


def delete(queue_name: str, msg_id: int) -> Call[bool]:
    """Build the call that deletes a job or dead letter, even a claimed one."""
    return Call("meshhook_delete", _removal(queue_name, msg_id), _one_ok)


def cancel(queue_name: str, msg_id: int) -> Call[bool]:
    """Build the call that cancels a job, waiting or running."""
    return Call("meshhook_cancel", _removal(queue_name, msg_id), _one_ok)


def _removal(queue_name: str, msg_id: int) -> dict[str, Any]:
    return {
        "queue_name": queue_name,
        "msg_ids": [check.msg_id("msg_id", msg_id)],
        "request_id": request_id(),
    }
