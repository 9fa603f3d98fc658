"""The jobs in flight: claimed by this worker, and neither settled nor lost yet."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.models import Job
    from meshhook.worker.queues import WorkedQueue

Key = tuple[str, int]

MAX_BYTES = 64 * 1024 * 1024
"""While the messages in flight are larger than this together, no more jobs are claimed."""


@attrs.define(eq=False)
class InFlightJob:
    """One delivery of a job, from its claim until it is settled.

    Attributes:
        job: The job as it was claimed.
        queue: Its queue.
        lease_ends: The earliest time at which the lease can end, on the clock of `time.monotonic`.
        size: About how large its message is, in bytes.
        scope: What cancels its handler, while that runs.
        deadline: When its handler's time is up, on the same clock.
        begun_at: When its handler started, on the same clock; None if it has not.
        settling: Whether its outcome has been sent, so that a missing row may be our own work.
        successor: The next delivery of the same job, claimed while this one's outcome was being
            sent. See `Settler`.
        lost: Whether its lease is lost: ended, or another worker has the job.
        released: Whether the worker is stopping and hands the job back.
    """

    job: Job
    queue: WorkedQueue
    lease_ends: float
    size: float = 0.0
    scope: anyio.CancelScope | None = None
    deadline: float | None = None
    begun_at: float | None = None
    settling: bool = False
    successor: InFlightJob | None = None
    lost: bool = False
    released: bool = False

    @property
    def key(self) -> Key:
        """The queue and the id of the job."""
        return self.job.queue_name, self.job.msg_id

    def renew(self, job: Job, lease_ends: float) -> bool:
        """Continue under a newer receipt, because this worker itself claimed the job again.

        That happens when the lease ended unnoticed, while the process was frozen or its event loop
        blocked. A read count that grew by one means that no other worker has read the job in
        between, so the handler that works on it may finish.

        Args:
            job: The job as it was claimed again.
            lease_ends: When the new lease ends.

        Returns:
            False if that is not possible: another worker had the job, or its handler has been
            cancelled.
        """
        if self.lost or self.released or job.read_ct != self.job.read_ct + 1:
            return False
        self.job = attrs.evolve(self.job, read_ct=job.read_ct, attempt=job.attempt, vt=job.vt)
        self.lease_ends = lease_ends
        return True

    def extended(self, lease_ends: float) -> None:
        """Note that the lease was extended; an answer that was read late changes nothing."""
        self.lease_ends = max(self.lease_ends, lease_ends)

    def lose(self) -> None:
        """Note that the lease is lost, and cancel the handler."""
        self.lost = True
        self._cancel()

    def release(self) -> None:
        """Note that the job is handed back, and cancel the handler: the worker stops."""
        self.released = True
        self._cancel()

    def _cancel(self) -> None:
        if self.scope is not None:
            self.scope.cancel()

    def lease_has_ended(self) -> bool:
        """Return whether the lease has ended, as far as is known here."""
        return time.monotonic() >= self.lease_ends


@attrs.define(eq=False)
class InFlight:
    """All jobs in flight of a worker, and how many more it can take.

    Attributes:
        capacity: How many jobs may wait for a handler or be in one at once.
        asked_for: How many jobs have been asked for in claims that are not answered yet.
        in_threads: The jobs whose plain handlers run. Nothing can stop a thread, so a job may be
            here after it was lost or has timed out.
    """

    capacity: int
    asked_for: int = attrs.field(default=0, init=False)
    in_threads: set[Key] = attrs.field(factory=set, init=False)
    _jobs: dict[Key, InFlightJob] = attrs.field(factory=dict, init=False)
    _bytes: float = attrs.field(default=0.0, init=False)
    _unhandled: int = attrs.field(default=0, init=False)
    _changed: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def __iter__(self) -> Iterator[InFlightJob]:
        """Iterate over the deliveries in flight now, successors included."""
        for delivery in tuple(self._jobs.values()):
            yield delivery
            if delivery.successor is not None:
                yield delivery.successor

    def snapshot(self) -> list[InFlightJob]:
        """Return the deliveries in flight now; safe in any thread."""
        deliveries = list(self._jobs.copy().values())
        successors = [delivery.successor for delivery in deliveries]
        return deliveries + [delivery for delivery in successors if delivery is not None]

    def __len__(self) -> int:
        """Count the jobs in flight, including those that are being settled."""
        return len(self._jobs)

    def get(self, job: Job) -> InFlightJob | None:
        """Return the delivery in flight of a job, or None."""
        return self._jobs.get((job.queue_name, job.msg_id))

    @property
    def free(self) -> int:
        """How many more jobs may be claimed; 0 while those in flight take up much memory."""
        room = self.capacity - self._unhandled - self.asked_for
        return max(0, room) if self._bytes < MAX_BYTES else 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in flight, and no claim is under way that may bring jobs."""
        return not self._jobs and not self.asked_for

    @contextmanager
    def reserved(self, room: int) -> Iterator[None]:
        """Keep room for jobs while they are asked for."""
        self.asked_for += room
        try:
            yield
        finally:
            self.asked_for -= room
            self._changed.set()

    def take(self, delivery: InFlightJob) -> None:
        """Add a claimed job."""
        self._jobs[delivery.key] = delivery
        self._bytes += delivery.size
        self._unhandled += 1
        self._changed.set()

    def handled(self) -> None:
        """Note that a job has left its handler, or will not get one: there is room for another."""
        self._unhandled -= 1
        self._changed.set()

    def drop(self, delivery: InFlightJob) -> None:
        """Remove a job that is settled or lost."""
        if self._jobs.get(delivery.key) is delivery:
            del self._jobs[delivery.key]
            self._bytes = self._bytes - delivery.size if self._jobs else 0.0
            self._changed.set()

    async def wait_change(self) -> None:
        """Wait until a job is added, leaves its handler, or is removed."""
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()

    async def wait_free(self) -> None:
        """Wait until there is room for a job."""
        while not self.free:
            await self.wait_change()

    async def wait_empty(self) -> None:
        """Wait until every job is settled or lost, and every claim answered."""
        while not self.is_empty:
            await self.wait_change()

    async def wait_filled(self) -> None:
        """Wait until there is a job in flight."""
        while not self._jobs:
            await self.wait_change()
