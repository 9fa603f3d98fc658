"""Messages that something else than MeshHook has put in the queue: no worker stops over one."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given
from supabase import AsyncClient

from meshhook import DLQService, JobMessage, QueueService
from meshhook.worker import drain
from tests.jobs import job_data
from tests.properties.hostile import json_values
from tests.properties.profiles import thorough
from tests.sql.client import Api, JobQueue

MEGABYTE = 1024 * 1024

MALFORMED: dict[str, Any] = {
    "a text": "x",
    "a number": 1,
    "a list": [job_data()],
    "null": None,
    "a deep list": [[[[[[[[]]]]]]]],
    "an attempt that is a text": job_data(attempt="x"),
    "an attempt of 0": job_data(attempt=0),
    "half an attempt": job_data(attempt=1.5),
    "an endless attempt": job_data(attempt=10**30),
    "a maximum that is a list": job_data(max_attempts=[5]),
    "a maximum below 0": job_data(max_attempts=-1),
    "no ids": {},
    "an id that is missing": {"run_id": "r", "workflow_id": "w"},
    "an id that is null": job_data(project_id=None),
    "an id that is a number": job_data(run_id=17),
}

on_one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""For tests that move so much that it takes seconds, none of it in the event loop."""


def send(admin: psycopg.Connection, queue_name: str, *messages: Any) -> None:
    """Send messages as `pgmq.send` does, which looks at nothing."""
    for message in messages:
        admin.execute("select pgmq.send(%s, %s::jsonb)", [queue_name, json.dumps(message)])


@pytest.mark.parametrize("kind", MALFORMED)
async def test_what_is_no_job_is_a_dead_letter_with_the_reason(
    client: AsyncClient,
    admin: psycopg.Connection,
    queue: QueueService,
    dlq: DLQService,
    kind: str,
) -> None:
    seen: list[str] = []
    before, after = job_data(), job_data()
    send(admin, queue.queue_name, before, MALFORMED[kind], after)

    report = await drain(client, lambda job: seen.append(job.run_id), queue_name=queue.queue_name)

    assert sorted(seen) == sorted([before["run_id"], after["run_id"]])
    assert (report.succeeded, report.reason) == (2, "empty")
    (letter,) = await dlq.list_dead_letter_jobs()
    assert letter.message.error_message.startswith("MalformedMessage: ")
    assert (await queue.get_queue_metrics()).queue_length == 0


@on_one_loop
async def test_20_megabytes_that_are_no_job_are_a_dead_letter(
    client: AsyncClient, admin: psycopg.Connection, queue: QueueService, dlq: DLQService
) -> None:
    send(admin, queue.queue_name, ["x" * (20 * MEGABYTE)], job_data())

    report = await drain(client, lambda _: None, queue_name=queue.queue_name)

    assert report.succeeded == 1
    assert (await dlq.get_dlq_metrics()).total_jobs == 1


@on_one_loop
async def test_a_job_of_20_megabytes_is_a_job(
    client: AsyncClient, admin: psycopg.Connection, queue: QueueService
) -> None:
    sizes: list[int] = []
    send(admin, queue.queue_name, job_data(metadata={"text": "x" * (20 * MEGABYTE)}), job_data())

    def measure(job: JobMessage) -> None:
        sizes.append(len(job.metadata.get("text", "")))

    report = await drain(client, measure, queue_name=queue.queue_name)

    assert (sorted(sizes), report.succeeded) == ([0, 20 * MEGABYTE], 2)


def test_any_message_is_handed_out_or_is_a_dead_letter(
    admin: psycopg.Connection, queue_name: str
) -> None:
    """Neither hides the other, and none is lost."""
    queue = JobQueue(Api(admin), queue_name)

    @thorough(60)
    @given(json_values)
    def check(message: Any) -> None:
        text = json.dumps(getattr(message, "value", message))
        try:
            admin.execute("select pgmq.send(%s, %s::jsonb)", [queue_name, text])
        except psycopg.DataError:
            return  # Postgres itself does not hold it
        queue.send({"run_id": "r"})
        claimed = queue.claim_all()
        kept = [job for job in claimed if job["message"].get("run_id") == "r"]
        assert kept
        dead = queue.dlq.letters()
        assert len(claimed) + len(dead) == 2
        assert all(letter["message"]["error_message"] for letter in dead)
        queue.acknowledge(*claimed)
        queue.dlq.as_queue.purge()

    check()


@pytest.mark.parametrize(
    "message",
    [["x"], "x", None, 1, job_data(attempt="x")],
    ids=["list", "text", "null", "number", "attempt that is a text"],
)
def test_a_malformed_message_comes_back_from_the_dead_as_it_was(
    admin: psycopg.Connection, queue_name: str, message: Any
) -> None:
    queue = JobQueue(Api(admin), queue_name)
    send(admin, queue_name, message)
    assert queue.claim(10) == []

    (answer,) = queue.dlq.replay(queue.dlq.one()["msg_id"])

    assert answer["status"] == "replayed"
    (row,) = queue.rows()
    if isinstance(message, dict):
        assert row["message"]["attempt"] == 1
        assert row["message"]["run_id"] == message["run_id"]
    else:
        assert row["message"] == message
