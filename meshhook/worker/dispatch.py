"""The dispatcher: runs the handlers of claimed jobs, up to *concurrency* at once."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import attrs

from meshhook.worker.execute import outcome

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from meshhook.worker.execute import Executor
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter
    from meshhook.worker.settle import Settler

SLICE_SECONDS = 0.005
"""How often a task lets others run: handlers that never wait would stop the event loop."""

STILL_RUNNING_SECONDS = 5.0
"""For how long a job is put off while its earlier attempt still runs here."""


@attrs.define(eq=False)
class Dispatcher:
    """Runs jobs in a varying number of tasks.

    A task takes one job after another, and ends when none is left. Another task starts only when
    all the others wait for something. So a thousand jobs whose handlers never wait need one task,
    not a thousand.

    Args:
        concurrency: How many handlers may run at once.
        executor: Runs the handler.
        settler: Gets the outcomes.
        in_flight: The jobs in flight.
        reporter: Counts, logs and emits events.
    """

    _concurrency: int
    _executor: Executor
    _settler: Settler
    _in_flight: InFlight
    _reporter: Reporter
    _waiting: deque[InFlightJob] = attrs.field(factory=deque, init=False)
    _arrived: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _running: set[InFlightJob] = attrs.field(factory=set, init=False)
    _is_closed: bool = attrs.field(default=False, init=False)
    _tasks: int = attrs.field(default=0, init=False)
    _idle: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._idle.set()

    def pass_on(self, delivery: InFlightJob) -> None:
        """Take a claimed job; never blocks."""
        self._reporter.claimed(delivery)
        if (
            self._in_flight.get(delivery.job) is not None
            or delivery.key in self._in_flight.in_threads
        ):
            # An earlier attempt still runs here: a handler that has been cancelled and cleans up,
            # or a thread, which nothing can stop. Two attempts at once could undo each other.
            self._settler.submit(
                delivery, outcome(delivery, "release", delay_seconds=STILL_RUNNING_SECONDS)
            )
            return
        self._in_flight.take(delivery)
        self._waiting.append(delivery)
        self._arrived.set()

    async def run(self) -> None:
        """Start tasks for the jobs that come, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                more = 1
                while wanted := min(self._startable(), self._concurrency - self._tasks, more):
                    for _ in range(wanted):
                        self._start_task(tasks)
                    # The new tasks run until their handlers wait for something. Only then does
                    # this one see whether more are needed; it goes on in larger steps.
                    await anyio.lowlevel.checkpoint()
                    more *= 2

    def close(self) -> None:
        """Start no more handlers."""
        self._is_closed = True

    def release_waiting(self, keep: int = 0) -> None:
        """Hand back the jobs that wait for a handler, except the first *keep*."""
        for delivery in list(islice(self._waiting, keep, None)):
            self._waiting.pop()
            self._in_flight.handled()
            if delivery.lost:
                self._in_flight.drop(delivery)
            else:
                self._settler.submit(delivery, outcome(delivery, "release"))

    def longest_wait(self) -> float:
        """Return how long the first waiting job has waited for a handler, in seconds."""
        return time.monotonic() - self._waiting[0].job._claimed if self._waiting else 0.0  # noqa: SLF001 - ours

    def release_running(self) -> None:
        """Cancel the handlers that still run; their jobs are handed back."""
        for delivery in tuple(self._running):
            delivery.release()

    def running(self) -> list[InFlightJob]:
        """Return the jobs whose handlers still run."""
        return list(self._running)

    async def wait_idle(self) -> None:
        """Wait until no handler runs any more."""
        await self._idle.wait()

    def _startable(self) -> int:
        return 0 if self._is_closed else len(self._waiting)

    def _start_task(self, tasks: TaskGroup) -> None:
        self._tasks += 1
        if self._idle.is_set():
            self._idle = anyio.Event()
        tasks.start_soon(self._work, name="meshhook job")

    async def _work(self) -> None:
        try:
            slice_ends = time.monotonic() + SLICE_SECONDS
            while self._startable():
                await self._work_on(self._waiting.popleft())
                if time.monotonic() > slice_ends:
                    await anyio.lowlevel.checkpoint()
                    slice_ends = time.monotonic() + SLICE_SECONDS
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._idle.set()
            elif self._waiting:
                self._arrived.set()

    async def _work_on(self, delivery: InFlightJob) -> None:
        if delivery.lost:
            self._in_flight.handled()
            self._in_flight.drop(delivery)
            return
        self._running.add(delivery)
        self._reporter.started(delivery)
        try:
            result = await self._executor.run(delivery)
        finally:
            self._running.discard(delivery)
            self._reporter.ended()
            self._in_flight.handled()
        if result is None:
            self._in_flight.drop(delivery)
        else:
            self._settler.submit(delivery, result)
