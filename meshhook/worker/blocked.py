"""Deciding from beats whether an event loop is blocked, and whether that is worth a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Hashable

    from meshhook.worker.in_flight import InFlightJob

THRESHOLD_SECONDS = 1.0
"""How long an event loop stands still before it counts as blocked."""

SHARE_OF_LEASE = 6
"""Where leases are short, it counts as blocked sooner: after this fraction of a lease."""

LEAST_SECONDS = 0.05
"""The threshold is never shorter than this."""

LOOKS_IN_A_THRESHOLD = 4

MAX_PLACES = 20
"""How many places a worker warns of; beyond that, only of a longer block than all before."""


@attrs.frozen
class Standing:
    """Where a thread stands.

    Attributes:
        place: File and line of the innermost frame in the user's own code.
        function: The handler's function; outside of handlers, the function at that place.
        delivery: The job whose handler it is; None outside of handlers.
    """

    place: str
    function: str
    delivery: InFlightJob | None = None


@attrs.frozen(kw_only=True)
class Blocked:
    """A blocked event loop, as it was last seen.

    Attributes:
        seconds: How long it has been blocked so far.
        standing: Where it stands.
        seen_at: When it was last seen, on the clock of `time.monotonic`.
        is_logged: Whether a warning was logged.
    """

    seconds: float
    standing: Standing
    seen_at: float = 0.0
    is_logged: bool = False

    def until(self, now: float, most_seconds: float) -> Blocked:
        """Return it with its full length, counted up to *now*, but at most so much longer."""
        return attrs.evolve(self, seconds=self.seconds + min(now - self.seen_at, most_seconds))

    @property
    def culprit(self) -> str:
        """What blocks the loop, and where."""
        where = self.standing
        if where.delivery is None:
            return f"{where.function} at {where.place}, which is no handler of this worker"
        job = where.delivery.job
        return (
            f"the handler {where.function} at {where.place},"
            f" with job {job.msg_id} in {job.queue_name}, attempt {job.attempt}"
        )

    @property
    def fix(self) -> str:
        """How to fix it."""
        if self.standing.delivery is None:
            return "run blocking code in a thread, or await an async library"
        return "use a plain def, which runs in a thread, or await an async library"


def threshold_seconds(lease_seconds: float) -> float:
    """Return after how many seconds a loop counts as blocked, given the shortest lease."""
    return max(LEAST_SECONDS, min(THRESHOLD_SECONDS, lease_seconds / SHARE_OF_LEASE))


class Pulse:
    """Adds up how long a loop has not beaten while it was watched.

    When the whole process is frozen (by SIGSTOP, a laptop that sleeps, a machine that is too busy),
    the thread that watches is frozen too. Time that nobody watched is no handler's fault, and does
    not count.

    Attributes:
        seconds: How long.
    """

    def __init__(self) -> None:
        self._beat_at = 0.0
        self._looked_at = 0.0
        self.seconds = 0.0

    def look(self, now: float, beat_at: float, period_seconds: float) -> float:
        """Look at the beats.

        Args:
            now: The time.
            beat_at: When the loop last beat, on the same clock.
            period_seconds: The intended time between two looks.

        Returns:
            How many seconds the loop has stood still.
        """
        if beat_at != self._beat_at:
            self._beat_at = self._looked_at = beat_at
            self.seconds = 0.0
        self.seconds += min(max(0.0, now - self._looked_at), 2 * period_seconds)
        self._looked_at = now
        return self.seconds

    def was_busy(self, now: float) -> None:
        """Count the time since the last look in full: the thread was busy, and not frozen."""
        self.seconds += max(0.0, now - self._looked_at)
        self._looked_at = now


class Warned:
    """The warnings so far: the same is said again only when it took twice as long."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def is_news(self, what: Hashable, seconds: float) -> bool:
        """Return whether a block is worth a warning, and if so, remember it.

        Args:
            what: Which handler, at which place.
            seconds: How long it has blocked the loop.
        """
        said = self._seconds.get(what)
        if said is None and len(self._seconds) >= MAX_PLACES:
            what, said = None, max(self._seconds.values())
        if said is not None and seconds < 2 * said:
            return False
        self._seconds[what] = seconds
        return True
