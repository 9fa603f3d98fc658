"""The buffered producer loses nothing: errors, cancellation, outages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from meshhook import (
    QueueService,
    RejectedError,
    RepeatPolicy,
    RequestTimeoutError,
    UnreachableError,
)
from meshhook.exceptions import PartialEnqueueError
from tests.faults import Fault
from tests.jobs import job_data
from tests.services.some_jobs import NEVER, runs, some_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from supabase import AsyncClient

    from tests.faults import FaultInjector


@pytest.fixture
async def queue(client: AsyncClient, queue_name: str) -> QueueService:
    """The test's queue, through a service that sends each call twice, without a pause."""
    return QueueService(client, queue_name, repeat_policy=RepeatPolicy(tries=2, base_seconds=0))


async def produce(
    queue: QueueService,
    jobs: list[dict[str, Any]],
    then: Exception | None = None,
    **limits: Any,
) -> None:
    """Enqueue jobs through a buffer, and raise an error then, if there is one."""
    async with queue.buffered(max_delay_seconds=NEVER, **limits) as out:
        for job in jobs:
            await out.enqueue(job)
        if then is not None:
            raise then


def refuse_all(faults: FaultInjector) -> None:
    """Let no call find a connection."""
    faults.refuse("meshhook_enqueue", 1000)


def hold_and_reject(faults: FaultInjector) -> anyio.Event:
    """Keep the next enqueue waiting until the event is set, and reject it then."""

    def reject(request: httpx.Request) -> httpx.Response:
        return httpx.Response(413, text="too large", request=request)

    event = anyio.Event()
    faults._faults.append(Fault("meshhook_enqueue", 1, before=reject, hold=event))
    return event


