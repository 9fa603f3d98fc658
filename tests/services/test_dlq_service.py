"""Every call of the guide's dead letter queue service, against the real thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.types.json import Jsonb

from meshhook import DLQService, Job, JobNotFoundError, QueueNotFoundError, QueueService
from tests.jobs import job_data

if TYPE_CHECKING:
    from supabase import AsyncClient

    from tests.clock import Clock


async def bury(queue: QueueService, dlq: DLQService, *errors: str) -> list[Job]:
    """Enqueue a job for each error and move it to the dead letter queue with that."""
    buried = []
    for error in errors:
        await queue.enqueue(job_data(metadata={"error": error}))
        job = await queue.dequeue()
        assert job is not None
        assert await dlq.move_to_dead_letter(job, error, f"stack of {error}")
        buried.append(job)
    return buried


async def test_a_dead_letter_keeps_the_job_and_says_what_went_wrong(
    queue: QueueService, dlq: DLQService
) -> None:
    (job,) = await bury(queue, dlq, "Timeout")

    (dead,) = await dlq.list_dead_letter_jobs()

    assert dead.message.error_message == "Timeout"
    assert dead.message["error_stack"] == "stack of Timeout"
    assert dead.message.original_msg_id == job.msg_id
    assert dead.message.read_count == 1
    assert dead.message.attempt == 1
    assert dead.message.run_id == job.message.run_id
    assert dead.message.metadata == {"error": "Timeout"}
    assert dead.message.moved_to_dlq_at > dead.message.original_enqueued_at
    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_looking_at_dead_letters_changes_nothing(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    await bury(queue, dlq, "a", "b", "c")
    table = f'pgmq."q_{dlq.dlq_name}"'
    before = clock.admin.execute(f"select * from {table} order by msg_id").fetchall()

    for _ in range(2):
        listed = await dlq.list_dead_letter_jobs(100)
        assert [job.message.error_message for job in listed] == ["a", "b", "c"]
        for job in listed:
            assert await dlq.get_dead_letter_job(job.msg_id) is not None
        await dlq.get_jobs_by_error_type()
        await dlq.get_dlq_metrics()

    assert clock.admin.execute(f"select * from {table} order by msg_id").fetchall() == before


async def test_dead_letters_are_listed_in_pages(queue: QueueService, dlq: DLQService) -> None:
    await bury(queue, dlq, *"abcde")

    first = await dlq.list_dead_letter_jobs(2)
    second = await dlq.list_dead_letter_jobs(2, after_msg_id=first[-1].msg_id)
    everything = [job async for job in dlq.iterate_dead_letter_jobs(page_size=2)]

    assert [job.message.error_message for job in first + second] == list("abcd")
    assert [job.message.error_message for job in everything] == list("abcde")


async def test_one_dead_letter_comes_with_its_failed_attempts(
    queue: QueueService, dlq: DLQService
) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None
    await queue.retry(job, 0, "first")
    job = await queue.dequeue()
    assert job is not None
    await dlq.move_to_dead_letter(job, "second", "where")
    (listed,) = await dlq.list_dead_letter_jobs()

    dead = await dlq.get_dead_letter_job(listed.msg_id)

    assert dead is not None
    assert [(a.attempt, a.outcome, a.error_message) for a in dead.attempts] == [
        (1, "retried", "first"),
        (2, "dead_lettered", "second"),
    ]
    assert dead.attempts[1].error_stack == "where"
    assert await dlq.get_dead_letter_job(listed.msg_id + 1) is None


async def test_a_replayed_job_begins_anew(queue: QueueService, dlq: DLQService) -> None:
    data = job_data(metadata={"a": 1}, max_attempts=3)
    await queue.enqueue(data)
    job = await queue.dequeue()
    assert job is not None
    await queue.retry(job, 0, "first")
    job = await queue.dequeue()
    assert job is not None
    await dlq.move_to_dead_letter(job, "second")
    (dead,) = await dlq.list_dead_letter_jobs()

    result = await dlq.replay_dead_letter_job(dead.msg_id)
    again = await queue.dequeue()

    assert again is not None
    assert again.msg_id == result.new_msg_id
    assert (again.attempt, again.max_attempts, again.read_ct) == (1, 3, 1)
    assert dict(again.message) == {
        **data,
        "attempt": 1,
        "enqueued_at": dead.message.enqueued_at,
    }
    assert await dlq.list_dead_letter_jobs() == []


async def test_the_life_of_a_job_goes_on_after_its_replay(
    queue: QueueService, dlq: DLQService
) -> None:
    (job,) = await bury(queue, dlq, "boom")
    (dead,) = await dlq.list_dead_letter_jobs()
    result = await dlq.replay_dead_letter_job(dead.msg_id)

    first, second = await queue.find_jobs(job.message.run_id)

    assert (first.msg_id, first.state, first.dlq_msg_id) == (job.msg_id, "replayed", dead.msg_id)
    assert (first.replayed_to, first.replayed_msg_id) == (queue.queue_name, result.new_msg_id)
    assert (second.msg_id, second.state) == (result.new_msg_id, "available")


async def test_a_job_can_be_replayed_to_another_queue(
    queue: QueueService, dlq: DLQService, client: AsyncClient
) -> None:
    other = QueueService(client, f"{queue.queue_name}_other")
    await other.create_queue()
    await bury(queue, dlq, "boom")
    (dead,) = await dlq.list_dead_letter_jobs()

    result = await dlq.replay_dead_letter_job(dead.msg_id, target_queue=other.queue_name)

    job = await other.dequeue()
    assert job is not None
    assert (job.msg_id, result.target_queue) == (result.new_msg_id, other.queue_name)
    await other.drop_queue(drop_dlq=True)


async def test_many_jobs_are_replayed_and_failures_are_told(
    queue: QueueService, dlq: DLQService
) -> None:
    buried = await bury(queue, dlq, "a", "b", "c")
    ids = [job.msg_id for job in await dlq.list_dead_letter_jobs()]

    results = await dlq.replay_multiple_jobs([ids[0], 999, ids[2]])

    assert (results.success, results.failed) == (2, 1)
    assert [result.msg_id for result in results.replayed] == [ids[0], ids[2]]
    assert results.errors[0].msg_id == 999
    assert "999" in results.errors[0].error
    runs = [job.message.run_id for job in await queue.dequeue_many(10)]
    assert runs == [buried[0].message.run_id, buried[2].message.run_id]


async def test_a_letter_whose_queue_is_gone_holds_up_no_other(
    queue: QueueService, dlq: DLQService, client: AsyncClient
) -> None:
    gone = QueueService(client, f"{queue.queue_name}_gone")
    await gone.create_queue(dlq_name=dlq.dlq_name)
    await bury(gone, dlq, "a")
    await bury(queue, dlq, "b")
    await gone.drop_queue()
    ids = [job.msg_id for job in await dlq.list_dead_letter_jobs()]

    results = await dlq.replay_multiple_jobs(ids)

    assert [result.msg_id for result in results.replayed] == [ids[1]]
    assert [error.msg_id for error in results.errors] == [ids[0]]
    assert gone.queue_name in results.errors[0].error
    with pytest.raises(QueueNotFoundError, match=gone.queue_name):
        await dlq.replay_dead_letter_job(ids[0])


async def test_a_replay_of_nothing_says_so(dlq: DLQService) -> None:
    with pytest.raises(JobNotFoundError, match="msg_id 42"):
        await dlq.replay_dead_letter_job(42)


async def test_dead_letters_are_grouped_by_the_first_line_of_their_errors(
    queue: QueueService, dlq: DLQService
) -> None:
    await bury(queue, dlq, "Boom\ndetails 1", "Timeout", "Boom\ndetails 2")

    groups = await dlq.get_jobs_by_error_type()

    assert {error: len(jobs) for error, jobs in groups.items()} == {"Boom": 2, "Timeout": 1}
    assert list(groups) == ["Boom", "Timeout"]


async def test_all_dead_letters_are_counted_by_the_first_line_of_their_errors(
    queue: QueueService, dlq: DLQService
) -> None:
    await bury(queue, dlq, "Boom\ndetails 1", "Timeout", "Boom\ndetails 2", "Lost")
    first, _, third, _ = await dlq.list_dead_letter_jobs()

    counts = await dlq.count_by_error_type(limit=1)
    (boom,) = counts.errors

    assert (counts.total_jobs, counts.total_errors) == (4, 3)
    assert (counts.jobs_left_out, counts.errors_left_out) == (2, 2)
    assert (boom.error, boom.jobs, boom.error_message) == ("Boom", 2, "Boom\ndetails 2")
    assert (boom.first_moved_at, boom.last_moved_at) == (first.enqueued_at, third.enqueued_at)
    assert boom.msg_id == third.msg_id


async def test_metrics_count_dead_letters_and_tell_their_ages(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    empty = await dlq.get_dlq_metrics()
    await bury(queue, dlq, "a")
    clock.advance(100)
    await bury(queue, dlq, "b")
    metrics = await dlq.get_dlq_metrics()

    assert (empty.total_jobs, empty.oldest_job_age_seconds) == (0, None)
    assert metrics.total_jobs == 2
    assert metrics.oldest_job_age_seconds in {100, 101}
    assert metrics.newest_job_age_seconds in {0, 1}


async def test_dead_letters_are_deleted_one_by_one_or_all(
    queue: QueueService, dlq: DLQService
) -> None:
    await bury(queue, dlq, "a", "b", "c")
    first, *_ = await dlq.list_dead_letter_jobs()

    assert await dlq.delete_dead_letter_job(first.msg_id)
    assert not await dlq.delete_dead_letter_job(first.msg_id)
    assert await dlq.purge_dlq() == 2
    assert await dlq.purge_dlq() == 0


async def test_whatever_was_put_there_by_hand_is_shown_and_can_be_replayed(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    for message in ([1, 2], "text", None, {"error_message": "by Node", "run_id": "x"}):
        clock.admin.execute("select pgmq.send(%s, %s)", [dlq.dlq_name, Jsonb(message)])

    listed = await dlq.list_dead_letter_jobs()
    groups = await dlq.get_jobs_by_error_type()
    results = await dlq.replay_multiple_jobs([job.msg_id for job in listed])

    assert [job.message.get("message") for job in listed] == [[1, 2], "text", None, None]
    assert {error: len(jobs) for error, jobs in groups.items()} == {
        "unknown error": 3,
        "by Node": 1,
    }
    assert (results.success, results.failed) == (4, 0)
    rows = clock.admin.execute(f'select message from pgmq."q_{queue.queue_name}" order by msg_id')
    first, second, third, fourth = (row[0] for row in rows.fetchall())
    assert [first, second, third] == [[1, 2], "text", None]
    assert (fourth["run_id"], fourth["attempt"]) == ("x", 1)
    assert "error_message" not in fourth
