"""Where a thread stands, read from its stack, and what a watchdog makes of a loop that is left."""

from __future__ import annotations

import asyncio
import functools
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from meshhook import create_job_handler
from meshhook.worker.blocked import Standing
from meshhook.worker.execute import Executor
from meshhook.worker.in_flight import InFlight
from meshhook.worker.queues import WorkedQueue
from meshhook.worker.standing import standing
from meshhook.worker.watchdog import Watchdog

DELIVERY: Any = SimpleNamespace(job=SimpleNamespace(message={}))
SOURCE = """
async def make(blocks, may_go_on, message):
    blocks.set()
    may_go_on.wait(60)
"""


def run_handler(function: Any) -> None:
    """Call a handler as the worker does, up to where it waits for something."""
    settings = SimpleNamespace(handler=create_job_handler(function))
    executor: Any = SimpleNamespace(settings=settings)
    with pytest.raises(StopIteration):
        Executor._call_handler(executor, DELIVERY).send(None)


@contextmanager
def blocked(run: Callable[[threading.Event, threading.Event], None]) -> Iterator[int]:
    """Run something in a thread that blocks there while the block runs; yield the thread."""
    blocks, may_go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(blocks, may_go_on))
    thread.start()
    assert blocks.wait(60)
    yield thread.ident or 0
    may_go_on.set()
    thread.join()


@pytest.mark.parametrize(
    "file",
    [
        "/app/handlers.py",
        "/usr/lib/python3/dist-packages/shop/handlers.py",
        "/usr/lib/python3/dist-packages/handlers.py",
        "<stdin>",
    ],
)
def test_a_handler_is_named_with_its_own_line_wherever_it_is_installed(file: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(SOURCE, file, "exec"), names)

    with blocked(lambda *events: run_handler(functools.partial(names["make"], *events))) as thread:
        found = until_it_waits(thread, f"{file}:4")

    assert found == Standing(f"{file}:4", "make", DELIVERY)


def until_it_waits(thread: int, place: str) -> Standing | None:
    """Look until the thread has come from its announcement to where it waits."""
    while (found := standing(thread)) is not None and found.place != place:
        pass
    return found


def test_a_loop_that_waits_for_events_is_not_blocked() -> None:
    ours, theirs = socket.socketpair()

    def wait(blocks: threading.Event, _: threading.Event) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(theirs, selectors.EVENT_READ)
            blocks.set()
            selector.select()

    with ours, theirs, blocked(wait) as thread:
        while (found := standing(thread)) is not None:
            assert found.delivery is None
        ours.send(b"x")


def test_a_thread_that_is_gone_stands_nowhere() -> None:
    assert standing(0) is None


class Extensions:
    """What a watchdog asks of those who extend leases."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def extend(self, _: object) -> None:
        """Note that leases should be extended."""
        self.asked.append("extend")

    def rest(self) -> None:
        """Note that they need not be."""
        self.asked.append("rest")


@pytest.mark.parametrize("state", ["left", "closed"])
def test_leases_are_not_extended_for_a_loop_that_nobody_runs(state: str) -> None:
    loop = asyncio.new_event_loop()
    extensions: Any = Extensions()
    reporter: Any = None
    watchdog = Watchdog((WorkedQueue("orders", vt_seconds=0.3),), InFlight(1), extensions, reporter)
    watchdog._loop = loop
    if state == "closed":
        loop.close()
        watchdog._armed.set()
        watchdog._watch()  # comes to an end by itself
    else:
        for _ in range(100):
            watchdog._pulse.look(watchdog._pulse._looked_at + 1.0, 0.0, 1.0)
        watchdog._look()
        loop.close()

    assert extensions.asked == (["rest"] if state == "closed" else [])
