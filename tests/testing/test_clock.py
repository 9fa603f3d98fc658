"""Moving the time of a test's queues on."""

from __future__ import annotations

import math
import uuid
from typing import Any

import httpx
import psycopg
import pytest

from meshhook import DLQService, InvalidInputError, JobMessage, QueueService, SyncQueueService
from meshhook.local import LocalStack
from meshhook.testing import QueueClock, QueueFactory, QueueUnderTest
from tests.jobs import job_data


async def test_a_delay_is_over_when_its_time_has_come(
    meshhook_queue_service: QueueService, meshhook_clock: QueueClock
) -> None:
    await meshhook_queue_service.enqueue(job_data(), 3600)

    meshhook_clock.advance(3590)
    assert await meshhook_queue_service.dequeue() is None
    meshhook_clock.advance(10)
    assert await meshhook_queue_service.dequeue() is not None


async def test_a_lease_ends(
    meshhook_queue_service: QueueService, meshhook_clock: QueueClock
) -> None:
    await meshhook_queue_service.enqueue(job_data())
    first = await meshhook_queue_service.dequeue(30)
    assert first is not None

    meshhook_clock.advance(30)
    second = await meshhook_queue_service.dequeue(30)

    assert second is not None
    assert second.attempt == 2
    assert await meshhook_queue_service.acknowledge(first) is False


async def test_a_job_goes_through_all_its_attempts(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService, meshhook_clock: QueueClock
) -> None:
    def fail(_: JobMessage) -> None:
        message = "always"
        raise OSError(message)

    await meshhook_queue_service.enqueue(job_data())

    attempts: list[int | None] = []
    for base_delay_seconds in (1, 2, 4, 8, 16):
        attempts += [job.attempt for job in (await meshhook_queue.drain(fail)).jobs]
        meshhook_clock.advance(2 * base_delay_seconds)

    assert attempts == [1, 2, 3, 4, 5]
    (letter,) = meshhook_queue.dead_letters()
    assert letter.message.error_message == "OSError: always"


async def test_ages_and_history_are_older(
    meshhook_queue: QueueUnderTest,
    meshhook_queue_service: QueueService,
    meshhook_dlq_service: DLQService,
    meshhook_clock: QueueClock,
    meshhook_admin: psycopg.Connection,
) -> None:
    batch = await meshhook_queue_service.enqueue_many([job_data(), job_data(), job_data()])
    job = await meshhook_queue_service.dequeue()
    assert job is not None
    await meshhook_dlq_service.move_to_dead_letter(job, "given up")
    archived = await meshhook_queue_service.dequeue()
    assert archived is not None
    await meshhook_queue_service.archive_job(archived)

    meshhook_clock.advance(7200)

    assert (await meshhook_queue_service.get_queue_metrics()).oldest_msg_age_seconds == 7200
    assert (await meshhook_dlq_service.get_dlq_metrics()).oldest_job_age_seconds == 7200
    record = await meshhook_queue_service.get_job(batch.msg_ids[0])
    assert record is not None
    assert record.finished_at is not None
    assert record.finished_at.timestamp() == pytest.approx(
        job.enqueued_at.timestamp() - 7200, abs=5
    )
    pruned = meshhook_admin.execute(
        "select public.meshhook_prune(%s, %s)", [7199 / 86400, meshhook_queue.name]
    ).fetchone()
    assert pruned is not None
    assert (pruned[0]["jobs"], pruned[0]["archived"]) == (2, 1)


async def test_an_idempotency_key_is_forgotten(
    meshhook_queue_service: QueueService, meshhook_clock: QueueClock
) -> None:
    async def enqueue() -> int:
        result = await meshhook_queue_service.enqueue(
            job_data(), idempotency_key="key", idempotency_seconds=60
        )
        return result.msg_id

    first = await enqueue()
    meshhook_clock.advance(59)
    assert await enqueue() == first
    meshhook_clock.advance(1)
    assert await enqueue() != first


def test_the_quota_of_a_user_is_there_again(
    meshhook_queue: QueueUnderTest,
    meshhook_clock: QueueClock,
    meshhook_admin: psycopg.Connection,
    meshhook_stack: LocalStack,
) -> None:
    name = meshhook_queue.name
    allow = "select public.meshhook_allow_user_enqueue(%s, quota => 2, per_seconds => 60)"
    meshhook_admin.execute(allow, [name])
    token = meshhook_stack.token("authenticated", sub=str(uuid.uuid4()))

    def enqueue() -> int:
        answer = httpx.post(
            f"{meshhook_stack.rest_url}/rpc/meshhook_user_enqueue",
            json={"queue_name": name, "message": job_data()},
            headers={"apikey": meshhook_stack.anon_key, "Authorization": f"Bearer {token}"},
        )
        return answer.status_code

    statuses = [enqueue(), enqueue(), enqueue()]
    meshhook_clock.advance(60)
    statuses.append(enqueue())
    # The right to call stays when the queue goes, and other tests look at rights.
    meshhook_admin.execute("select public.meshhook_disallow_user_enqueue(%s)", [name])

    assert statuses == [200, 200, 429, 200]


def test_a_queue_that_is_gone_has_no_time(
    meshhook_sync_queue_service: SyncQueueService, meshhook_clock: QueueClock
) -> None:
    assert meshhook_sync_queue_service.drop_queue(drop_dlq=True)

    meshhook_clock.advance(60)


def test_only_the_queues_of_the_test_are_older(
    meshhook_queues: QueueFactory,
    meshhook_clock: QueueClock,
    meshhook_sync_client: Any,
    queue_name: str,
) -> None:
    mine, other = meshhook_queues(), meshhook_queues()
    for name in (mine.name, other.name, queue_name):
        SyncQueueService(meshhook_sync_client, name).enqueue(job_data())

    meshhook_clock.advance(100)

    ages = [
        SyncQueueService(meshhook_sync_client, name).get_queue_metrics().oldest_msg_age_seconds
        for name in (mine.name, other.name, queue_name)
    ]
    assert ages == [100, 100, 0]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "60", None])
def test_time_moves_on_only(meshhook_clock: QueueClock, seconds: Any) -> None:
    with pytest.raises(InvalidInputError, match="seconds"):
        meshhook_clock.advance(seconds)
