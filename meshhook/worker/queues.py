"""The queues that a worker serves: their settings, and whose turn it is."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from meshhook._inputs import check
from meshhook.exceptions import InvalidInputError, Problem
from meshhook.retry import backoff_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshhook._calls.claim import Claim
    from meshhook.retry import RetryStrategy

MAX_WEIGHT = 1000


@attrs.define(eq=False)
class WorkedQueue:
    """A queue that a worker serves.

    Attributes:
        name: The queue.
        weight: Its share of the turns, in proportion to the weights of the others.
        next_poll: When to ask for jobs again, on the clock of `time.monotonic`.
        credit: How much it is owed in the distribution of turns; see `Turns`.
        vt_seconds: How long its leases last. This and the following are as of the last claim.
        base_delay_ms: Its own delay after a first failure.
        max_delay_ms: Its own longest delay.
        retention_days: How long it keeps its history; None for no limit.
        paused: Whether it is paused.
        dlq_name: Where its jobs go after their last attempt; None for the archive, empty for a dead
            letter queue whose name is not known.
    """

    name: str
    weight: int = 1
    next_poll: float = 0.0
    credit: int = 0
    vt_seconds: float = 30.0
    base_delay_ms: int = 1000
    max_delay_ms: int = 300_000
    retention_days: float | None = None
    paused: bool = False
    dlq_name: str | None = ""
    _polled: bool = False

    def update_from(self, claim: Claim) -> bool:
        """Take over the settings in a claim; return whether the queue was paused or resumed."""
        self.vt_seconds = claim.vt_seconds
        self.base_delay_ms = claim.base_delay_ms
        self.max_delay_ms = claim.max_delay_ms
        self.retention_days = claim.retention_days
        self.dlq_name = claim.dlq_name
        was_paused, self.paused = self.paused, claim.paused
        return self.paused != was_paused

    @property
    def last_stop(self) -> str:
        """Where a job goes after its last attempt, for a log line."""
        if self.dlq_name is None:
            return "the archive, since the queue has no dead letters"
        return f"the dead letter queue {self.dlq_name}".rstrip()

    def note_short_claim(self, asked_at: float, interval_seconds: float) -> None:
        """Note that the queue had fewer jobs than were asked for, so it is not asked again at once.

        Workers that start together would poll in step, so the first pause has a random length, up
        to the interval. All later pauses are the interval, counted from poll to poll.

        Args:
            asked_at: When it was asked.
            interval_seconds: The poll interval.
        """
        pause = interval_seconds if self._polled else interval_seconds * random.random()  # noqa: S311
        self._polled = True
        self.next_poll = asked_at + pause

    def delay_seconds(self, attempt: int, strategy: RetryStrategy | None) -> float:
        """Return how long a job waits after a failed attempt, in seconds.

        Args:
            attempt: The attempt that failed.
            strategy: The worker's back-off, or None for the queue's own.

        Returns:
            The delay.
        """
        if strategy is not None:
            return strategy.get_delay_seconds(attempt)
        jitter = random.random()  # noqa: S311 - a jitter is no secret
        return backoff_ms(attempt, self.base_delay_ms, self.max_delay_ms, jitter) / 1000


def queue_weights(given: str | Mapping[str, int] | Iterable[str]) -> dict[str, int]:
    """Return the queues that a worker's ``queue_name`` stands for, and their weights.

    Args:
        given: One name, several, or a mapping of names to weights.

    Returns:
        The weight of each queue.

    Raises:
        InvalidInputError: A name or weight is not usable, or there is none.
    """
    if isinstance(given, str):
        return {check.queue_name("queue_name", given): 1}
    if isinstance(given, Mapping):
        weights = dict(given)
    else:
        names = check.several("queue_name", given)
        weights = {check.queue_name("queue_name", name): 1 for name in names}
    if not weights:
        raise InvalidInputError([Problem("queue_name", "empty", "name at least one queue")])
    for name, weight in weights.items():
        check.queue_name("queue_name", name)
        check.whole_number(f"queue_name[{name!r}]", weight, 1, MAX_WEIGHT)
    return weights


class Turns:
    """Which queue is asked first: each as often as its weight says, and none is left out.

    This is smooth weighted round-robin: each turn adds its weight to the credit of every queue. The
    queue with the most credit goes first, and pays the sum of all weights.

    Args:
        queues: The queues.
    """

    def __init__(self, queues: tuple[WorkedQueue, ...]) -> None:
        self._queues = queues

    def due(self, now: float | None = None) -> list[WorkedQueue]:
        """Return the queues that may be asked now, in the order of this turn.

        Args:
            now: The time on the clock of `time.monotonic`; by default now.

        Returns:
            Those whose next poll has come.
        """
        now = time.monotonic() if now is None else now
        return _in_turn([queue for queue in self._queues if queue.next_poll <= now])

    def all(self) -> list[WorkedQueue]:
        """Return all queues, due or not, in the order of this turn."""
        return _in_turn(list(self._queues))

    def next_due(self) -> float:
        """Return when the next queue may be asked, on the clock of `time.monotonic`."""
        return min(queue.next_poll for queue in self._queues)


def _in_turn(queues: list[WorkedQueue]) -> list[WorkedQueue]:
    if len(queues) > 1:
        for queue in queues:
            queue.credit += queue.weight
        queues.sort(key=lambda queue: queue.credit, reverse=True)
        queues[0].credit -= sum(queue.weight for queue in queues)
    return queues
