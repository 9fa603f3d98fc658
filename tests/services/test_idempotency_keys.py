"""A key for each job of a batch, through the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from meshhook import (
    EnqueueResult,
    InvalidInputError,
    QueueService,
    RepeatPolicy,
    SyncQueueService,
    connect_sync,
)
from tests.jobs import job_data
from tests.services.some_jobs import interrupted, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from supabase import AsyncClient

    from meshhook.local import LocalStack
    from tests.faults import FaultInjector

AT_ONCE = RepeatPolicy(base_seconds=0)


@pytest.fixture
def patient(client: AsyncClient, queue_name: str) -> QueueService:
    """The queue, through a service that repeats calls without a pause."""
    return QueueService(client, queue_name, repeat_policy=AT_ONCE)


def jobs_of(count: int, size: int = 0) -> list[dict[str, Any]]:
    return [job_data(metadata={"text": "x" * size}) for _ in range(count)]


async def test_each_job_goes_in_once_for_its_key(
    queue: QueueService, stored: Callable[[], list[str]]
) -> None:
    jobs = jobs_of(6)
    one = await queue.enqueue(jobs[0], idempotency_key="a")

    batch = await queue.enqueue_many(jobs[1:], idempotency_keys=iter(["a", "b", None, "b", "c"]))
    again = await queue.enqueue_many(jobs[2:4], idempotency_keys=["b", "c"])
    last = await queue.enqueue(jobs[0], idempotency_key="c")

    assert batch[0] == EnqueueResult(msg_id=one.msg_id, duplicate=True)
    assert batch[3] == EnqueueResult(msg_id=batch[1].msg_id, duplicate=True)
    assert [result.duplicate for result in batch] == [True, False, False, True, False]
    assert batch.duplicate is False
    assert (again.msg_ids, again.duplicate) == ((batch[1].msg_id, batch[4].msg_id), True)
    assert last == EnqueueResult(msg_id=batch[4].msg_id, duplicate=True)
    assert stored() == runs([jobs[0], jobs[2], jobs[3], jobs[5]])


async def test_a_repeat_after_a_lost_answer_gets_the_first_answer(
    patient: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = jobs_of(3)
    faults.lose_answer("meshhook_enqueue", AT_ONCE.tries - 1)

    batch = await patient.enqueue_many(jobs, idempotency_keys=["a", None, "a"])

    assert batch.duplicates == (False, False, True)
    assert stored() == runs(jobs[:2])


async def test_a_list_of_several_calls_goes_on_after_a_failure(
    patient: QueueService, faults: FaultInjector, stored: Callable[[], list[str]]
) -> None:
    jobs = jobs_of(4, 2_000_000)

    error = await interrupted(
        patient,
        faults,
        lambda: faults.lose_answer(times=AT_ONCE.tries),
        jobs,
        idempotency_keys=["a", "b", "c", None],
    )
    assert error.idempotency_keys == ("c", None)
    assert "with error.idempotency_keys" in str(error)
    rest = await patient.enqueue_many(
        error.jobs,
        error.delay_seconds,
        run_at=error.run_at,
        idempotency_key=error.idempotency_key,
        idempotency_keys=error.idempotency_keys,
    )

    assert len({*error.enqueued, *rest.msg_ids}) == 4
    assert stored() == runs(jobs)


async def test_a_key_that_another_batch_is_using_is_waited_for(
    patient: QueueService, stored: Callable[[], list[str]]
) -> None:
    keys = [f"key {number}" for number in range(50)]
    jobs = jobs_of(50)

    async def many(keys: list[str]) -> None:
        await patient.enqueue_many(jobs, idempotency_keys=keys)

    async def one(key: str) -> None:
        await patient.enqueue(jobs[0], idempotency_key=key)

    async with anyio.create_task_group() as group:
        for order in (keys, keys[::-1], keys[25:] + keys[:25]):
            group.start_soon(many, order)
        for key in keys[::10]:
            group.start_soon(one, key)

    assert len(stored()) == 50


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (["a"], "idempotency_keys"),
        ("ab", "idempotency_keys"),
        (["a", ""], "idempotency_keys[1]"),
        ([5, "a"], "idempotency_keys[0]"),
        (["a", "whole"], "idempotency_key"),
    ],
    ids=["too few", "a text", "empty", "a number", "that of the whole"],
)
async def test_keys_that_make_no_sense_are_refused_before_anything_is_sent(
    queue: QueueService, faults: FaultInjector, keys: Any, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await queue.enqueue_many(jobs_of(2), idempotency_key="whole", idempotency_keys=keys)

    assert [problem.field for problem in caught.value.problems] == [field]
    assert faults.calls == []


def test_the_sync_service_takes_keys_too(
    stack: LocalStack, queue_name: str, stored: Callable[[], list[str]]
) -> None:
    jobs = jobs_of(2)
    with connect_sync(stack.url, stack.secret_key) as client:
        queue = SyncQueueService(client, queue_name)
        batch = queue.enqueue_many(jobs, idempotency_keys=["a", "a"])

    assert batch.duplicates == (False, True)
    assert stored() == runs(jobs[:1])
