"""P1, P3 and P7 when the database itself goes away, or ends a connection amid a call."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import anyio
import anyio.to_thread
import pytest
from supabase import AsyncClient, Client

from meshhook import JobMessage, QueueService, SyncQueueService
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.network import faults
from tests.network.blocked import locked
from tests.network.conftest import Net, Pauses


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A stack of this module's own, because its database goes away."""
    with LocalStack() as stack:
        yield stack


@pytest.fixture
def queue_name(direct_client: Client) -> str:
    """A queue of the test's own; it goes away with the stack."""
    queue = SyncQueueService(direct_client, f"t_{uuid.uuid4().hex[:12]}")
    queue.create_queue()
    return queue.queue_name


@pytest.mark.parametrize("end", [LocalStack.stop_database, LocalStack.kill_database])
async def test_a_worker_lives_through_a_restart_of_the_database_and_every_job_runs_once(
    net: Net, stack: LocalStack, pauses: Pauses, end: Callable[[LocalStack], None]
) -> None:
    jobs = [job_data() for _ in range(200)]
    runs: Counter[str] = Counter()
    net.queue.enqueue_many(jobs)

    async def handler(message: JobMessage) -> None:
        runs[message.run_id] += 1
        await anyio.lowlevel.checkpoint()

    async with net.make_worker(handler, concurrency=5, grace_seconds=5) as worker:
        await net.events.wait("succeeded", times=20)
        await anyio.to_thread.run_sync(end, stack)
        await net.events.wait("outage")
        await pauses.wait(3)
        await anyio.to_thread.run_sync(stack.start_database)
        await net.events.wait("recovered")
        await net.events.wait("succeeded", times=200)

    assert runs == Counter(job["run_id"] for job in jobs)
    assert (worker.get_stats().lost, worker.get_stats().failed) == (0, 0)
    assert net.queue.get_queue_metrics().queue_length == 0


@pytest.mark.usefixtures("pauses")
async def test_a_worker_lives_through_a_restart_of_the_gateway_and_every_job_runs_once(
    net: Net, stack: LocalStack
) -> None:
    jobs = [job_data() for _ in range(200)]
    runs: Counter[str] = Counter()
    net.queue.enqueue_many(jobs)

    async def handler(message: JobMessage) -> None:
        runs[message.run_id] += 1

    async with net.make_worker(handler, concurrency=5):
        await net.events.wait("succeeded", times=20)
        await anyio.to_thread.run_sync(stack.restart_gateway)
        await net.events.wait("succeeded", times=200)

    assert runs == Counter(job["run_id"] for job in jobs)
    assert net.events.of("lost", "failed") == []


def terminate_blocked(stack: LocalStack, table: str, then: Callable[[], None]) -> str:
    """Lock a table, end the first connection that waits for it, and let go.

    Args:
        stack: The stack.
        table: The table, in the schema meshhook.
        then: What is called when the table is locked.

    Returns:
        What that connection was at.
    """
    with locked(stack, table) as lock:
        then()
        return lock.terminate_blocked()


async def test_a_claim_whose_connection_to_the_database_is_ended_is_repeated(
    net: Net, stack: LocalStack, pauses: Pauses
) -> None:
    runs: Counter[str] = Counter()
    jobs = [job_data() for _ in range(10)]
    net.queue.enqueue_many(jobs)
    locked = anyio.Event()

    async def handler(message: JobMessage) -> None:
        runs[message.run_id] += 1

    # The claim has its jobs, and waits for the table in which it is remembered.
    net.proxy.lay(faults.hold(locked), "meshhook_dequeue")
    async with net.make_worker(handler, concurrency=10):
        query = await anyio.to_thread.run_sync(
            terminate_blocked, stack, "requests", lambda: anyio.from_thread.run_sync(locked.set)
        )
        await net.events.wait("succeeded", times=10)

    assert "meshhook_dequeue" in query
    assert len(pauses.all) >= 1
    assert runs == Counter(job["run_id"] for job in jobs)
    assert [event.attempt for event in net.events.of("started")] == [1] * 10


async def test_a_settle_whose_connection_to_the_database_is_ended_is_repeated(
    net: Net, stack: LocalStack, pauses: Pauses
) -> None:
    runs: Counter[str] = Counter()
    jobs = [job_data() for _ in range(10)]
    net.queue.enqueue_many(jobs)
    locked = anyio.Event()

    async def handler(message: JobMessage) -> None:
        runs[message.run_id] += 1
        await locked.wait()

    # The settle has deleted its jobs, and waits for the table in which they are counted.
    async with net.make_worker(handler, concurrency=10):
        await net.events.wait("started", times=10)
        query = await anyio.to_thread.run_sync(
            terminate_blocked, stack, "totals", lambda: anyio.from_thread.run_sync(locked.set)
        )
        await net.events.wait("succeeded", times=10)

    assert "meshhook_settle" in query
    assert len(pauses.all) >= 1
    assert runs == Counter(job["run_id"] for job in jobs)
    assert net.events.of("lost", "failed") == []


async def test_a_service_gets_through_though_its_connection_to_the_database_is_ended(
    stack: LocalStack, queue_name: str, client: AsyncClient
) -> None:
    queue = QueueService(client, queue_name)
    results = []
    locked = anyio.Event()

    async def enqueue() -> None:
        await locked.wait()
        results.append(await queue.enqueue(job_data()))

    async with anyio.create_task_group() as group:
        group.start_soon(enqueue)
        query = await anyio.to_thread.run_sync(
            terminate_blocked, stack, "requests", lambda: anyio.from_thread.run_sync(locked.set)
        )

    assert "meshhook_enqueue" in query
    assert len(results) == 1
    assert (await queue.get_queue_metrics()).queue_length == 1
