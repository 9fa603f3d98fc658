"""What tests of the worker share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from supabase import AsyncClient

from meshhook import JobMessage, Worker, WorkerEvent

MakeWorker = Callable[..., Worker]

SETTLED = ("succeeded", "retried", "dead_lettered", "snoozed", "released")


async def do_nothing(_: JobMessage) -> None:
    """Handle a job, at once."""


class Events:
    """What workers did, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[WorkerEvent] = []
        self._news = anyio.Event()

    async def __call__(self, event: WorkerEvent) -> None:
        """Note an event."""
        self.all.append(event)
        self._news.set()

    def of(self, *kinds: str) -> list[WorkerEvent]:
        """Return the events of some kinds so far."""
        return [event for event in self.all if event.kind in kinds]

    def kinds(self) -> list[str]:
        """Return what happened, in order."""
        return [event.kind for event in self.all]

    async def wait(self, *kinds: str, times: int = 1) -> None:
        """Wait until so many events of some kinds have happened in all."""
        with anyio.fail_after(20):
            while len(self.of(*kinds)) < times:
                if self._news.is_set():
                    self._news = anyio.Event()
                await self._news.wait()

    async def wait_settled(self, times: int = 1) -> None:
        """Wait until so many attempts have come to an end that the database has confirmed."""
        await self.wait(*SETTLED, times=times)


@pytest.fixture
async def events() -> Events:
    """What the workers of the test do."""
    return Events()


def quick_worker(
    client: AsyncClient, handler: Any, queue_name: str, events: Events, **settings: Any
) -> Worker:
    """Make a worker that loses no time and reports its events."""
    defaults: dict[str, Any] = {
        "queue_name": queue_name,
        "poll_interval_ms": 20,
        "retry_config": {"base_delay_ms": 0, "max_delay_ms": 0, "max_attempts": 3},
        "on_event": events,
    }
    return Worker(client, handler, **{**defaults, **settings})


@pytest.fixture
def make_worker(client: AsyncClient, queue_name: str, events: Events) -> MakeWorker:
    """Make workers of the test's queue that lose no time."""

    def make(handler: Any, **settings: Any) -> Worker:
        return quick_worker(
            client, handler, **{"queue_name": queue_name, **settings}, events=events
        )

    return make
