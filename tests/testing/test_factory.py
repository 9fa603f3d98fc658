"""The queues of a test come and go without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from meshhook import SyncDLQService, SyncQueueService
from meshhook.testing import QueueFactory, QueueUnderTest
from tests.jobs import job_data


def names(admin: psycopg.Connection) -> set[str]:
    return {str(name) for (name,) in admin.execute("select queue_name from pgmq.meta").fetchall()}


@pytest.fixture
def factory(
    admin: psycopg.Connection, meshhook_client: Any, meshhook_sync_client: Any
) -> Iterator[QueueFactory]:
    factory = QueueFactory(admin, meshhook_client, meshhook_sync_client)
    yield factory
    factory.close()


def test_a_queue_is_gone_after_the_test(admin: psycopg.Connection, factory: QueueFactory) -> None:
    before = names(admin)
    first, second, named = factory(), factory(), factory("test_a_name")

    assert names(admin) - before == {
        *(first.name, second.name, named.name),
        *(first.dlq_name, second.dlq_name, named.dlq_name),
    }
    factory.close()
    assert names(admin) == before


def test_a_queue_that_was_there_is_emptied_and_keeps_its_settings(
    factory: QueueFactory, queue_name: str, meshhook_sync_client: Any
) -> None:
    service = SyncQueueService(meshhook_sync_client, queue_name)
    service.create_queue(max_attempts=9)
    fill(service, SyncDLQService(meshhook_sync_client, f"{queue_name}_dlq"))

    queue = factory(queue_name)

    assert_untouched(service, queue)
    fill(service, SyncDLQService(meshhook_sync_client, f"{queue_name}_dlq"))
    factory.close()
    assert_untouched(service, queue)
    assert service.create_queue().max_attempts == 9


def fill(service: SyncQueueService, dlq: SyncDLQService) -> None:
    """Leave something everywhere: waiting, dead, archived, finished, remembered, paused."""
    service.enqueue(job_data(), idempotency_key="key")
    service.enqueue_many([job_data(), job_data(), job_data()])
    dead, archived, done = service.dequeue_many(3)
    assert dlq.move_to_dead_letter(dead, "given up")
    assert service.archive_job(archived)
    assert service.acknowledge(done)
    assert service.pause_queue()


def assert_untouched(service: SyncQueueService, queue: QueueUnderTest) -> None:
    queue.refute_enqueued()
    assert queue.dead_letters() == []
    assert service.get_job(1) is None
    result = service.enqueue(job_data(), idempotency_key="key")
    assert (result.msg_id, result.duplicate) == (1, False)
    assert service.dequeue() is not None
    service.purge_queue()


def test_a_queue_that_is_asked_for_again_is_not_emptied_again(
    factory: QueueFactory, queue_name: str, meshhook_sync_client: Any
) -> None:
    factory(queue_name)
    SyncQueueService(meshhook_sync_client, queue_name).enqueue(job_data())

    factory(queue_name).assert_enqueued(count=1)
    assert factory.names == [queue_name]


def test_a_test_may_drop_its_queues_itself(
    factory: QueueFactory, queue_name: str, meshhook_sync_client: Any
) -> None:
    for queue in (factory(), factory(queue_name)):
        SyncQueueService(meshhook_sync_client, queue.name).drop_queue(drop_dlq=True)

    factory.close()

    assert factory.names == []
