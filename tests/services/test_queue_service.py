"""Every call of the guide's queue service, against the real thing."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook import DatabaseError, InvalidInputError, QueueNotFoundError, QueueService
from tests.jobs import job_data

if TYPE_CHECKING:
    from supabase import AsyncClient

    from tests.clock import Clock


async def test_a_job_comes_out_as_it_went_in(queue: QueueService) -> None:
    data = job_data(metadata={"source": "webhook", "priority": "high", "nested": [1, None, "ü"]})

    result = await queue.enqueue(data)
    job = await queue.dequeue(30)

    assert job is not None
    assert job.msg_id == result.msg_id
    assert job.message.run_id == data["run_id"]
    assert job.message["workflow_id"] == data["workflow_id"]
    assert job.message.metadata == data["metadata"]
    assert (job.attempt, job.message.attempt) == (1, 1)
    assert (job.max_attempts, job.message.max_attempts) == (5, 5)
    assert job.read_ct == 1
    assert job.enqueued_at.tzinfo is not None
    assert job.message.last_error is None


async def test_the_visibility_timeout_hides_a_job_for_its_time(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue(job_data())

    first = await queue.dequeue(30)
    assert first is not None
    assert timedelta(seconds=25) < first.vt - datetime.now(UTC) <= timedelta(seconds=30)
    assert await queue.dequeue(30) is None
    clock.advance(31)
    again = await queue.dequeue(30)

    assert again is not None
    assert (again.msg_id, again.read_ct, again.attempt) == (first.msg_id, 2, 2)


async def test_a_delayed_job_waits_for_its_time(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data(), 60)

    clock.advance(59)
    assert await queue.dequeue() is None
    clock.advance(1)

    assert await queue.dequeue() is not None


async def test_many_jobs_have_ids_in_order_and_delays_of_their_own(
    queue: QueueService, clock: Clock
) -> None:
    jobs = [job_data() for _ in range(3)]

    batch = await queue.enqueue_many(jobs, [0, 100, 0])
    due = await queue.dequeue_many(10)

    assert [job.msg_id for job in due] == [batch.msg_ids[0], batch.msg_ids[2]]
    assert [job.message.run_id for job in due] == [jobs[0]["run_id"], jobs[2]["run_id"]]
    clock.advance(100)
    assert batch.msg_ids[1] in [job.msg_id for job in await queue.dequeue_many(10)]


async def test_an_empty_batch_is_no_error(queue: QueueService) -> None:
    assert list(await queue.enqueue_many([])) == []


async def test_an_idempotency_key_returns_the_first_job(queue: QueueService, clock: Clock) -> None:
    first = await queue.enqueue(job_data(), idempotency_key="order-17", idempotency_seconds=100)
    again = await queue.enqueue(job_data(), idempotency_key="order-17", idempotency_seconds=100)
    other = await queue.enqueue(job_data(), idempotency_key="order-18")

    assert (again.msg_id, again.duplicate) == (first.msg_id, True)
    assert (first.duplicate, other.duplicate) == (False, False)
    assert (await queue.get_queue_metrics()).queue_length == 2
    clock.advance(101)
    late = await queue.enqueue(job_data(), idempotency_key="order-17", idempotency_seconds=100)
    assert late.msg_id not in {first.msg_id, other.msg_id}


async def test_an_acknowledged_job_is_gone(queue: QueueService) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None

    assert await queue.acknowledge(job)
    assert not await queue.acknowledge(job)

    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_a_bare_id_is_acknowledged_as_in_the_guide(queue: QueueService) -> None:
    result = await queue.enqueue(job_data())

    assert await queue.acknowledge(result.msg_id)
    assert not await queue.acknowledge(result.msg_id)


async def test_many_jobs_are_acknowledged_with_an_answer_for_each(queue: QueueService) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])
    jobs = await queue.dequeue_many(3)
    await queue.acknowledge(jobs[1])

    assert await queue.acknowledge_many(jobs) == [True, False, True]


async def test_an_archived_job_keeps_its_message(
    queue: QueueService, queue_name: str, clock: Clock
) -> None:
    data = job_data()
    await queue.enqueue(data)
    job = await queue.dequeue()
    assert job is not None

    assert await queue.archive_job(job)

    record = await queue.get_job(job.msg_id)
    assert record is not None
    assert record.state == "archived"
    row = clock.admin.execute(f'select message from pgmq."a_{queue_name}"').fetchone()
    assert row is not None
    assert row[0]["run_id"] == data["run_id"]


async def test_a_retried_job_comes_again_after_its_delay(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None

    assert await queue.retry(job, 20, "ValueError: boom", "the stack")

    assert await queue.dequeue() is None
    clock.advance(20)
    again = await queue.dequeue()
    assert again is not None
    assert (again.msg_id, again.attempt) == (job.msg_id, 2)
    assert again.message.last_error == "ValueError: boom"
    assert again.message.last_error_at is not None


async def test_a_released_job_keeps_its_attempt_and_its_place(queue: QueueService) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])
    first, *_ = await queue.dequeue_many(1)

    assert await queue.release(first)

    again = await queue.dequeue()
    assert again is not None
    assert (again.msg_id, again.attempt, again.read_ct) == (first.msg_id, 1, 2)


async def test_a_snoozed_job_keeps_its_attempt(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None

    assert await queue.release(job, 50)

    assert await queue.dequeue() is None
    clock.advance(50)
    again = await queue.dequeue()
    assert again is not None
    assert again.attempt == 1


async def test_an_extended_lease_lasts_longer(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue(30)
    assert job is not None

    clock.advance(29)
    assert await queue.extend(job, 30)
    clock.advance(29)
    assert await queue.dequeue() is None
    clock.advance(1)

    assert await queue.dequeue() is not None
    assert not await queue.extend(job, 30)


async def test_metrics_count_visible_and_invisible_jobs(queue: QueueService, clock: Clock) -> None:
    empty = await queue.get_queue_metrics()
    await queue.enqueue_many([job_data() for _ in range(4)], [0, 0, 0, 100])
    await queue.dequeue()
    clock.advance(7)
    metrics = await queue.get_queue_metrics()

    assert (empty.queue_length, empty.oldest_msg_age_seconds) == (0, None)
    assert metrics.queue_name == queue.queue_name
    assert (metrics.queue_length, metrics.visible_jobs, metrics.invisible_jobs) == (4, 2, 2)
    assert metrics.oldest_msg_age_seconds == 7
    assert metrics.newest_msg_age_seconds == 7


async def test_a_purge_counts_what_it_deletes(queue: QueueService) -> None:
    await queue.enqueue_many([job_data() for _ in range(5)], [0, 0, 0, 100, 100])
    await queue.dequeue_many(2)

    assert await queue.purge_queue() == 5
    assert await queue.purge_queue() == 0


async def test_a_deleted_job_is_told_from_a_completed_one(queue: QueueService) -> None:
    result = await queue.enqueue(job_data())

    assert await queue.delete_job(result.msg_id)
    assert not await queue.delete_job(result.msg_id)

    record = await queue.get_job(result.msg_id)
    assert record is not None
    assert record.state == "deleted"


async def test_a_jobs_whole_life_can_be_looked_up(queue: QueueService, clock: Clock) -> None:
    data = job_data()
    result = await queue.enqueue(data, 10)
    states = [(await queue.find_jobs(data["run_id"]))[0].state]
    clock.advance(10)
    for settle in ("retry", "lapse", "complete"):
        states.append((await queue.find_jobs(data["run_id"]))[0].state)
        job = await queue.dequeue(30)
        assert job is not None
        states.append((await queue.find_jobs(data["run_id"]))[0].state)
        if settle == "retry":
            await queue.retry(job, 0, "ValueError: once")
        elif settle == "lapse":
            clock.advance(31)
        else:
            await queue.acknowledge(job)
    (record,) = await queue.find_jobs(data["run_id"])

    assert states == ["scheduled", *["available", "leased"] * 3]
    assert (record.msg_id, record.state, record.attempt) == (result.msg_id, "completed", 3)
    assert [(a.attempt, a.outcome) for a in record.attempts] == [(1, "retried"), (2, "lapsed")]
    assert record.attempts[0].error_message == "ValueError: once"
    assert record == await queue.get_job(result.msg_id)


async def test_an_unknown_job_is_none(queue: QueueService) -> None:
    assert await queue.get_job(123456) is None
    assert await queue.find_jobs(str(uuid.uuid4())) == []


async def test_a_missing_queue_is_told_with_the_fix(client: AsyncClient) -> None:
    nowhere = QueueService(client, "never_created")

    with pytest.raises(QueueNotFoundError, match=r'"never_created" does not exist.*create_queue'):
        await nowhere.enqueue(job_data())


async def test_input_that_is_refused_changes_nothing(queue: QueueService) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await queue.enqueue_many([job_data(), {"run_id": "x", "workflow_id": 7}])

    assert [problem.field for problem in caught.value.problems] == [
        "jobs[1].run_id",
        "jobs[1].workflow_id",
        "jobs[1].project_id",
    ]
    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_a_queue_has_settings_that_claims_follow(queue: QueueService) -> None:
    info = await queue.create_queue(max_attempts=2, vt_seconds=5)
    await queue.enqueue(job_data())
    await queue.enqueue(job_data(max_attempts=9))
    jobs = await queue.dequeue_many(2)

    assert (info.max_attempts, info.vt_seconds, info.base_delay_ms) == (2, 5, 1000)
    assert [job.max_attempts for job in jobs] == [2, 9]


async def test_queues_are_created_listed_and_dropped(client: AsyncClient, queue_name: str) -> None:
    queue = QueueService(client, f"{queue_name}_more")

    await queue.create_queue()
    await queue.create_queue()
    listed = {info.queue_name: info for info in await QueueService.list_queues(client)}

    assert listed[queue.queue_name].dlq_name == f"{queue.queue_name}_dlq"
    assert listed[f"{queue.queue_name}_dlq"].is_dlq
    assert listed["workflow_jobs"].max_attempts == 5
    assert await queue.drop_queue(drop_dlq=True)
    assert not await queue.drop_queue(drop_dlq=True)
    left = {info.queue_name for info in await QueueService.list_queues(client)}
    assert not {queue.queue_name, f"{queue.queue_name}_dlq"} & left


async def test_what_a_trigger_of_the_users_raises_is_told_as_such(
    queue: QueueService, admin: psycopg.Connection
) -> None:
    admin.execute(
        "create or replace function public.boom() returns trigger language plpgsql"
        " as $$ begin raise exception 'too many today'; end $$"
    )
    table = f"pgmq.q_{queue.queue_name}"
    admin.execute(
        f"create trigger boom before insert on {table} execute function public.boom()".encode()
    )

    with pytest.raises(DatabaseError, match="too many today") as caught:
        await queue.enqueue(job_data())

    assert (caught.value.code, caught.value.status) == ("P0001", 400)
    assert "a trigger or function of yours" in str(caught.value)
    assert "SUPABASE_URL" not in str(caught.value)
    admin.execute("drop function public.boom() cascade")
    assert (await queue.enqueue(job_data())).msg_id > 0