async def test_an_error_in_the_block_propagates_and_everything_goes_in(
    queue: QueueService, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(5)
    boom = LookupError("boom")

    with pytest.raises(LookupError) as caught:
        await produce(queue, jobs, boom, max_jobs=3)

    assert caught.value is boom
    assert stored() == runs(jobs)


async def test_a_cancelled_block_sends_what_it_has_accepted(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(5)
    held = faults.hold_answer("meshhook_enqueue")

    async def produce() -> None:
        async with queue.buffered(max_jobs=3, max_delay_seconds=NEVER) as out:
            for job in jobs:
                await out.enqueue(job)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        await faults.wait_attempted("meshhook_enqueue")
        tasks.cancel_scope.cancel()
        held.set()

    assert stored() == runs(jobs)


async def test_a_cancellation_while_the_last_jobs_are_sent_does_not_lose_them(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    job = job_data()
    held = faults.hold("meshhook_enqueue")

    async def produce() -> None:
        async with queue.buffered(max_delay_seconds=NEVER) as out:
            await out.enqueue(job)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        await faults.wait_attempted("meshhook_enqueue")
        tasks.cancel_scope.cancel()
        held.set()

    assert stored() == [job["run_id"]]


async def test_a_cancelled_block_hands_back_what_does_not_go_in_in_time(
    queue: QueueService, faults: FaultInjector
) -> None:
    jobs = some_jobs(5)
    faults.hold("meshhook_enqueue")
    scope = anyio.CancelScope()

    async def produce() -> None:
        with scope:
            async with queue.buffered(
                max_jobs=3, max_delay_seconds=NEVER, grace_seconds=0.01
            ) as out:
                for job in jobs:
                    await out.enqueue(job)
                await faults.wait_attempted("meshhook_enqueue")
                scope.cancel()
                await anyio.sleep_forever()

    with pytest.raises(PartialEnqueueError) as caught:
        await produce()

    assert caught.value.jobs == tuple(jobs)
    assert caught.value.uncertain == 3
    assert isinstance(caught.value.__cause__, RequestTimeoutError)


async def test_an_outage_that_the_repeats_outlast_is_not_noticed(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(3)
    faults.lose_answer("meshhook_enqueue")

    async with queue.buffered() as out:
        for job in jobs:
            await out.enqueue(job)

    assert stored() == runs(jobs)


async def test_what_did_not_go_in_is_handed_back_by_the_next_enqueue_and_the_buffer_goes_on(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(6)

    async with queue.buffered(max_jobs=2, max_delay_seconds=NEVER) as out:
        refuse_all(faults)
        await out.enqueue(jobs[0], 5)
        await out.enqueue(jobs[1])
        await faults.wait_attempted("meshhook_enqueue", 2)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(PartialEnqueueError) as caught:
            await out.enqueue(jobs[2])
        faults.clear()
        for job in jobs[3:]:
            await out.enqueue(job)

    assert isinstance(caught.value.__cause__, UnreachableError)
    assert caught.value.jobs == tuple(jobs[:2])
    delays: Any = caught.value.delay_seconds
    assert delays == (5, 0)
    assert (caught.value.enqueued, caught.value.index, caught.value.uncertain) == ((), 0, 2)
    assert stored() == runs(jobs[3:])


async def test_jobs_behind_a_failed_chunk_are_handed_back_with_it(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(3)
    held = hold_and_reject(faults)

    async with queue.buffered(max_jobs=2, max_delay_seconds=NEVER) as out:
        for job in jobs:
            await out.enqueue(job)
        held.set()
        with pytest.raises(PartialEnqueueError) as caught:
            await out.flush()

    assert isinstance(caught.value.__cause__, RejectedError)
    assert caught.value.jobs == tuple(jobs)
    assert caught.value.uncertain == 2
    assert stored() == []


async def test_what_is_handed_back_can_be_enqueued_again_and_nothing_goes_in_twice(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(5)
    faults.lose_answer("meshhook_enqueue", 4)

    with pytest.raises(PartialEnqueueError) as caught:
        await produce(queue, jobs[:3], max_jobs=2)
    assert stored() == runs(jobs[:2])
    left, key = [*caught.value.jobs, *jobs[3:]], caught.value.idempotency_key
    batch = await queue.enqueue_many(left, idempotency_key=key)
    again = await queue.enqueue_many(left, idempotency_key=key)

    assert stored() == runs(jobs)
    assert again.msg_ids == batch.msg_ids
    assert again.duplicate
    assert not batch.duplicate


async def test_the_end_of_the_block_tries_what_failed_once_more(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(3)
    faults.lose_answer("meshhook_enqueue", 2)

    async with queue.buffered(max_jobs=2, max_delay_seconds=NEVER) as out:
        for job in jobs:
            await out.enqueue(job)
        await faults.wait_attempted("meshhook_enqueue", 2)
        await anyio.wait_all_tasks_blocked()

    assert stored() == runs(jobs)


async def test_the_end_of_the_block_hands_back_what_does_not_go_in(
    queue: QueueService, faults: FaultInjector
) -> None:
    jobs = some_jobs(3)
    refuse_all(faults)

    with pytest.raises(PartialEnqueueError) as caught:
        await produce(queue, jobs)

    assert caught.value.jobs == tuple(jobs)


async def test_the_error_of_the_block_is_the_context_of_the_one_that_hands_back(
    queue: QueueService, faults: FaultInjector
) -> None:
    boom = LookupError("boom")
    refuse_all(faults)

    with pytest.raises(PartialEnqueueError) as caught:
        await produce(queue, some_jobs(1), boom)

    assert caught.value.__context__ is boom


async def test_every_flush_that_waits_for_a_failed_chunk_raises(
    queue: QueueService, faults: FaultInjector
) -> None:
    job = job_data()
    told: list[tuple[Any, ...]] = []

    async def flush() -> None:
        with pytest.raises(PartialEnqueueError) as caught:
            await out.flush()
        assert isinstance(caught.value.__cause__, RejectedError)
        told.append(caught.value.jobs)

    held = hold_and_reject(faults)
    async with queue.buffered() as out:
        await out.enqueue(job)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flush)
            tasks.start_soon(flush)
            await anyio.wait_all_tasks_blocked()
            held.set()

    assert told == [(job,), (job,)]


async def test_whatever_the_sending_raises_hands_the_jobs_back(
    queue: QueueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, bug = some_jobs(1), ZeroDivisionError("bug")

    async def call(_: object) -> None:
        raise bug

    monkeypatch.setattr(queue._transport, "call", call)
    with pytest.raises(PartialEnqueueError) as caught:
        await produce(queue, jobs)

    assert caught.value.jobs == tuple(jobs)
    assert caught.value.__cause__ is bug
