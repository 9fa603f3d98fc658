"""What happens in a worker, told to a hook of the user's."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import anyio
import attrs

from meshhook.worker.handler import is_async

if TYPE_CHECKING:
    from meshhook.worker.threads import HandlerThreads

__all__ = ["EventHook", "EventKind", "WorkerEvent"]

log = logging.getLogger("meshhook.worker")

HOOK_SECONDS = 5.0
"""How long a hook may take for one event."""

FLUSH_SECONDS = 2.0
"""How long a stop waits for the hook to have seen all events."""

MAX_WAITING = 10_000
"""How many events may wait for a slow hook; what comes then is dropped."""

MAX_HANGS = 3
"""How often in a row a hook may take too long before it is asked no more."""

EventKind = Literal[
    "claimed",
    "started",
    "succeeded",
    "failed",
    "retried",
    "dead_lettered",
    "snoozed",
    "released",
    "lost",
    "given_up",
    "outage",
    "recovered",
    "blocked",
    "paused",
    "resumed",
    "worker_started",
    "worker_stopping",
    "worker_stopped",
]


@attrs.frozen(kw_only=True)
class WorkerEvent:
    """Something that happened in a worker.

    A failed attempt is told twice: as ``failed``, and as what came of it, ``retried`` or
    ``dead_lettered``. What the database has to confirm is told when it has. ``blocked`` comes when
    an event loop that was blocked moves again.

    Attributes:
        kind: What happened.
        worker: The worker's name.
        at: When it happened here.
        queue_name: The job's queue; None for what is not about a job.
        msg_id: The job's id.
        run_id: The job's run.
        attempt: Which attempt it was.
        seconds: How long the handler took, the outage lasted, or the event loop was blocked, in
            seconds.
        error_type: The class of the error.
        error_message: What the error said, or what blocked the event loop.
    """

    kind: EventKind
    worker: str
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    queue_name: str | None = None
    msg_id: int | None = None
    run_id: str | None = None
    attempt: int | None = None
    seconds: float | None = None
    error_type: str | None = None
    error_message: str | None = None


Hook = Callable[[WorkerEvent], None] | Callable[[WorkerEvent], Awaitable[None]]


class EventHook:
    """Calls the user's hook with one event after the other, beside the work and never in its way.

    An ``async def`` hook runs in the event loop, a plain one in a thread. One that raises is
    logged; one that takes too long for an event is left behind, and switched off if it does so
    again and again.

    Args:
        hook: The hook, or None for none, at no cost.
        threads: Where a plain hook runs.
    """

    def __init__(self, hook: Hook | None, threads: HandlerThreads) -> None:
        self._hook = hook
        self._threads = threads
        self._is_async = hook is not None and is_async(hook)
        self._waiting: deque[WorkerEvent] = deque()
        self._dropped = 0
        self._hangs = 0
        self._arrived = anyio.Event()
        self._told = anyio.Event()
        self._busy = False

    @property
    def is_set(self) -> bool:
        """Whether there is anybody to tell."""
        return self._hook is not None

    def emit(self, event: WorkerEvent) -> None:
        """Have the hook told; returns at once."""
        if self._hook is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            if self._dropped == 1:
                log.warning("on_event is too slow: events are dropped")
            return
        self._waiting.append(event)
        self._arrived.set()

    async def run(self) -> None:
        """Tell the hook what comes, for ever."""
        while True:
            while self._waiting:
                self._busy = True
                await self._tell(self._waiting.popleft())
                self._busy = False
                self._told.set()
            self._arrived = anyio.Event()
            await self._arrived.wait()

    async def flush(self) -> None:
        """Wait, for a limited time, until the hook has been told everything."""
        with anyio.move_on_after(FLUSH_SECONDS):
            while self._waiting or self._busy:
                self._told = anyio.Event()
                await self._told.wait()

    async def _tell(self, event: WorkerEvent) -> None:
        with anyio.move_on_after(HOOK_SECONDS) as scope:
            try:
                await self._call(event)
            except Exception:
                log.exception("on_event raised for %s", event.kind)
        if not scope.cancelled_caught:
            self._hangs = 0
            return
        self._hangs += 1
        log.error("on_event took more than %g seconds for %s", HOOK_SECONDS, event.kind)
        if self._hangs >= MAX_HANGS:
            log.error("on_event is asked no more: it took too long %d times in a row", MAX_HANGS)
            self._hook = None
            self._waiting.clear()

    async def _call(self, event: WorkerEvent) -> None:
        hook = self._hook
        if hook is None:
            return
        if self._is_async:
            result: object = hook(event)
        else:
            result = await self._threads.run(lambda: hook(event), lambda: None)
        if inspect.isawaitable(result):
            await result
