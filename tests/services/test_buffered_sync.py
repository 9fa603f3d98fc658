"""The buffered producer of the sync service, and its thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from supabase import Client, ClientOptions, create_client

from meshhook import RepeatPolicy, RequestTimeoutError, SyncQueueService, UnreachableError
from meshhook.exceptions import PartialEnqueueError
from tests.jobs import job_data
from tests.services.some_jobs import NEVER, runs, some_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshhook.local import LocalStack


class Gate(httpx.HTTPTransport):
    """Passes the calls of a sync client on, or not.

    Attributes:
        open: Set while calls pass; each waits until it is.
        arrived: Set as soon as a call waits.
        refused: How many calls find no connection from now on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Event()
        self.answered = threading.Event()
        self.refused = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.arrived.set()
        self.open.wait()
        if self.refused:
            self.refused -= 1
            message = "connection refused"
            raise httpx.ConnectError(message, request=request)
        response = super().handle_request(request)
        response.read()
        self.answered.set()
        return response


@pytest.fixture
def gate() -> Gate:
    """What stands between the sync client and the gateway."""
    return Gate()


@pytest.fixture
def sync_queue(stack: LocalStack, queue_name: str, gate: Gate) -> Iterator[SyncQueueService]:
    """The test's queue, through a sync service that sends each call once."""
    with httpx.Client(transport=gate, timeout=30) as http:
        client: Client = create_client(
            stack.url, stack.secret_key, ClientOptions(httpx_client=http)
        )
        yield SyncQueueService(client, queue_name, repeat_policy=RepeatPolicy(tries=1))


def produce(
    queue: SyncQueueService,
    jobs: list[dict[str, Any]],
    then: Exception | None = None,
    **limits: Any,
) -> None:
    """Enqueue jobs through a buffer, and raise an error then, if there is one."""
    with queue.buffered(max_delay_seconds=NEVER, **limits) as out:
        for job in jobs:
            out.enqueue(job)
        if then is not None:
            raise then


def test_the_sync_buffer_puts_everything_in_in_its_order(
    sync_queue: SyncQueueService, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(25)

    with sync_queue.buffered(max_jobs=10, max_delay_seconds=NEVER) as out:
        for job in jobs[:15]:
            out.enqueue(job)
        out.flush()
        assert stored() == runs(jobs[:15])
        for job in jobs[15:]:
            out.enqueue(job)

    assert stored() == runs(jobs)


def test_the_sync_buffer_sends_in_time_though_nothing_more_is_enqueued(
    sync_queue: SyncQueueService, gate: Gate, stored: Callable[[], list[str]]
) -> None:
    job = job_data()

    with sync_queue.buffered(max_delay_seconds=0.01) as out:
        out.enqueue(job)
        assert gate.answered.wait(30)

        assert stored() == [job["run_id"]]


def test_several_threads_share_a_sync_buffer(
    sync_queue: SyncQueueService, stored: Callable[[], list[str]]
) -> None:
    shares = [some_jobs(50) for _ in range(4)]

    def produce(jobs: list[dict[str, Any]]) -> None:
        for job in jobs:
            out.enqueue(job)

    with sync_queue.buffered(max_jobs=7) as out:
        threads = [threading.Thread(target=produce, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = stored()
    assert len(found) == 200
    for share in shares:
        mine = set(runs(share))
        assert [run for run in found if run in mine] == runs(share)


def test_an_error_in_a_sync_block_propagates_and_everything_goes_in(
    sync_queue: SyncQueueService, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(5)
    boom = LookupError("boom")

    with pytest.raises(LookupError) as caught:
        produce(sync_queue, jobs, boom, max_jobs=3)

    assert caught.value is boom
    assert stored() == runs(jobs)


def test_the_sync_buffer_hands_back_what_did_not_go_in_and_goes_on(
    sync_queue: SyncQueueService, gate: Gate, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(4)
    gate.refused = 1

    with sync_queue.buffered(max_jobs=10, max_delay_seconds=NEVER) as out:
        out.enqueue(jobs[0], 5)
        out.enqueue(jobs[1])
        with pytest.raises(PartialEnqueueError) as caught:
            out.flush()
        out.enqueue(jobs[2])

    assert caught.value.jobs == tuple(jobs[:2])
    delays: Any = caught.value.delay_seconds
    assert delays == (5, 0)
    assert isinstance(caught.value.__cause__, UnreachableError)
    assert stored() == runs(jobs[2:3])


def test_the_end_of_a_sync_block_hands_back_what_does_not_go_in(
    sync_queue: SyncQueueService, gate: Gate
) -> None:
    jobs, boom = some_jobs(3), LookupError("boom")
    gate.refused = 1000

    with pytest.raises(PartialEnqueueError) as caught:
        produce(sync_queue, jobs, boom)

    assert caught.value.jobs == tuple(jobs)
    assert caught.value.__context__ is boom


def test_an_interrupted_sync_block_waits_only_so_long_for_its_last_jobs(
    sync_queue: SyncQueueService, gate: Gate
) -> None:
    jobs = some_jobs(3)
    gate.open.clear()

    def produce() -> None:
        with out:
            for job in jobs:
                out.enqueue(job)
            assert gate.arrived.wait(30)
            raise KeyboardInterrupt

    out = sync_queue.buffered(max_jobs=2, grace_seconds=0.01)
    with pytest.raises(PartialEnqueueError) as caught:
        produce()
    gate.open.set()
    out._thread.join(30)

    assert caught.value.jobs == tuple(jobs)
    assert caught.value.uncertain == 2
    assert isinstance(caught.value.__cause__, RequestTimeoutError)
    assert isinstance(caught.value.__context__, KeyboardInterrupt)
    assert not out._thread.is_alive()


def test_a_sync_buffer_takes_jobs_only_inside_its_block(sync_queue: SyncQueueService) -> None:
    out = sync_queue.buffered()

    with pytest.raises(RuntimeError, match="the buffer is closed"):
        out.enqueue(job_data())
