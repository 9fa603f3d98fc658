"""The queues that are compared.

Each module has one `Contender`: how to create and fill its queue, and the tasks that drain it and
that enqueue. Tasks run in separate processes; only these import the packages of a peer.
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
"""The arguments of a contender's tasks, as JSON values."""


class Fill(Protocol):
    """Puts jobs in a contender's queue; not measured."""

    def __call__(self, space: Space, arguments: Arguments, jobs: int) -> None:
        """Put this many jobs in the queue."""


@attrs.frozen(kw_only=True, eq=False)
class Contender:
    """A queue, set up for speed as its own documentation recommends.

    Attributes:
        name: Its name in tables.
        how: Its settings.
        arena: Creates its queue and yields the arguments of its tasks.
        fill: Puts jobs in that queue.
        drain: The task ``drain(gate, jobs, **arguments)``: works on no-op jobs until the queue is
            empty and everything is settled; returns the seconds.
        enqueue: The task ``enqueue(gate, jobs, batch, **arguments)``: enqueues in batches; returns
            the seconds.
        options: Further arguments of ``drain``.
        share: The share of a measurement's jobs that it gets. Slow contenders get fewer, so that
            the measurement ends in a reasonable time.
        obstacle: Returns why it cannot run in a target, or None if it can.
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
        running: The contenders that can run in its target.
        left_out: For each of the others, a line with the reason.
    """

    running: tuple[Contender, ...]
    left_out: tuple[str, ...]


def field(space: Space, contenders: Iterable[Contender]) -> Field:
    """Find out which contenders can run in a target.

    Args:
        space: The target.
        contenders: All of them.

    Returns:
        The contenders that can run, and why the others cannot.
    """
    obstacles = {each: each.obstacle(space) for each in contenders}
    return Field(
        tuple(each for each, why in obstacles.items() if why is None),
        tuple(f"{each.name}: left out, {why}" for each, why in obstacles.items() if why),
    )
