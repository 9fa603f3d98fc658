"""Whether Supabase can be reached, and how long to wait where it can't."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from meshhook._backoff import backoff
from meshhook._calls.base import REQUEST_SECONDS
from meshhook.exceptions import (
    DatabaseError,
    ExpiredKeyError,
    OutageError,
    RequestError,
    UnexpectedAnswerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook._calls.base import Call

T = TypeVar("T")

BASE_SECONDS = 0.5
"""The pause after the first failed call."""

CEILING_SECONDS = 30.0
"""What a pause never exceeds: a worker goes on at the latest this long after an outage ended."""

EXPIRED_KEY_SECONDS = 300.0
"""How long a worker that has worked waits for an expired key to be replaced before it stops."""


class Backoff:
    """Pauses that grow from failure to failure, with jitter, up to a ceiling."""

    def __init__(self) -> None:
        self._failures = 0

    def failed(self, error: RequestError) -> float:
        """Note a failure and return how long to wait, in seconds.

        Args:
            error: What the call met; a pause that the server asks for is kept to.

        Returns:
            The pause.
        """
        self._failures += 1
        # Half of it is left to chance, so that a hundred workers do not come back at once.
        jitter = -random.random() / 2  # noqa: S311 - a jitter is no secret
        pause = backoff(self._failures, BASE_SECONDS, CEILING_SECONDS, jitter)
        asked = error.retry_after_seconds if isinstance(error, OutageError) else None
        return min(max(pause, asked or 0.0), CEILING_SECONDS)

    def succeeded(self) -> None:
        """Note a success: the next failure is a first one."""
        self._failures = 0


Kind = Literal["claim", "settle", "extend"]


class Repeated(Generic[T]):
    """A call that is sent again and again as it is, so that the database can tell it for a repeat.

    The database forgets a request id after a while; well before that, the call is made anew.

    Args:
        make: Makes the call.

    Attributes:
        is_renewed: Whether it had to be made anew.
    """

    def __init__(self, make: Callable[[], Call[T]]) -> None:
        self._make = make
        self._call = make()
        self._since = time.monotonic()
        self.is_renewed = False

    def call(self) -> Call[T]:
        """Return the call to send now."""
        if time.monotonic() - self._since > REQUEST_SECONDS / 2:
            self._call = self._make()
            self._since = time.monotonic()
            self.is_renewed = True
        return self._call


class Health:
    """Tells outages, which are waited out, from what waiting does not mend.

    It is one outage as long as calls of any kind fail, whatever the other kinds do.

    Attributes:
        last_success: When jobs were last asked for with success.
        unhealthy_since: Since when calls fail; None while they do not.
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
            error: What it met.
            kind: What the call was for.
            sent_at: When it was sent, on the clock of `time.monotonic`.

        Returns:
            Whether this is news: the calls before had succeeded.

        Raises:
            RequestError: The error, if waiting does not mend it.
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
        """Tell whether an outage may be over that this call met; a second failure is proof."""
        if sent_at >= self._succeeded_at or kind in self._suspects:
            return False
        self._suspects.add(kind)
        return True

    def succeeded(self, kind: Kind) -> float | None:
        """Note a call that succeeded.

        Args:
            kind: What the call was for.

        Returns:
            How long calls had failed before, in seconds, if this is the end of an outage.
        """
        self._succeeded_at = time.monotonic()
        if kind == "claim":
            self.last_success = datetime.now(UTC)
        return self.rested(kind)

    def rested(self, kind: Kind) -> float | None:
        """Note that there is nothing left to call for, so that a failure says no more.

        Args:
            kind: What the calls were for.

        Returns:
            How long calls had failed, in seconds, if this is the end of an outage.
        """
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
