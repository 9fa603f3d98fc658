"""Repeating calls: how often, after which pauses, and under which request id."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from meshhook._backoff import backoff
from meshhook._defaults import REQUEST_SECONDS
from meshhook._inputs import check
from meshhook.exceptions import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook._calls.base import Call
    from meshhook.exceptions import OutageError

T = TypeVar("T")

_QUOTA_USED_UP = "MH005"
_REPEATABLE_SECONDS = REQUEST_SECONDS / 2
"""How long a call is repeated under its request id: with a margin, since a call that the database
has forgotten would be carried out a second time."""


@attrs.frozen(kw_only=True)
class RepeatPolicy:
    """How often and after which pauses a call that met an outage is repeated.

    Attributes:
        tries: How often a call is sent, at most.
        base_seconds: The pause after the first try, without jitter.
        max_seconds: What a pause never exceeds, one that the server asked for included.
        total_seconds: How long after its first try a call is still repeated. The database forgets
            request ids after ten minutes, and would carry a forgotten call out a second time.
    """

    tries: int = 5
    base_seconds: float = attrs.field(default=0.2, converter=check.seconds)
    max_seconds: float = attrs.field(default=10.0, converter=check.seconds)
    total_seconds: float = attrs.field(default=_REPEATABLE_SECONDS, converter=check.seconds)

    def __attrs_post_init__(self) -> None:
        check.all_of(
            lambda: check.whole_number("tries", self.tries, 1, check.MAX_ATTEMPTS),
            lambda: check.number_of_seconds("base_seconds", self.base_seconds, 0),
            lambda: check.number_of_seconds("max_seconds", self.max_seconds, 0),
            lambda: check.number_of_seconds(
                "total_seconds", self.total_seconds, 0, _REPEATABLE_SECONDS
            ),
        )

    def pause(self, tried: int, elapsed_seconds: float, error: OutageError) -> float | None:
        """Return how long to wait before the next try.

        Args:
            tried: How often the call has been sent.
            elapsed_seconds: How long ago it was sent first.
            error: What the last try met.

        Returns:
            The pause in seconds, or None if the call should not be repeated.
        """
        if error.code == _QUOTA_USED_UP:
            return None  # there is room again when the database says, which may be in hours
        pause = backoff(tried, self.base_seconds, self.max_seconds, random.random())  # noqa: S311 - a jitter is no secret
        pause = min(max(pause, error.retry_after_seconds or 0.0), self.max_seconds)
        if tried >= self.tries or elapsed_seconds + pause > self.total_seconds:
            return None
        return pause


NEVER = RepeatPolicy(tries=1)
"""Send each call once: for callers that have a back-off of their own."""


def policy_of(given: object) -> RepeatPolicy:
    """Check a policy that a caller gave; None is the default one."""
    if given is None:
        return RepeatPolicy()
    if not isinstance(given, RepeatPolicy):
        check.refuse([Problem("repeat_policy", check.shown(given), "give a RepeatPolicy")])
    return given  # type: ignore[return-value]  # as just checked


class Tries:
    """The tries of one call so far."""

    def __init__(self, policy: RepeatPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._begin = clock()
        self._tried = 0

    def pause_after(self, error: OutageError) -> float:
        """Count a try that met an outage, and return the pause before the next.

        Raises:
            OutageError: The error, if the call should not be repeated.
        """
        self._tried += 1
        pause = self._policy.pause(self._tried, self._clock() - self._begin, error)
        if pause is None:
            raise error
        return pause


class Repeated(Generic[T]):
    """A call that is sent until it succeeds, unchanged, so that the database recognises a repeat.

    The database forgets a request id after a while. Well before that, the call is built again, and
    `is_renewed` is true.
    """

    def __init__(self, make: Callable[[], Call[T]]) -> None:
        self._make = make
        self._call = make()
        self._since = time.monotonic()
        self.is_renewed = False

    def call(self) -> Call[T]:
        """Return the call to send now."""
        if time.monotonic() - self._since > _REPEATABLE_SECONDS:
            self._call = self._make()
            self._since = time.monotonic()
            self.is_renewed = True
        return self._call
