"""P7 when the gateway has no connection to the database to spare, as PGRST003 says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest
from supabase import Client

from meshhook import SyncQueueService
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.network import faults
from tests.network.blocked import locked
from tests.network.conftest import Net, Pauses
from tests.worker.conftest import do_nothing


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A stack whose gateway has one connection to the database, and waits for it but briefly."""
    with LocalStack(pool_size=1, pool_timeout_seconds=0.3) as stack:
        yield stack


@pytest.fixture
def queue_name(direct_client: Client) -> str:
    """A queue of the test's own; it goes away with the stack."""
    queue = SyncQueueService(direct_client, f"t_{uuid.uuid4().hex[:12]}")
    queue.create_queue()
    return queue.queue_name


async def test_a_worker_waits_until_there_is_a_connection_to_the_database(
    net: Net, stack: LocalStack, pauses: Pauses
) -> None:
    def enqueue() -> None:
        net.queue.enqueue(job_data())

    # The claim waits until another call has the only connection, and keeps it.
    may_claim = anyio.Event()
    net.proxy.lay(faults.hold(may_claim), "meshhook_dequeue")
    async with net.make_worker(do_nothing), anyio.create_task_group() as group:
        await net.proxy.wait_attempted("meshhook_dequeue")
        with locked(stack, "requests") as lock:
            group.start_soon(anyio.to_thread.run_sync, enqueue)
            query = await anyio.to_thread.run_sync(lock.wait_for_blocked)
            may_claim.set()
            await pauses.wait(3)
        await net.events.wait("recovered")
        await net.events.wait("succeeded")

    assert "meshhook_enqueue" in query
    assert "PGRST003" in str(net.events.of("outage")[0].error_message)
