"""The queues that are measured beside each other.

Each module offers one `Contender`: how its queue is made and filled, and the tasks that drain it
and that enqueue. Tasks run in processes of their own; what a peer needs is imported there alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from benchmarks.processes import Task
    from benchmarks.target import Space

Arguments = dict[str, Any]
"""What a contender's tasks have to know, as JSON knows it."""


class Fill(Protocol):
    """What puts jobs in a contender's queue, not measured."""

    def __call__(self, space: Space, arguments: Arguments, jobs: int) -> None:
        """Put so many jobs in the queue."""


@attrs.frozen(kw_only=True)
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
    """

    name: str
    how: str
    arena: Callable[[Space], AbstractContextManager[Arguments]]
    fill: Fill
    drain: Task
    enqueue: Task
    options: Mapping[str, Any] = attrs.field(factory=dict)
    share: float = 1.0
