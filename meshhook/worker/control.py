"""The answers of a handler that decide the outcome of its job: `Retry`, `Snooze`, `DeadLetter`.

An answer is raised from any depth, or returned. Returning anything else completes the job, and any
other exception fails the attempt. Answers work in exception groups too. They are base exceptions,
as the cancellation of asyncio is, so that an ``except Exception`` on the way does not catch them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._inputs import check
from meshhook.exceptions import InvalidInputError, Problem, unpickled

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["DeadLetter", "JobControl", "Retry", "Snooze", "answer_returned"]


class JobControl(BaseException):
    """What the answers have in common."""

    def __reduce__(self) -> tuple[object, ...]:
        # Without this, unpickling an answer in a process pool would fail and break the pool.
        return unpickled, (type(self), self.args, vars(self))


class Retry(JobControl):
    """Fail this attempt, and say when the next may start.

    On the last attempt the job goes to the dead letter queue all the same.

    Args:
        after_seconds: How long to wait, in seconds or as a timedelta; by default the worker's
            backoff.
        reason: Why, in words that are kept as the job's error.
        run_at: Instead, the time from which the next may start, a datetime with a time zone.
    """

    def __init__(
        self,
        after_seconds: float | timedelta | None = None,
        reason: str | None = None,
        *,
        run_at: datetime | None = None,
    ) -> None:
        self.after_seconds = _seconds("after_seconds", after_seconds, run_at)
        self.run_at = run_at
        self.reason = reason
        super().__init__(reason or "the handler asked for a retry")


class Snooze(JobControl):
    """Put the job off without using up an attempt: it did not fail, it is just too early.

    Args:
        seconds: How long to wait, in seconds or as a timedelta.
        run_at: Instead, the time until which to wait, a datetime with a time zone.
    """

    def __init__(
        self, seconds: float | timedelta | None = None, *, run_at: datetime | None = None
    ) -> None:
        self.seconds = _seconds("seconds", seconds, run_at)
        self.run_at = run_at
        if self.seconds is None and run_at is None:
            fix = "give seconds or run_at: how long to wait, or until when"
            raise InvalidInputError([Problem("seconds", check.shown(seconds), fix)])
        how = f"until {run_at}" if run_at else f"by {self.seconds:g} seconds"
        super().__init__(f"the handler put the job off {how}")


class DeadLetter(JobControl):
    """Move the job to the dead letter queue: no more attempts, even if some are left.

    Args:
        reason: Why, in words that are kept as the job's error.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def answer_returned(value: object) -> BaseException | None:
    """Return what a handler's return value means other than "completed".

    Args:
        value: What the handler returned.

    Returns:
        An answer, which counts as if it were raised; an error for any other exception, which was
        surely meant to be raised; None for anything else, which completes the job.
    """
    if isinstance(value, JobControl):
        return value
    if isinstance(value, type) and issubclass(value, BaseException):
        name = value.__qualname__
        return TypeError(f"the handler returned the class {name}: write raise {name}(...)")
    if not isinstance(value, BaseException):
        return None
    error = TypeError(
        f"the handler returned {type(value).__qualname__}: raise it to fail the attempt, or return "
        "nothing to complete the job"
    )
    error.__cause__ = value
    return error


def _seconds(
    field: str, seconds: float | timedelta | None, run_at: datetime | None
) -> float | None:
    """Check how long to wait, or until when."""
    if run_at is not None:
        check.run_at("run_at", run_at)
        if seconds is not None:
            check.not_both("run_at", run_at, field)
    return None if seconds is None else check.delay_seconds(field, seconds)
