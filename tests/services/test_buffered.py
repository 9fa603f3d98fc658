"""The buffered producer: when it sends, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from opentelemetry import trace

from meshhook import InvalidInputError, QueueService, SyncQueueService
from tests.jobs import job_data
from tests.services.some_jobs import NEVER, runs, some_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults import FaultInjector


def sizes(faults: FaultInjector) -> list[int]:
    """Return how many jobs each call had."""
    return [len(body["messages"]) for _, body in faults.calls]


async def test_everything_is_in_the_queue_in_its_order_when_the_block_ends(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(25)

    async with queue.buffered(max_jobs=10, max_delay_seconds=NEVER) as out:
        for job in jobs:
            await out.enqueue(job)

    assert stored() == runs(jobs)
    assert sizes(faults) == [10, 10, 5]


async def test_a_full_buffer_is_sent(queue: QueueService, faults: FaultInjector) -> None:
    async with queue.buffered(max_jobs=3, max_delay_seconds=NEVER) as out:
        for job in some_jobs(3):
            await out.enqueue(job)
        await faults.wait_answered("meshhook_enqueue")

        assert sizes(faults) == [3]


async def test_bytes_make_a_buffer_full_too(queue: QueueService, faults: FaultInjector) -> None:
    small, large = job_data(), job_data(metadata={"text": "x" * 1000})

    async with queue.buffered(max_bytes=2500, max_delay_seconds=NEVER) as out:
        for job in (large, large, large, small):
            await out.enqueue(job)
        await faults.wait_answered("meshhook_enqueue")

    assert sizes(faults) == [2, 2]


async def test_a_job_that_is_larger_than_the_buffer_goes_alone_and_in_its_turn(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = [job_data(), job_data(metadata={"text": "x" * 1000}), job_data()]

    async with queue.buffered(max_bytes=500, max_delay_seconds=NEVER) as out:
        for job in jobs:
            await out.enqueue(job)

    assert sizes(faults) == [1, 1, 1]
    assert stored() == runs(jobs)


async def test_a_job_that_has_waited_long_enough_is_sent(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    job = job_data()

    async with queue.buffered(max_delay_seconds=0.01) as out:
        await out.enqueue(job)
        await faults.wait_answered("meshhook_enqueue")

        assert stored() == [job["run_id"]]


async def test_a_flush_ends_when_everything_is_in_the_queue(
    queue: QueueService, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(5)

    async with queue.buffered(max_jobs=3, max_delay_seconds=NEVER) as out:
        await out.flush()
        for job in jobs:
            await out.enqueue(job)
        await out.flush()

        assert stored() == runs(jobs)


async def test_nothing_is_sent_if_nothing_was_enqueued(
    queue: QueueService, faults: FaultInjector
) -> None:
    async with queue.buffered():
        pass

    assert faults.calls == []


async def test_jobs_keep_their_delays(queue: QueueService) -> None:
    later, now = some_jobs(2)

    async with queue.buffered() as out:
        await out.enqueue(later, 60)
        await out.enqueue(now)

    assert runs([job.message for job in await queue.dequeue_many(10)]) == runs([now])


async def test_a_full_buffer_waits_for_the_chunk_that_is_under_way(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(12)
    accepted: list[str] = []

    async def produce() -> None:
        for job in jobs:
            await out.enqueue(job)
            accepted.append(job["run_id"])

    held = faults.hold("meshhook_enqueue")
    async with (
        queue.buffered(max_jobs=3, max_delay_seconds=NEVER) as out,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(produce)
        await faults.wait_attempted("meshhook_enqueue")
        await anyio.wait_all_tasks_blocked()

        assert accepted == runs(jobs[:6])
        held.set()

    assert stored() == runs(jobs)


async def test_several_tasks_share_a_buffer(
    queue: QueueService, stored: Callable[[], list[str]]
) -> None:
    shares = [some_jobs(20) for _ in range(5)]

    async def produce(jobs: list[dict[str, Any]]) -> None:
        for job in jobs:
            await out.enqueue(job)

    async with (
        queue.buffered(max_jobs=7, max_delay_seconds=NEVER) as out,
        anyio.create_task_group() as tasks,
    ):
        for share in shares:
            tasks.start_soon(produce, share)

    found = stored()
    assert len(found) == 100
    for share in shares:
        mine = set(runs(share))
        assert [run for run in found if run in mine] == runs(share)


async def test_a_job_that_is_wrong_is_refused_at_once_and_disturbs_nothing(
    queue: QueueService, stored: Callable[[], list[str]]
) -> None:
    job = job_data()

    async with queue.buffered() as out:
        with pytest.raises(InvalidInputError) as caught:
            await out.enqueue(job_data(run_id="x"), -1)
        await out.enqueue(job)

    assert [problem.field for problem in caught.value.problems] == ["run_id", "delay_seconds"]
    assert stored() == [job["run_id"]]


async def test_a_buffer_takes_jobs_only_inside_its_block(queue: QueueService) -> None:
    out = queue.buffered()
    with pytest.raises(RuntimeError, match="the buffer is closed"):
        await out.enqueue(job_data())
    async with out:
        pass
    with pytest.raises(RuntimeError, match="the buffer is closed"):
        await out.flush()


async def test_a_job_that_waits_for_room_when_the_block_ends_is_refused(
    queue: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = some_jobs(3)

    async def one_too_many() -> None:
        with pytest.raises(RuntimeError, match="the buffer is closed"):
            await out.enqueue(jobs[2])
        held.set()

    held = faults.hold("meshhook_enqueue")
    async with (
        anyio.create_task_group() as tasks,
        queue.buffered(max_jobs=1, max_delay_seconds=NEVER) as out,
    ):
        await out.enqueue(jobs[0])
        await out.enqueue(jobs[1])
        tasks.start_soon(one_too_many)
        await anyio.wait_all_tasks_blocked()

    assert stored() == runs(jobs[:2])


@pytest.mark.parametrize("kind", [QueueService, SyncQueueService], ids=["async", "sync"])
def test_every_limit_is_checked(kind: Any) -> None:
    service = object.__new__(kind)
    service.queue_name, service._transport = "q", None

    with pytest.raises(InvalidInputError) as caught:
        service.buffered(
            max_jobs=10_001, max_bytes=0, max_delay_seconds=-1, grace_seconds=float("nan")
        )

    assert [problem.field for problem in caught.value.problems] == [
        "max_jobs",
        "max_bytes",
        "max_delay_seconds",
        "grace_seconds",
    ]


async def test_each_job_belongs_to_the_trace_in_which_it_was_enqueued(queue: QueueService) -> None:
    jobs = {trace_id: job_data() for trace_id in (1, 2)}

    async with queue.buffered() as out:
        for trace_id, job in jobs.items():
            context = trace.SpanContext(trace_id, 7, is_remote=False)
            with trace.use_span(trace.NonRecordingSpan(context)):
                await out.enqueue(job)

    found = {job.message.run_id: job.trace for job in await queue.dequeue_many(10)}
    for trace_id, job in jobs.items():
        traced = found[job["run_id"]]
        assert traced is not None
        assert traced["traceparent"] == f"00-{trace_id:032x}-{7:016x}-00"
