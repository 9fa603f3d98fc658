"""What a handler can raise to say what becomes of its job, from any depth.

Returning completes a job and any other exception fails the attempt; these three say something else.
They work from within exception groups too.
"""

from __future__ import annotations

from meshhook import _validation as check

__all__ = ["DeadLetter", "JobControl", "Retry", "Snooze"]


class JobControl(Exception):  # noqa: N818 - these are answers, not errors
    """What the answers have in common."""


class Retry(JobControl):
    """Fail this attempt, and say when the next may begin.

    On the last attempt the job goes to the dead letter queue all the same.

    Args:
        after_seconds: How long to wait, in seconds; by default the worker's backoff.
        reason: Why, in words that are kept as the job's error.
    """

    def __init__(self, after_seconds: float | None = None, reason: str | None = None) -> None:
        if after_seconds is not None:
            check.delay_seconds("after_seconds", after_seconds)
        self.after_seconds = after_seconds
        self.reason = reason
        super().__init__(reason or "the handler asked for a retry")


class Snooze(JobControl):
    """Put the job off without using up an attempt: it did not fail, its time has not come.

    Args:
        seconds: How long to wait, in seconds.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = check.delay_seconds("seconds", seconds)
        super().__init__(f"the handler put the job off by {seconds:g} seconds")


class DeadLetter(JobControl):
    """Give the job up: no more attempts, whatever its maximum.

    Args:
        reason: Why, in words that are kept as the job's error.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
