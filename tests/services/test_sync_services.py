"""The sync services, through a real sync client: one walk through the guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshhook import SyncDLQService, SyncQueueService, connect_sync, list_queues_sync
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supabase import Client

    from meshhook.local import LocalStack


@pytest.fixture
def sync_client(stack: LocalStack) -> Iterator[Client]:
    with connect_sync(stack.url, stack.secret_key) as client:
        yield client


def test_a_job_goes_its_way_through_the_sync_service(sync_client: Client, queue_name: str) -> None:
    queue = SyncQueueService(sync_client, queue_name)
    data = job_data()

    result = queue.enqueue(data)
    queue.enqueue_many([job_data(), job_data()], 60)
    job = queue.dequeue(30)

    assert job is not None
    assert (job.msg_id, job.message.run_id) == (result.msg_id, data["run_id"])
    assert queue.extend(job)
    assert queue.retry(job, 0, "once")
    (job,) = queue.dequeue_many(10)
    assert job.attempt == 2
    assert queue.release(job)
    job = queue.dequeue()
    assert job is not None
    assert queue.acknowledge(job)
    assert queue.get_queue_metrics().invisible_jobs == 2
    (record,) = queue.find_jobs(data["run_id"])
    assert record == queue.get_job(result.msg_id)
    assert record.state == "completed"
    assert queue.delete_job(result.msg_id + 1)
    assert queue.purge_queue() == 1
    assert queue_name in {info.queue_name for info in list_queues_sync(sync_client)}


def test_a_dead_letter_goes_its_way_through_the_sync_service(
    sync_client: Client, queue_name: str
) -> None:
    queue = SyncQueueService(sync_client, queue_name)
    dlq = SyncDLQService(sync_client, f"{queue_name}_dlq")
    queue.enqueue_many([job_data() for _ in range(4)])
    for job in queue.dequeue_many(4):
        assert dlq.move_to_dead_letter(job, "boom")

    first, second, third, _ = dlq.iterate_dead_letter_jobs(page_size=2)

    assert dlq.get_dead_letter_job(first.msg_id) is not None
    assert dlq.replay_dead_letter_job(first.msg_id).target_queue == queue_name
    assert dlq.replay_multiple_jobs([second.msg_id, 999]).success == 1
    assert dlq.delete_dead_letter_job(third.msg_id)
    assert dlq.get_dlq_metrics().total_jobs == 1
    assert len(dlq.get_jobs_by_error_type()["boom"]) == 1
    assert dlq.count_by_error_type().total_jobs == 1
    assert dlq.purge_dlq() == 1
    (again,) = queue.dequeue_many(1)
    assert queue.archive_job(again)


def test_queues_are_created_and_dropped(sync_client: Client, queue_name: str) -> None:
    queue = SyncQueueService(sync_client, f"{queue_name}_more")

    assert queue.create_queue(max_attempts=3).max_attempts == 3
    assert queue.drop_queue(drop_dlq=True)
