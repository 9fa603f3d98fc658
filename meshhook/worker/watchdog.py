"""The watchdog: notices that a handler blocks the event loop, and keeps the leases until it ends.

While jobs are in flight, a task in the loop beats, and a thread watches the beats. When they stop,
the thread logs which handler blocks the loop and where, and has the leases extended.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook.worker.blocked import (
    LOOKS_IN_A_THRESHOLD,
    Blocked,
    Pulse,
    Standing,
    Warned,
    threshold_seconds,
)
from meshhook.worker.standing import standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook.worker.in_flight import InFlight
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.reporter import Reporter
    from meshhook.worker.thread_lease import ThreadLeaseKeeper

log = logging.getLogger("meshhook.worker")

END_SECONDS = 2.0
"""How long the end of a run waits for the thread, which may wait for an answer itself, at most."""


@attrs.define(eq=False)
class Watchdog:
    """Watches over the event loop of one run, from a thread that ends with it.

    Args:
        queues: The queues; their shortest lease decides how soon the loop counts as blocked.
        in_flight: The jobs in flight; while there are none, nothing is watched.
        lease: Extends leases from the thread.
        reporter: Counts, logs and emits events.
    """

    _queues: Sequence[WorkedQueue]
    _in_flight: InFlight
    _lease: ThreadLeaseKeeper
    _reporter: Reporter
    _pulse: Pulse = attrs.field(factory=Pulse, init=False)
    _warned: Warned = attrs.field(factory=Warned, init=False)
    _armed: threading.Event = attrs.field(factory=threading.Event, init=False)
    _ended: threading.Event = attrs.field(factory=threading.Event, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _beat_at: float = attrs.field(default=0.0, init=False)
    _blocked: Blocked | None = attrs.field(default=None, init=False)
    _thread_id: int = attrs.field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)
    _has_failed: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        """Beat while jobs are in flight, until cancelled."""
        await self._in_flight.wait_filled()
        self._thread_id = threading.get_ident()
        self._loop = _asyncio_loop()
        thread = threading.Thread(target=self._watch, name="meshhook-watchdog", daemon=True)
        self._beat()
        thread.start()
        try:
            await self._keep_beating()
        finally:
            self._ended.set()
            self._armed.set()
            self._beat()
            await _end_of(thread)

    async def _keep_beating(self) -> None:
        while True:
            await self._in_flight.wait_filled()
            self._beat()
            self._armed.set()
            while len(self._in_flight):
                await anyio.sleep(self._period_seconds())
                self._beat()
            self._armed.clear()

    def _period_seconds(self) -> float:
        return self._threshold_seconds() / LOOKS_IN_A_THRESHOLD

    def _threshold_seconds(self) -> float:
        return threshold_seconds(min(queue.vt_seconds for queue in self._queues))

    def _beat(self) -> None:
        """Note that the loop runs, and report how long it was blocked."""
        with self._lock:
            self._beat_at = now = time.monotonic()
            blocked, self._blocked = self._blocked, None
        if blocked is not None:
            self._reporter.unblocked(blocked.until(now, 2 * self._period_seconds()))

    def _watch(self) -> None:
        """Check the beats until the run has ended; this is the thread."""
        while not self._ended.wait(self._period_seconds()) and not self._is_loop_closed():
            if self._armed.is_set():
                self._look_safely()
            else:
                self._lease.rest()
                self._armed.wait()
        self._lease.rest()

    def _look_safely(self) -> None:
        try:
            self._look()
        except Exception:  # noqa: BLE001 - a thread that dies would extend no lease
            self._note_failure()

    def _where(self) -> Standing | None:
        try:
            return standing(self._thread_id)
        except Exception:  # noqa: BLE001 - leases are extended without it
            self._note_failure()
            return None

    def _note_failure(self) -> None:
        level = logging.DEBUG if self._has_failed else logging.ERROR
        self._has_failed = True
        log.log(level, "watching the event loop failed, and goes on", exc_info=True)

    def _look(self) -> None:
        beat_at = self._beat_at
        seconds = self._pulse.look(time.monotonic(), beat_at, self._period_seconds())
        if seconds < self._threshold_seconds():
            self._lease.rest()
        elif self._loop is None or self._loop.is_running():
            where = self._where()
            self._lease.extend(None if where is None else where.delivery)
            self._pulse.was_busy(time.monotonic())
            if where is not None:
                self._note(where, beat_at)

    def _note(self, where: Standing, beat_at: float) -> None:
        """Remember that the loop is blocked, and warn if that is news."""
        with self._lock:
            if self._beat_at != beat_at:
                return  # the loop runs again
            seconds = self._pulse.seconds
            is_news = self._warned.is_news((where.function, where.place), seconds)
            is_logged = is_news or (self._blocked is not None and self._blocked.is_logged)
            self._blocked = blocked = Blocked(
                seconds=seconds, standing=where, seen_at=time.monotonic(), is_logged=is_logged
            )
        if is_news:
            self._reporter.blocked(blocked)

    def _is_loop_closed(self) -> bool:
        """Return whether the loop was closed while the worker was still in it."""
        return self._loop is not None and self._loop.is_closed()


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Return the asyncio loop that runs here; None on trio, which waits for all its tasks."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _end_of(thread: threading.Thread) -> None:
    with anyio.move_on_after(END_SECONDS, shield=True):
        while thread.is_alive():  # noqa: ASYNC110 - it ends in a moment, and may outlive the loop
            await anyio.sleep(0.001)
