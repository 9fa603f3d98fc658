"""Values that many tests need and that say nothing by themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from meshhook import InvalidInputError, Job, JobMessage
from meshhook._inputs.check import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook import Problem

RUN = "a1b2c3d4-0000-4000-8000-000000000001"
WORKFLOW = "a1b2c3d4-0000-4000-8000-000000000002"
PROJECT = "a1b2c3d4-0000-4000-8000-000000000003"

TIME_TEXT = "2026-11-24T02:19:00.123456+00:00"
TIME = datetime(2026, 11, 24, 2, 19, 0, 123456, tzinfo=UTC)


class Unprintable:
    """An object whose repr() and str() raise."""

    def __repr__(self) -> str:
        message = "this object cannot be printed"
        raise RuntimeError(message)


def named(value: object) -> str:
    """Return a name for a test with that parameter, for any value at all."""
    if isinstance(value, str) and value.isidentifier():
        return ascii(value)[1:-1]
    # An address would be another one in each process that collects the tests.
    said = getattr(value, "__qualname__", None) or ascii(shown(value)[:60])[1:-1]
    return re.sub(r" at 0x[0-9a-f]+", "", said)


def job_data(**more: Any) -> dict[str, Any]:
    """Return the data of a job that is good, but for what is changed in it."""
    return {"run_id": RUN, "workflow_id": WORKFLOW, "project_id": PROJECT, **more}


def job_of(queue_name: str = "q", **changes: Any) -> Job:
    """Return a claimed job."""
    values: dict[str, Any] = {
        "msg_id": 7,
        "read_ct": 3,
        "enqueued_at": TIME,
        "vt": TIME,
        "attempt": 2,
        "max_attempts": 5,
        "message": JobMessage(job_data()),
    }
    return Job(queue_name=queue_name, **{**values, **changes})


def nested(levels: int) -> dict[str, Any]:
    """Return a dict of so many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def problems_of(check: Callable[..., object], *args: Any, **kwargs: Any) -> tuple[Problem, ...]:
    """Return the problems that a check finds; fail if it finds none."""
    with pytest.raises(InvalidInputError) as caught:
        check(*args, **kwargs)
    return caught.value.problems


def fields_of(check: Callable[..., object], *args: Any, **kwargs: Any) -> list[str]:
    """Return the fields that a check has something against."""
    return [problem.field for problem in problems_of(check, *args, **kwargs)]
