"""The messages of the original system: a Node MeshHook and a Python one share a queue."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest
from supabase import AsyncClient

from meshhook import DLQService, QueueService
from meshhook.worker import drain
from tests.jobs import job_data
from tests.sql.client import Api, JobQueue

NODE_JOB: dict[str, Any] = {
    **job_data(),
    "attempt": 1,
    "max_attempts": 5,
    "enqueued_at": "2026-01-10T12:00:00.000Z",
    "metadata": {"source": "webhook", "priority": "high", "nested": [1, 2.5, None, "é\U0001f600"]},
}
"""What a Node MeshHook sends."""

NODE_LETTER: dict[str, Any] = {
    **NODE_JOB,
    "attempt": 5,
    "last_error": "Error: boom",
    "last_error_at": "2026-01-10T12:05:00.000Z",
    "error_message": "Error: boom",
    "error_stack": "Error: boom\n    at job (/app/worker.js:1:1)",
    "moved_to_dlq_at": "2026-01-10T12:06:00.000Z",
    "original_msg_id": 17,
    "original_enqueued_at": "2026-01-10T12:00:00.000Z",
    "read_count": 5,
}
"""What a Node MeshHook puts in the dead letter queue."""

# What `new Date(text)` of ECMAScript reads: with a T, and Z or an offset with a colon.
JAVASCRIPT_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


@pytest.fixture
def sql(admin: psycopg.Connection, queue_name: str) -> JobQueue:
    """The queue as SQL sees it."""
    return JobQueue(Api(admin), queue_name)


def send(sql: JobQueue, message: dict[str, Any], queue_name: str | None = None) -> int:
    """Send a message as Node does, by PGMQ's own function."""
    text = json.dumps(message)
    sent = sql.api.value("select pgmq.send(%s, %s::jsonb)", queue_name or sql.name, text)
    return int(sent)


async def test_a_job_that_node_sent_is_a_job(sql: JobQueue, queue: QueueService) -> None:
    msg_id = send(sql, NODE_JOB)

    job = await queue.dequeue()

    assert job is not None
    assert (job.msg_id, job.attempt, job.max_attempts) == (msg_id, 1, 5)
    assert dict(job.message) == NODE_JOB
    assert await queue.acknowledge(msg_id)


async def test_an_attempt_that_node_counted_goes_on(
    client: AsyncClient, sql: JobQueue, dlq: DLQService
) -> None:
    """Node writes the next attempt into the message itself; the fifth of five is the last."""
    send(sql, {**NODE_JOB, "attempt": 5, "last_error": "Error: boom"})

    def fail(_: object) -> None:
        raise ValueError("bang")

    report = await drain(client, fail, queue_name=sql.name)

    assert report.moved_to_dlq == 1
    (letter,) = await dlq.list_dead_letter_jobs()
    assert (letter.message.attempt, letter.message.error_message) == (5, "ValueError: bang")


async def test_a_message_is_flat_and_has_what_node_reads(
    sql: JobQueue, queue: QueueService
) -> None:
    data = job_data(metadata={"a": 1})
    await queue.enqueue(data)

    message = sql.row()["message"]

    state = message.pop("_meshhook")
    assert isinstance(state, dict)
    assert JAVASCRIPT_DATE.fullmatch(message.pop("enqueued_at"))
    assert message == {**data, "attempt": 1, "max_attempts": 5}


async def test_a_retry_leaves_what_node_reads(sql: JobQueue, queue: QueueService) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None
    await queue.retry(job, error_message="ValueError: boom")

    message = sql.row()["message"]

    assert (message["attempt"], message["max_attempts"]) == (2, 5)
    assert message["last_error"] == "ValueError: boom"
    assert JAVASCRIPT_DATE.fullmatch(message["last_error_at"])


async def test_a_dead_letter_has_what_node_reads(
    sql: JobQueue, queue: QueueService, dlq: DLQService
) -> None:
    data = job_data()
    result = await queue.enqueue(data)
    job = await queue.dequeue()
    assert job is not None
    await dlq.move_to_dead_letter(job, "ValueError: boom", "File x")

    message = sql.dlq.as_queue.row()["message"]

    assert {name: message[name] for name in data} == data
    assert message["error_message"] == "ValueError: boom"
    assert message["error_stack"] == "File x"
    assert (message["original_msg_id"], message["read_count"]) == (result.msg_id, 1)
    for name in ("moved_to_dlq_at", "original_enqueued_at", "enqueued_at"):
        assert JAVASCRIPT_DATE.fullmatch(message[name]), name


async def test_a_dead_letter_of_node_is_seen_and_replayed(
    sql: JobQueue, queue: QueueService, dlq: DLQService
) -> None:
    letter_id = send(sql, NODE_LETTER, sql.dlq.name)

    (letter,) = await dlq.list_dead_letter_jobs()
    assert dict(letter.message) == NODE_LETTER
    assert list(await dlq.get_jobs_by_error_type()) == ["Error: boom"]
    result = await dlq.replay_dead_letter_job(letter_id)

    job = await queue.dequeue()
    assert job is not None
    assert (job.msg_id, job.attempt) == (result.new_msg_id, 1)
    assert {name: job.message[name] for name in NODE_JOB} == NODE_JOB
    assert "error_message" not in job.message


async def test_node_may_settle_what_python_sent(sql: JobQueue, queue: QueueService) -> None:
    """By PGMQ's own functions, which know nothing of receipts: a Python worker is told."""
    await queue.enqueue_many([job_data(), job_data()])
    first, second = await queue.dequeue_many(2)
    sql.api.value("select pgmq.delete(%s, %s)", sql.name, first.msg_id)
    sql.api.value("select pgmq.archive(%s, %s)", sql.name, second.msg_id)

    assert await queue.acknowledge_many([first, second]) == [False, False]
    assert (await queue.get_queue_metrics()).queue_length == 0
