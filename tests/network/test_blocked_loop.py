"""Handlers that block the event loop of their own worker, as `time.sleep` and `requests` do.

Such a worker runs in a thread, in a loop of its own, and blocks it until the test lets it go on.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from meshhook import JobMessage, SyncQueueService, Worker, WorkerEvent, connect, connect_sync
from meshhook.local import LocalStack
from meshhook.serverless import DrainReport, drain_sync
from meshhook.worker import drain
from tests.jobs import job_data
from tests.network import faults
from tests.network.conftest import Net
from tests.network.proxy import Proxy
from tests.worker.conftest import Events, do_nothing

# Long enough for an extension to come in time on a machine that is busy with other things.
LEASE_SECONDS = 2.4

PATIENCE_SECONDS = 60.0


class Handler:
    """A handler that blocks its event loop until it may go on.

    Attributes:
        attempts: The attempt of each run.
        blocks: Set when it does.
        may_go_on: What the test sets.
    """

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.blocks = threading.Event()
        self.may_go_on = threading.Event()

    async def make_thumbnail(self, message: JobMessage) -> None:
        """Note the run, and block."""
        self.attempts.append(message.attempt)
        self.blocks.set()
        assert self.may_go_on.wait(PATIENCE_SECONDS)


class Warnings(logging.Handler):
    """What the worker warned of, from any thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.of_a_blocked_loop = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts.append(record.getMessage())
        if "has been blocked" in record.getMessage():
            self.of_a_blocked_loop.set()

    def about(self, text: str) -> list[str]:
        """Return those with a text."""
        return [said for said in self.texts if text in said]


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    """What workers warn of during the test."""
    kept = Warnings()
    logging.getLogger("meshhook.worker").addHandler(kept)
    yield kept
    logging.getLogger("meshhook.worker").removeHandler(kept)


@pytest.fixture
def handler() -> Iterator[Handler]:
    """A handler that blocks, and does so no longer when the test is over."""
    handler = Handler()
    yield handler
    handler.may_go_on.set()


async def set_in_thread(event: threading.Event) -> None:
    """Wait until an event of a thread is set."""
    assert await anyio.to_thread.run_sync(event.wait, PATIENCE_SECONDS)


@asynccontextmanager
async def in_a_loop_of_its_own(
    main: Callable[[], Awaitable[Any]], backend: str
) -> AsyncIterator[list[Any]]:
    """Run something in a thread next to the block, and wait for what it returns at the end."""
    result: list[Any] = []

    async def run() -> None:
        result.append(
            await anyio.to_thread.run_sync(functools.partial(anyio.run, main, backend=backend))
        )

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        yield result


@pytest.fixture
def works(
    proxy: Proxy, stack: LocalStack, queue_name: str, handler: Handler
) -> Callable[..., Callable[[], Awaitable[list[WorkerEvent]]]]:
    """Make a worker that runs until so many jobs have succeeded or were lost; gives its events."""

    async def main(jobs: int, settings: dict[str, Any]) -> list[WorkerEvent]:
        events = Events()
        defaults = {"visibility_timeout_seconds": LEASE_SECONDS, "on_event": events}
        async with (
            connect(proxy.url, stack.secret_key) as client,
            Worker(client, handler.make_thumbnail, queue_name, **{**defaults, **settings}),
        ):
            with anyio.fail_after(PATIENCE_SECONDS):
                await events.wait("succeeded", "lost", times=jobs)
        return events.all

    return lambda jobs, **settings: functools.partial(main, jobs, settings)


def kinds(events: list[WorkerEvent], kind: str) -> list[WorkerEvent]:
    return [event for event in events if event.kind == kind]


async def test_jobs_of_a_blocked_loop_run_once_and_the_handler_is_named(
    net: Net, works: Any, handler: Handler, warnings: Warnings, anyio_backend_name: str
) -> None:
    batch = [job_data() for _ in range(3)]
    first, *_ = net.queue.enqueue_many(batch).msg_ids
    others: list[str] = []

    async def other_handler(message: JobMessage) -> None:
        others.append(message.run_id)

    blocked = works(
        jobs=3,
        concurrency=2,
        prefetch=1,
    )
    async with in_a_loop_of_its_own(blocked, anyio_backend_name) as result:
        await set_in_thread(handler.blocks)
        async with net.make_worker(other_handler):
            # Four thirds of the visibility timeout, and all the time another worker asks for jobs.
            await net.proxy.wait_forwarded("meshhook_extend", 4)
        handler.may_go_on.set()
    (events,) = result

    assert (others, handler.attempts) == ([], [1, 1, 1])
    assert len(kinds(events, "succeeded")) == 3
    assert kinds(events, "lost") == []
    assert warnings.about("lost the lease") == []
    records = [record for data in batch for record in net.queue.find_jobs(data["run_id"])]
    assert [(record.state, record.attempts) for record in records] == [("completed", ())] * 3
    line = Handler.make_thumbnail.__code__.co_firstlineno + 4
    culprit = f"the handler Handler.make_thumbnail at {__file__}:{line}, with job "
    warning, *more = warnings.about("the event loop has been blocked")
    assert culprit in warning
    assert warning.endswith("use a plain def, which runs in a thread, or await an async library")
    assert len(more) <= 6
    (summary, *_) = warnings.about("the event loop moves again")
    assert culprit in summary
    event, *_ = kinds(events, "blocked")
    assert (event.queue_name, event.attempt) == (net.queue.queue_name, 1)
    assert event.msg_id in {first, first + 1, first + 2}
    assert event.seconds is not None
    assert event.seconds > LEASE_SECONDS


