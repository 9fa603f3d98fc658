"""Health: whether Supabase can be reached, and how long to wait while it cannot."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Literal

from meshhook._backoff import backoff
from meshhook.exceptions import (
    DatabaseError,
    ExpiredKeyError,
    OutageError,
    RequestError,
    UnexpectedAnswerError,
)

BASE_SECONDS = 0.5
"""The pause after the first failed call."""

CEILING_SECONDS = 30.0
"""The longest pause: a worker goes on at most this long after an outage has ended."""

EXPIRED_KEY_SECONDS = 300.0
"""How long a worker that has claimed waits for an expired key to be replaced, then it stops."""


class Backoff:
    """Pauses that grow from failure to failure, with jitter, up to a ceiling."""

    def __init__(self) -> None:
        self._failures = 0

    def failed(self, error: RequestError) -> float:
        """Count a failure; return how long to wait in seconds, at least what the server asks."""
        self._failures += 1
        # Half of it is random, so that a hundred workers do not come back at once.
        jitter = -random.random() / 2  # noqa: S311 - a jitter is no secret
        pause = backoff(self._failures, BASE_SECONDS, CEILING_SECONDS, jitter)
        asked = error.retry_after_seconds if isinstance(error, OutageError) else None
        return min(max(pause, asked or 0.0), CEILING_SECONDS)

    def succeeded(self) -> None:
        """Count from the first failure again."""
        self._failures = 0


Kind = Literal["claim", "settle", "extend"]


class Health:
    """Distinguishes outages, which are waited out, from errors that waiting does not fix.

    It is one outage as long as calls of any kind fail, even if those of other kinds succeed: the
    database may take settles and time out on claims.

    A call that was sent before another one succeeded may fail after it, for an outage that is over
    by then. One such failure makes its kind a suspect, and is not reported; a second failure in a
    row is proof.

    Attributes:
        last_success: When a claim last succeeded.
        unhealthy_since: When calls began to fail; None while they succeed.
    """

    def __init__(self) -> None:
        self.last_success: datetime | None = None
        self.unhealthy_since: datetime | None = None
        self._failing_from: float | None = None
        self._failing: set[Kind] = set()
        self._suspects: set[Kind] = set()
        self._succeeded_at = 0.0

    def failed(self, error: RequestError, kind: Kind, sent_at: float) -> bool:
        """Note a failed call.

        Args:
            error: Its error.
            kind: What the call was for.
            sent_at: When it was sent, on the clock of `time.monotonic`.

        Returns:
            Whether an outage begins: the calls before had succeeded.

        Raises:
            RequestError: The error, if waiting does not fix it.
        """
        is_news = not self._failing and not self._is_of_the_past(kind, sent_at)
        if is_news:
            self._failing_from = time.monotonic()
            self.unhealthy_since = datetime.now(UTC)
        if is_news or self._failing:
            self._failing.add(kind)
        if not self._is_worth_waiting_for(error):
            raise error
        return is_news

    def _is_of_the_past(self, kind: Kind, sent_at: float) -> bool:
        """Return whether the outage that this call met may be over; note the kind as a suspect."""
        if sent_at >= self._succeeded_at or kind in self._suspects:
            return False
        self._suspects.add(kind)
        return True

    def succeeded(self, kind: Kind) -> float | None:
        """Note a call that succeeded; return the outage's length in seconds if that ended one."""
        self._succeeded_at = time.monotonic()
        if kind == "claim":
            self.last_success = datetime.now(UTC)
        return self.rested(kind)

    def rested(self, kind: Kind) -> float | None:
        """Forget the failures of a kind that needs no more calls; return as `succeeded` does."""
        self._suspects.discard(kind)
        self._failing.discard(kind)
        if self._failing or self._failing_from is None:
            return None
        failing_from, self._failing_from, self.unhealthy_since = self._failing_from, None, None
        return time.monotonic() - failing_from

    def _is_worth_waiting_for(self, error: RequestError) -> bool:
        if isinstance(error, OutageError | UnexpectedAnswerError | DatabaseError):
            return True
        if isinstance(error, ExpiredKeyError) and self.last_success is not None:
            failing_for = time.monotonic() - (self._failing_from or time.monotonic())
            return failing_for < EXPIRED_KEY_SECONDS
        return False
