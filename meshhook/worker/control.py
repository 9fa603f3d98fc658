"""What a handler can raise to say what becomes of its job, from any depth.

Returning completes a job and any other exception fails the attempt; these three say something else.
They work from within exception groups too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook import _validation as check
from meshhook.exceptions import InvalidInputError, Problem

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["DeadLetter", "JobControl", "Retry", "Snooze"]


class JobControl(Exception):  # noqa: N818 - these are answers, not errors
    """What the answers have in common."""


class Retry(JobControl):
    """Fail this attempt, and say when the next may begin.

    On the last attempt the job goes to the dead letter queue all the same.

    Args:
        after_seconds: How long to wait, in seconds or as a timedelta; by default the worker's
            backoff.
        reason: Why, in words that are kept as the job's error.
        run_at: The time from which the next may begin instead, a datetime with a time zone.
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
    """Put the job off without using up an attempt: it did not fail, its time has not come.

    Args:
        seconds: How long to wait, in seconds or as a timedelta.
        run_at: The time until which to wait instead, a datetime with a time zone.
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
    """Give the job up: no more attempts, whatever its maximum.

    Args:
        reason: Why, in words that are kept as the job's error.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def _seconds(
    field: str, seconds: float | timedelta | None, run_at: datetime | None
) -> float | None:
    """Check how long to wait, or until when."""
    if run_at is not None:
        check.run_at("run_at", run_at)
        if seconds is not None:
            check.not_both("run_at", run_at, field)
    return None if seconds is None else check.delay_seconds(field, seconds)
