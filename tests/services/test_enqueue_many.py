"""Enqueueing more than one call takes: what goes in, what is told, and how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from meshhook import (
    InvalidInputError,
    QueueService,
    RejectedError,
    RepeatPolicy,
    ServerUnavailableError,
    SyncQueueService,
    UnreachableError,
    connect_sync,
)
from meshhook._defaults import MAX_BYTES_PER_CALL
from meshhook._enqueue import chunks
from meshhook.exceptions import PartialEnqueueError
from tests.jobs import job_data
from tests.services.some_jobs import interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from supabase import AsyncClient

    from meshhook.local import LocalStack
    from tests.faults import FaultInjector

AT_ONCE = RepeatPolicy(base_seconds=0)


def large_jobs(count: int) -> list[dict[str, Any]]:
    """Return jobs of which two fill a call."""
    return [job_data(metadata={"text": "x" * 2_000_000}) for _ in range(count)]


def runs(jobs: Sequence[Any]) -> list[str]:
    """Return the run of each job, which tells the jobs apart."""
    return [job["run_id"] for job in jobs]


def stored(admin: psycopg.Connection, queue_name: str) -> dict[int, str]:
    """Return the run of every job of a queue by the job's id."""
    rows = admin.execute(f"select msg_id, message ->> 'run_id' from pgmq.q_{queue_name} order by 1")
    return dict(rows.fetchall())


def sizes(faults: FaultInjector) -> list[int]:
    """Return how many jobs each call had."""
    return [len(body["messages"]) for _, body in faults.calls]


@pytest.fixture
def patient(client: AsyncClient, queue_name: str) -> QueueService:
    """The queue, through a service that repeats calls without a pause."""
    return QueueService(client, queue_name, repeat_policy=AT_ONCE)


async def test_more_jobs_than_a_call_takes_go_in_in_their_order(
    queue: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = [job_data() for _ in range(10_001)]

    batch = await queue.enqueue_many(iter(jobs))

    assert sizes(faults) == [10_000, 1]
    assert stored(admin, queue_name) == dict(zip(batch.msg_ids, runs(jobs), strict=True))
    assert list(batch.msg_ids) == sorted(batch.msg_ids)


async def test_more_bytes_than_a_call_takes_are_split(
    queue: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    small, large = job_data(), job_data(metadata={"text": "x" * (MAX_BYTES_PER_CALL + 1)})
    jobs = [*large_jobs(3), large, small]

    batch = await queue.enqueue_many(jobs)

    assert sizes(faults) == [2, 1, 1, 1]
    assert stored(admin, queue_name) == dict(zip(batch.msg_ids, runs(jobs), strict=True))


async def test_each_job_has_its_own_delay_in_whichever_call_it_goes(queue: QueueService) -> None:
    jobs = large_jobs(4)

    await queue.enqueue_many(jobs, [60, 0, 60, 0])

    due = await queue.dequeue_many(10)
    assert sorted(runs([job.message for job in due])) == sorted(runs([jobs[1], jobs[3]]))


async def test_nothing_is_sent_if_any_job_is_wrong(
    queue: QueueService, faults: FaultInjector
) -> None:
    jobs = [job_data()] * 10_000 + [job_data(run_id="x"), job_data(attempt=0)]

    with pytest.raises(InvalidInputError) as caught:
        await queue.enqueue_many(jobs)

    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["jobs[10000].run_id", "jobs[10001].attempt"]
    assert faults.calls == []


async def test_others_have_their_turn_while_a_long_list_is_checked(
    queue: QueueService, faults: FaultInjector
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await queue.enqueue_many([job_data()] * 2000)

    assert scope.cancelled_caught
    assert faults.calls == []


async def test_a_failure_tells_what_went_in_and_what_did_not(
    queue: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(5)

    error = await interrupted(
        queue, faults, lambda: faults.answer(413, "too large"), jobs, delay_seconds=5
    )

    assert isinstance(error.__cause__, RejectedError)
    assert error.status == 413
    assert (error.index, error.uncertain) == (2, 2)
    assert error.jobs == tuple(jobs[2:])
    assert error.delay_seconds == 5
    assert stored(admin, queue_name) == dict(zip(error.enqueued, runs(jobs[:2]), strict=True))


async def test_what_is_left_is_enqueued_again_and_nothing_twice(
    patient: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(5)

    error = await interrupted(
        patient, faults, lambda: faults.lose_answer(times=AT_ONCE.tries), jobs
    )
    rest = await patient.enqueue_many(
        error.jobs, error.delay_seconds, idempotency_key=error.idempotency_key
    )

    assert isinstance(error.__cause__, UnreachableError)
    msg_ids = [*error.enqueued, *rest.msg_ids]
    assert stored(admin, queue_name) == dict(zip(msg_ids, runs(jobs), strict=True))
    assert not rest.duplicate


async def test_the_whole_is_enqueued_again_under_its_key_and_nothing_twice(
    patient: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(5)
    await interrupted(
        patient,
        faults,
        lambda: faults.lose_answer(times=AT_ONCE.tries),
        jobs,
        idempotency_key="order 17",
    )

    batch = await patient.enqueue_many(jobs, idempotency_key="order 17")
    again = await patient.enqueue_many(jobs, idempotency_key="order 17")

    assert stored(admin, queue_name) == dict(zip(batch.msg_ids, runs(jobs), strict=True))
    assert again.msg_ids == batch.msg_ids
    assert again.duplicate
    assert not batch.duplicate


async def test_lost_answers_that_are_repeated_put_nothing_in_twice(
    patient: QueueService, faults: FaultInjector, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(5)
    faults.lose_answer("meshhook_enqueue", AT_ONCE.tries - 1)

    batch = await patient.enqueue_many(jobs)

    assert stored(admin, queue_name) == dict(zip(batch.msg_ids, runs(jobs), strict=True))


async def test_a_list_of_one_call_fails_with_the_error_of_that_call(
    patient: QueueService, faults: FaultInjector
) -> None:
    faults.answer(503, "down", "meshhook_enqueue", AT_ONCE.tries)

    with pytest.raises(ServerUnavailableError):
        await patient.enqueue_many([job_data(), job_data()])


@pytest.fixture
def sync_queue(stack: LocalStack, queue_name: str) -> Iterator[SyncQueueService]:
    with connect_sync(stack.url, stack.secret_key) as client:
        yield SyncQueueService(client, queue_name)


def test_the_sync_service_splits_alike(
    sync_queue: SyncQueueService, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(3)

    batch = sync_queue.enqueue_many(jobs, idempotency_key="order 17")
    again = sync_queue.enqueue_many(jobs, idempotency_key="order 17")

    assert stored(admin, queue_name) == dict(zip(batch.msg_ids, runs(jobs), strict=True))
    assert again.msg_ids == batch.msg_ids


def test_the_sync_service_tells_what_went_in(
    sync_queue: SyncQueueService, admin: psycopg.Connection, queue_name: str
) -> None:
    jobs = large_jobs(3)
    # The second call's id is spent on another number of jobs, so that the database's answer to it
    # cannot be one to these.
    sync_queue.enqueue_many([job_data(), job_data()], idempotency_key=chunks.next_key("order 17"))

    with pytest.raises(PartialEnqueueError, match="2 went in") as caught:
        sync_queue.enqueue_many(jobs, idempotency_key="order 17")

    error = caught.value
    assert [stored(admin, queue_name)[msg_id] for msg_id in error.enqueued] == runs(jobs[:2])
    assert error.jobs == (jobs[2],)
