"""The queues that are measured beside each other.

Each module offers one `Contender`: how its queue is made and filled, and the tasks that drain it
and that enqueue. Tasks run in processes of their own; what a peer needs is imported there alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from benchmarks.processes import Task
    from benchmarks.target import Space

Arguments = dict[str, Any]
"""What a contender's tasks have to know, as JSON knows it."""


class Fill(Protocol):
    """What puts jobs in a contender's queue, not measured."""

    def __call__(self, space: Space, arguments: Arguments, jobs: int) -> None:
        """Put so many jobs in the queue."""


@attrs.frozen(kw_only=True, eq=False)
class Contender:
    """A queue, set up for speed as its own documentation recommends.

    Attributes:
        name: What it is called in tables.
        how: Its settings.
        arena: Makes its queue and yields what its tasks have to know.
        fill: Puts jobs in that queue.
        drain: The task ``drain(gate, jobs, **arguments)``: works on no-op jobs until the queue is
            empty and everything is settled; returns the seconds that took.
        enqueue: The task ``enqueue(gate, jobs, batch, **arguments)``: enqueues in batches; returns
            the seconds that took.
        options: Further arguments of ``drain``.
        share: How many of the jobs of a measurement it gets. The slow ones get fewer, or nobody
            would see the end of it.
        obstacle: Tells why it cannot run in a target, None if it can.
    """

    name: str
    how: str
    arena: Callable[[Space], AbstractContextManager[Arguments]]
    fill: Fill
    drain: Task
    enqueue: Task
    options: Mapping[str, Any] = attrs.field(factory=dict)
    share: float = 1.0
    obstacle: Callable[[Space], str | None] = lambda _space: None


@attrs.frozen
class Field:
    """The contenders of a measurement.

    Attributes:
        running: Those that can run in its target.
        left_out: For each of the others, a line that says why it cannot.
    """

    running: tuple[Contender, ...]
    left_out: tuple[str, ...]


def field(space: Space, contenders: Iterable[Contender]) -> Field:
    """Find out which contenders can run in a target.

    Args:
        space: The target.
        contenders: All of them.

    Returns:
        Those that can, and why the others cannot.
    """
    obstacles = {each: each.obstacle(space) for each in contenders}
    return Field(
        tuple(each for each, why in obstacles.items() if why is None),
        tuple(f"{each.name}: left out, {why}" for each, why in obstacles.items() if why),
    )
