"""Judging from beats whether an event loop stands still, and what is worth saying of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Hashable

    from meshhook.worker.standing import Standing

THRESHOLD_SECONDS = 1.0
"""How long an event loop stands still before it counts as blocked."""

SHARE_OF_LEASE = 6
"""It counts as blocked sooner where leases are short: after this part of one."""

LEAST_SECONDS = 0.05
"""What no lease, however short, makes it sooner than."""

LOOKS_IN_A_THRESHOLD = 4

MAX_PLACES = 20
"""How many places a worker warns of; at yet another, the loop has to be blocked for longer."""


@attrs.frozen(kw_only=True)
class Blocked:
    """An event loop that is blocked, as it was seen last.

    Attributes:
        seconds: For how long so far.
        standing: Where it stands.
        seen_at: When that was seen, on the clock of `time.monotonic`.
        is_logged: Whether there has been a warning.
    """

    seconds: float
    standing: Standing
    seen_at: float = 0.0
    is_logged: bool = False

    def until(self, now: float, most_seconds: float) -> Blocked:
        """Return it as it ended.

        Args:
            now: When the loop moved again, on the same clock.
            most_seconds: How much may have passed, at most, since it was seen last.
        """
        return attrs.evolve(self, seconds=self.seconds + min(now - self.seen_at, most_seconds))

    @property
    def culprit(self) -> str:
        """What blocks it, and where that stands."""
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
        """What to do about it."""
        if self.standing.delivery is None:
            return "run blocking code in a thread, or await an async library"
        return "use a plain def, which runs in a thread, or await an async library"


def threshold_seconds(lease_seconds: float) -> float:
    """Return after how many seconds a loop counts as blocked.

    Args:
        lease_seconds: The shortest lease of those it must keep.

    Returns:
        The threshold.
    """
    return max(LEAST_SECONDS, min(THRESHOLD_SECONDS, lease_seconds / SHARE_OF_LEASE))


class Pulse:
    """Adds up for how long a loop has not beaten, as far as that was watched.

    The thread that looks is frozen too when the whole process is: by SIGSTOP, a laptop that sleeps,
    a machine that is too busy. Time in which nobody looked is nobody's fault and does not count.

    Attributes:
        seconds: For how long.
    """

    def __init__(self) -> None:
        self._beat_at = 0.0
        self._looked_at = 0.0
        self.seconds = 0.0

    def look(self, now: float, beat_at: float, period_seconds: float) -> float:
        """Take a look.

        Args:
            now: The time.
            beat_at: When the loop beat last, on the same clock.
            period_seconds: How long after the last look this one was meant to come.

        Returns:
            For how many seconds the loop has stood still.
        """
        if beat_at != self._beat_at:
            self._beat_at = self._looked_at = beat_at
            self.seconds = 0.0
        self.seconds += min(max(0.0, now - self._looked_at), 2 * period_seconds)
        self._looked_at = now
        return self.seconds

    def was_busy(self, now: float) -> None:
        """Count the time since the last look in full: the watcher was at work.

        Args:
            now: The time.
        """
        self.seconds += max(0.0, now - self._looked_at)
        self._looked_at = now


class Warned:
    """What has been warned of already, so that it is said again only when it is twice as bad."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def is_news(self, what: Hashable, seconds: float) -> bool:
        """Tell whether something is worth a warning, and remember it as warned of then.

        Args:
            what: Which handler, at which place.
            seconds: For how long it has blocked the loop.

        Returns:
            Whether there was no warning of it, or only one of half of that time.
        """
        said = self._seconds.get(what)
        if said is None and len(self._seconds) >= MAX_PLACES:
            what, said = None, max(self._seconds.values())
        if said is not None and seconds < 2 * said:
            return False
        self._seconds[what] = seconds
        return True
