"""Running a queue: pausing, cancelling, configuring, listing, pruning."""

from __future__ import annotations

import math

import pytest
from supabase import AsyncClient

from meshhook import InvalidInputError, QueueNotFoundError, QueueService
from tests.clock import Clock
from tests.jobs import job_data


async def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(queue: QueueService) -> None:
    sent = await queue.enqueue(job_data())

    assert (await queue.pause_queue(), await queue.pause_queue()) == (True, False)
    assert await queue.dequeue() is None
    assert (await queue.configure_queue()).paused_at is not None

    assert (await queue.resume_queue(), await queue.resume_queue()) == (True, False)
    job = await queue.dequeue()
    assert job is not None
    assert job.msg_id == sent.msg_id
    assert (await queue.configure_queue()).paused_at is None


async def test_a_cancelled_job_is_gone_and_remembered(queue: QueueService) -> None:
    sent = await queue.enqueue(job_data())

    assert await queue.cancel_job(sent.msg_id)
    assert not await queue.cancel_job(sent.msg_id)

    record = await queue.get_job(sent.msg_id)
    assert record is not None
    assert record.state == "cancelled"
    assert await queue.dequeue() is None


async def test_a_job_that_was_cancelled_cannot_be_settled(queue: QueueService) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None

    assert await queue.cancel_job(job.msg_id)

    assert not await queue.extend(job)
    assert not await queue.acknowledge(job)


async def test_settings_are_changed_and_the_others_stay(queue: QueueService) -> None:
    before = await queue.configure_queue()

    after = await queue.configure_queue(max_attempts=2, has_dead_letters=False, retention_days=7)

    assert (after.max_attempts, after.has_dead_letters, after.retention_days) == (2, False, 7)
    assert after.vt_seconds == before.vt_seconds
    assert await queue.configure_queue() == after


async def test_a_retention_can_be_taken_away(queue: QueueService) -> None:
    await queue.configure_queue(retention_days=7)

    assert (await queue.configure_queue(retention_days=math.inf)).retention_days is None
    assert (await queue.create_queue(retention_days=math.inf)).retention_days is None


async def test_a_queue_that_is_not_there_is_not_made_by_configuring_it(
    client: AsyncClient,
) -> None:
    typo = QueueService(client, "typo")

    for call in (typo.configure_queue, typo.pause_queue, typo.resume_queue, typo.list_jobs):
        with pytest.raises(QueueNotFoundError, match="typo"):
            await call()


async def test_jobs_are_listed_by_state(queue: QueueService) -> None:
    results = [await queue.enqueue(job_data()) for _ in range(3)]
    job = await queue.dequeue()
    assert job is not None
    await queue.acknowledge(job)

    assert [one.msg_id for one in await queue.list_jobs()] == [
        results[2].msg_id,
        results[1].msg_id,
    ]
    assert [one.msg_id for one in await queue.list_jobs("completed")] == [job.msg_id]
    assert [
        one.msg_id for one in await queue.list_jobs(limit=1, before_msg_id=results[2].msg_id)
    ] == [results[1].msg_id]


async def test_an_unknown_state_is_refused_with_those_there_are(queue: QueueService) -> None:
    with pytest.raises(InvalidInputError, match="dead_lettered") as caught:
        await queue.list_jobs("lost")

    assert caught.value.problems[0].field == "state"


async def test_old_history_is_pruned_by_the_queues_own_retention(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None
    await queue.acknowledge(job)
    clock.advance(8 * 86_400)

    kept = await queue.prune_history()
    await queue.configure_queue(retention_days=7)
    pruned = await queue.prune_history()

    assert (kept.jobs, pruned.jobs, pruned.more) == (0, 1, False)
    assert await queue.get_job(job.msg_id) is None


async def test_a_job_past_its_last_attempt_is_archived_where_there_are_no_dead_letters(
    queue: QueueService, clock: Clock
) -> None:
    await queue.configure_queue(has_dead_letters=False)
    sent = await queue.enqueue(job_data(max_attempts=1))
    await queue.dequeue()
    clock.advance(60)

    assert await queue.dequeue() is None

    record = await queue.get_job(sent.msg_id)
    assert record is not None
    assert (record.state, record.dlq_name) == ("failed", None)
    assert [attempt.outcome for attempt in record.attempts] == ["lapsed"]
