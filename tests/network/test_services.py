"""P3 over a real connection: whatever breaks on the way, a call has its effect once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import anyio.to_thread
import httpx
import pytest

from meshhook import (
    DLQService,
    JobRecord,
    QueueService,
    RepeatPolicy,
    RequestTimeoutError,
    SyncDLQService,
    SyncQueueService,
    UnreachableError,
    connect,
    connect_sync,
)
from meshhook.local import LocalStack
from tests.clock import Clock
from tests.jobs import job_data
from tests.network import faults
from tests.network.proxy import ConnectionFault, Fault, Proxy

AT_ONCE = RepeatPolicy(base_seconds=0)
ONCE = RepeatPolicy(tries=1)


class InThread:
    """A sync service whose methods are awaited: each call runs in a thread."""

    def __init__(self, service: object) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._service, name)

        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return anyio.to_thread.run_sync(partial(method, *args, **kwargs))

        return call


class Services:
    """The services of the test's queue, sync or async, behind the proxy; all are awaited."""

    def __init__(self, queue: Any, dlq: Any) -> None:
        self.queue = queue
        self.dlq = dlq


@contextlib.asynccontextmanager
async def serve(
    flavour: str, url: str, key: str, queue_name: str, policy: RepeatPolicy = AT_ONCE
) -> AsyncIterator[Services]:
    """Connect with `connect` or `connect_sync`, and make the services."""
    dlq_name = f"{queue_name}_dlq"
    if flavour != "sync":
        async with connect(url, key) as client:
            yield Services(
                QueueService(client, queue_name, repeat_policy=policy),
                DLQService(client, dlq_name, repeat_policy=policy),
            )
        return
    with connect_sync(url, key) as sync_client:
        yield Services(
            InThread(SyncQueueService(sync_client, queue_name, repeat_policy=policy)),
            InThread(SyncDLQService(sync_client, dlq_name, repeat_policy=policy)),
        )