async def drains(url: str, key: str, **options: Any) -> DrainReport:
    async with connect(url, key) as client:
        return await drain(client, **options)


def drains_sync(url: str, key: str, **options: Any) -> DrainReport:
    with connect_sync(url, key) as client:
        return drain_sync(client, **options)


@pytest.mark.parametrize("kind", ["drain", "drain_sync"])
async def test_a_drain_keeps_its_jobs_too_and_leaves_no_thread(
    proxy: Proxy,
    stack: LocalStack,
    safe_queue: SyncQueueService,
    handler: Handler,
    anyio_backend_name: str,
    kind: str,
) -> None:
    safe_queue.enqueue(job_data())
    options: dict[str, Any] = {
        "handler": handler.make_thumbnail,
        "queue_name": safe_queue.queue_name,
        "visibility_timeout_seconds": LEASE_SECONDS,
        "deadline_seconds": PATIENCE_SECONDS,
    }
    reports: list[DrainReport] = []

    def work() -> None:
        if kind == "drain_sync":
            reports.append(drains_sync(proxy.url, stack.secret_key, **options))
        else:
            main = functools.partial(drains, proxy.url, stack.secret_key, **options)
            reports.append(anyio.run(main, backend=anyio_backend_name))

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, work)
        await set_in_thread(handler.blocks)
        # The loop has been blocked since before the first of them, so they are the thread's.
        await proxy.wait_forwarded("meshhook_extend", 2)
        handler.may_go_on.set()

    (report,) = reports
    assert (report.succeeded, report.lost) == (1, 0)
    names = [thread.name for thread in threading.enumerate()]
    assert "meshhook-watchdog" not in names


async def test_extensions_that_fail_are_logged_once_and_tried_again(
    proxy: Proxy,
    works: Any,
    safe_queue: SyncQueueService,
    handler: Handler,
    warnings: Warnings,
    anyio_backend_name: str,
) -> None:
    safe_queue.enqueue(job_data())
    proxy.lay(faults.answer(503), "meshhook_extend", times=2)
    blocked = works(jobs=1)

    async with in_a_loop_of_its_own(blocked, anyio_backend_name) as result:
        await proxy.wait_forwarded("meshhook_extend")
        handler.may_go_on.set()
    (events,) = result

    assert len(kinds(events, "succeeded")) == 1
    assert kinds(events, "outage") == []
    (warning,) = warnings.about("could not extend the leases")
    assert f"in {safe_queue.queue_name} while the event loop is blocked" in warning


async def test_a_job_is_not_kept_without_end_by_a_handler_whose_time_was_up_long_ago(
    net: Net, works: Any, handler: Handler, warnings: Warnings, anyio_backend_name: str
) -> None:
    first, second = net.queue.enqueue_many([job_data(), job_data()]).msg_ids
    blocked = works(
        jobs=2,
        concurrency=1,
        prefetch=1,
        visibility_timeout_seconds=1.2,
        job_timeout_seconds=0.1,
    )

    async with in_a_loop_of_its_own(blocked, anyio_backend_name) as result:
        await set_in_thread(handler.blocks)
        async with net.make_worker(do_nothing):
            # Both: the second one has no better prospects behind a handler that does not end.
            await net.events.wait("succeeded", times=2)
        handler.may_go_on.set()
    (lost,) = result

    assert {event.msg_id for event in kinds(lost, "lost")} == {first, second}
    (warning,) = warnings.about("extended no longer")
    assert f"the lease of job {first} in {net.queue.queue_name}, and of 1 more," in warning


async def test_what_blocks_the_loop_outside_of_a_handler_is_no_handlers_fault(
    proxy: Proxy,
    stack: LocalStack,
    safe_queue: SyncQueueService,
    warnings: Warnings,
    anyio_backend_name: str,
) -> None:
    safe_queue.enqueue(job_data())
    seen: list[WorkerEvent] = []

    async def main() -> None:
        begun, may_end = anyio.Event(), anyio.Event()
        events = Events()

        async def innocent_handler(_: JobMessage) -> None:
            begun.set()
            await may_end.wait()

        async with (
            connect(proxy.url, stack.secret_key) as client,
            Worker(
                client,
                innocent_handler,
                safe_queue.queue_name,
                visibility_timeout_seconds=LEASE_SECONDS,
                on_event=events,
            ),
        ):
            await begun.wait()
            block_in_the_users_own_code(warnings)
            may_end.set()
            await events.wait("succeeded")
        seen.extend(events.of("blocked"))

    async with in_a_loop_of_its_own(main, anyio_backend_name):
        pass

    warning, *_ = warnings.about("the event loop has been blocked")
    place = f"{__file__}:{block_in_the_users_own_code.__code__.co_firstlineno + 2}"
    assert f"by block_in_the_users_own_code at {place}, which is no handler" in warning
    assert warnings.about("the handler") == []
    assert [event.msg_id for event in seen] == [None]


def block_in_the_users_own_code(warnings: Warnings) -> None:
    """Do what a request's handler in the same process might do."""
    assert warnings.of_a_blocked_loop.wait(PATIENCE_SECONDS)
