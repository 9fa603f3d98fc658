"""P2: a stale worker cannot touch a job it no longer holds, whatever it tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshhook import DLQService, Job, QueueService
    from tests.clock import Clock

SETTLES: dict[str, Any] = {
    "acknowledge": lambda queue, _, job: queue.acknowledge(job),
    "archive": lambda queue, _, job: queue.archive_job(job),
    "retry": lambda queue, _, job: queue.retry(job, 5, "stale"),
    "release": lambda queue, _, job: queue.release(job),
    "snooze": lambda queue, _, job: queue.release(job, 60),
    "extend": lambda queue, _, job: queue.extend(job, 600),
    "dead_letter": lambda _, dlq, job: dlq.move_to_dead_letter(job, "stale"),
}


def row_of(clock: Clock, queue_name: str) -> Any:
    return clock.admin.execute(f'select * from pgmq."q_{queue_name}"').fetchall()


@pytest.mark.parametrize("settle", SETTLES.values(), ids=SETTLES)
async def test_a_stale_receipt_changes_nothing(
    queue: QueueService,
    dlq: DLQService,
    clock: Clock,
    settle: Callable[[QueueService, DLQService, Job], Awaitable[bool]],
) -> None:
    await queue.enqueue(job_data())
    stale = await queue.dequeue(30)
    clock.advance(31)
    current = await queue.dequeue(30)
    assert stale is not None
    assert current is not None
    before = row_of(clock, queue.queue_name)

    assert await settle(queue, dlq, stale) is False

    assert row_of(clock, queue.queue_name) == before
    assert await dlq.list_dead_letter_jobs() == []
    record = await queue.get_job(current.msg_id)
    assert record is not None
    assert [attempt.outcome for attempt in record.attempts] == ["lapsed"]
    assert await queue.acknowledge(current)


@pytest.mark.parametrize("settle", SETTLES.values(), ids=SETTLES)
async def test_a_late_receipt_counts_while_nobody_else_has_read_the_job(
    queue: QueueService,
    dlq: DLQService,
    clock: Clock,
    settle: Callable[[QueueService, DLQService, Job], Awaitable[bool]],
) -> None:
    await queue.enqueue(job_data())
    late = await queue.dequeue(30)
    assert late is not None
    clock.advance(31)

    assert await settle(queue, dlq, late) is True


@pytest.mark.parametrize("settle", SETTLES.values(), ids=SETTLES)
async def test_a_receipt_of_a_job_that_is_gone_changes_nothing(
    queue: QueueService,
    dlq: DLQService,
    settle: Callable[[QueueService, DLQService, Job], Awaitable[bool]],
) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue(30)
    assert job is not None
    await queue.acknowledge(job)

    assert await settle(queue, dlq, job) is False

    assert (await queue.get_queue_metrics()).queue_length == 0
    assert await dlq.list_dead_letter_jobs() == []


async def test_each_job_of_a_batch_is_judged_by_its_own_receipt(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])
    jobs = await queue.dequeue_many(3, 30)
    clock.advance(31)
    (taken,) = await queue.dequeue_many(1, 30)

    results = await queue.acknowledge_many(jobs)

    assert results == [job.msg_id != taken.msg_id for job in jobs]
    assert await queue.acknowledge(taken)