@pytest.fixture(params=["asyncio", "trio", "sync"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Which client makes the calls: the async one on either event loop, or the sync one."""
    return str(request.param)


@pytest.fixture
def anyio_backend(flavour: str) -> str:
    """Run the proxy on the loop of the flavour; what it runs on is nothing to a sync client."""
    return "trio" if flavour == "trio" else "asyncio"


@pytest.fixture
async def services(
    flavour: str, proxy: Proxy, stack: LocalStack, queue_name: str
) -> AsyncIterator[Services]:
    async with serve(flavour, proxy.url, stack.secret_key, queue_name) as services:
        yield services


FAULTS: dict[str, Fault] = {
    "reset": faults.reset,
    "lost answer": faults.lose_answer,
    "cut": faults.cut,
    "reset in answer": faults.reset_in_answer,
    "garbage": faults.garbage,
    "502": faults.answer(502),
    "429": faults.answer(429, retry_after="0"),
}


def state_of(queue: SyncQueueService, msg_id: int) -> tuple[Any, ...]:
    """Return whatever would show that something happened twice to a job, or not at all."""
    record = queue.get_job(msg_id)
    assert isinstance(record, JobRecord)
    outcomes = [attempt.outcome for attempt in record.attempts]
    return record.state, record.attempt, record.read_ct, outcomes


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_enqueue_leaves_exactly_one_job(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService, fault: Fault
) -> None:
    proxy.lay(fault, "meshhook_enqueue", times=2)

    result = await services.queue.enqueue(job_data())

    assert proxy.attempted("meshhook_enqueue") == 3
    assert safe_queue.get_queue_metrics().queue_length == 1
    assert state_of(safe_queue, result.msg_id) == ("available", 1, 0, [])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_claim_hands_out_one_job_once(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService, fault: Fault
) -> None:
    batch = safe_queue.enqueue_many([job_data(), job_data()])
    proxy.lay(fault, "meshhook_dequeue", times=2)

    job = await services.queue.dequeue()

    assert (job.msg_id, job.read_ct, job.attempt) == (batch.msg_ids[0], 1, 1)
    metrics = safe_queue.get_queue_metrics()
    assert (metrics.visible_jobs, metrics.invisible_jobs) == (1, 1)
    first, *repeats = [r.body for r in proxy.requests if r.function == "meshhook_dequeue"]
    assert repeats == [first, first]


SETTLES: dict[str, tuple[Callable[[Services, Any], Awaitable[Any]], tuple[Any, ...]]] = {
    "acknowledge": (lambda s, job: s.queue.acknowledge(job), ("completed", 1, None, [])),
    "archive_job": (lambda s, job: s.queue.archive_job(job), ("archived", 1, None, [])),
    "retry": (lambda s, job: s.queue.retry(job, 60, "boom"), ("scheduled", 2, 1, ["retried"])),
    "release": (lambda s, job: s.queue.release(job, 60), ("scheduled", 1, 1, [])),
    "move_to_dead_letter": (
        lambda s, job: s.dlq.move_to_dead_letter(job, "boom"),
        ("dead_lettered", 1, None, ["dead_lettered"]),
    ),
}


@pytest.mark.parametrize(("settle", "state"), SETTLES.values(), ids=SETTLES)
@pytest.mark.parametrize("fault", [faults.lose_answer, faults.cut, faults.reset_in_answer])
async def test_a_settle_whose_answer_was_lost_counts_once(
    services: Services,
    proxy: Proxy,
    safe_queue: SyncQueueService,
    fault: Fault,
    settle: Callable[[Services, Any], Awaitable[Any]],
    state: tuple[Any, ...],
) -> None:
    safe_queue.enqueue(job_data())
    job = await services.queue.dequeue()
    proxy.lay(fault, times=2)

    assert await settle(services, job) is True

    assert state_of(safe_queue, job.msg_id) == state


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [faults.stall, faults.stall_answer])
async def test_a_call_that_gets_no_answer_in_time_is_repeated(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService, fault: Fault
) -> None:
    proxy.lay(fault, "meshhook_enqueue")

    await services.queue.enqueue(job_data())

    # More than twice only where the machine is too busy for the answer to come in time either.
    assert proxy.attempted("meshhook_enqueue") >= 2
    assert safe_queue.get_queue_metrics().queue_length == 1


# On trio, httpx leaves the body of a request whose sending was broken off to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@pytest.mark.parametrize("fault", [faults.reset_at_once, faults.reset_in_request])
async def test_a_request_that_never_came_in_whole_is_repeated(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService, fault: ConnectionFault
) -> None:
    jobs = [job_data(metadata={"text": "x" * 1000}) for _ in range(500)]
    met = 0

    async def twice(client: Any) -> None:
        nonlocal met
        met += 1
        if met <= 2:
            await fault(client)

    proxy.lay_on_connections(twice)
    batch = await services.queue.enqueue_many(jobs)

    assert proxy.attempted("meshhook_enqueue") == 1
    assert len(batch) == safe_queue.get_queue_metrics().queue_length == 500


async def test_connections_that_died_while_idle_do_no_harm(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService
) -> None:
    for expected in range(1, 4):
        await services.queue.enqueue(job_data())
        proxy.reset_all()
        assert safe_queue.get_queue_metrics().queue_length == expected


async def test_a_refused_call_gets_through_when_the_port_is_there_again(
    proxy: Proxy, stack: LocalStack, safe_queue: SyncQueueService, flavour: str
) -> None:
    patient = RepeatPolicy(tries=100, base_seconds=0.01, max_seconds=0.02)
    tried = anyio.Event()

    proxy.refuse()
    async with (
        serve(flavour, proxy.url, stack.secret_key, safe_queue.queue_name, patient) as services,
        anyio.create_task_group() as group,
    ):
        tell_tries(services, tried)
        group.start_soon(services.queue.enqueue, job_data())
        await tried.wait()
        assert proxy.attempted("meshhook_enqueue") == 0
        proxy.accept()

    assert safe_queue.get_queue_metrics().queue_length == 1


def tell_tries(services: Services, tried: anyio.Event) -> None:
    """Set the event at the second try, when the first was refused for sure."""
    tries = 0
    is_sync = isinstance(services.queue, InThread)
    service = services.queue._service if is_sync else services.queue
    http = service._transport.client.postgrest.session

    def count() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            tried.set()

    async def on_request(_: httpx.Request) -> None:
        count()

    def on_sync_request(_: httpx.Request) -> None:
        anyio.from_thread.run_sync(count)

    hooks = http.event_hooks
    http.event_hooks = {"request": [*hooks["request"], on_sync_request if is_sync else on_request]}


@pytest.mark.parametrize("fault", [faults.lose_answer, faults.cut])
async def test_jobs_of_a_claim_that_is_not_repeated_come_back_when_their_lease_ends(
    proxy: Proxy, stack: LocalStack, clock: Clock, queue_name: str, fault: Fault, flavour: str
) -> None:
    async with serve(flavour, proxy.url, stack.secret_key, queue_name, ONCE) as services:
        await services.queue.enqueue(job_data())
        proxy.lay(fault, "meshhook_dequeue")
        with pytest.raises(UnreachableError):
            await services.queue.dequeue(30)
        assert await services.queue.dequeue() is None
        clock.advance(31)
        job = await services.queue.dequeue()

    # Nobody can tell an answer that was lost from a worker that died with the job.
    assert (job.read_ct, job.attempt) == (2, 2)


async def test_a_caller_who_gives_up_and_comes_again_under_its_key_enqueues_one_job(
    proxy: Proxy, stack: LocalStack, safe_queue: SyncQueueService, flavour: str
) -> None:
    proxy.lay(faults.lose_answer, "meshhook_enqueue", times=5)
    url, key, name = proxy.url, stack.secret_key, safe_queue.queue_name
    async with serve(flavour, url, key, name) as services:
        with pytest.raises(UnreachableError):
            await services.queue.enqueue(job_data(), idempotency_key="order-17")
        result = await services.queue.enqueue(job_data(), idempotency_key="order-17")

    assert result.duplicate
    assert safe_queue.get_queue_metrics().queue_length == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [faults.stall_at_once, faults.reset_at_once])
async def test_an_outage_that_outlasts_the_repeats_is_told_as_what_it_is(
    proxy: Proxy, stack: LocalStack, queue_name: str, fault: ConnectionFault, flavour: str
) -> None:
    proxy.lay_on_connections(fault)
    stalls = fault is faults.stall_at_once

    async with serve(flavour, proxy.url, stack.secret_key, queue_name, ONCE) as services:
        with pytest.raises(
            RequestTimeoutError if stalls else UnreachableError, match="meshhook_queue_metrics"
        ):
            await services.queue.get_queue_metrics()


async def test_a_claim_held_up_on_its_way_that_arrives_after_its_repeat_claims_nothing_more(
    services: Services, proxy: Proxy, safe_queue: SyncQueueService
) -> None:
    safe_queue.enqueue_many([job_data(), job_data()])
    late = []

    async def deliver_later(exchange: Any) -> None:
        late.append(exchange.request)
        exchange.client.reset()

    proxy.lay(deliver_later, "meshhook_dequeue")
    job = await services.queue.dequeue()
    answer = await proxy.ask_gateway(late[0])

    assert [row["msg_id"] for row in answer.data["jobs"]] == [job.msg_id]
    assert safe_queue.get_queue_metrics().visible_jobs == 1
