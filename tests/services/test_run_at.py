"""Times and timedeltas wherever there is a delay, through the services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from meshhook import InvalidInputError, QueueService, RepeatPolicy, SyncQueueService, connect_sync
from meshhook.exceptions import PartialEnqueueError
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from supabase import AsyncClient

    from meshhook.local import LocalStack
    from tests.faults import FaultInjector

NINE = datetime.now(timezone(timedelta(hours=1))).replace(hour=9, microsecond=0) + timedelta(days=2)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def due(admin: psycopg.Connection, queue_name: str) -> Callable[[], list[datetime | float]]:
    """Tell when each job is due: its time, or in about how many seconds if within the hour."""

    def look() -> list[datetime | float]:
        rows = admin.execute(
            f"select vt, extract(epoch from vt - enqueued_at)::float from pgmq.q_{queue_name}"
            " order by msg_id"
        )
        return [vt if seconds > 3600 else round(seconds) for vt, seconds in rows]

    return look


async def test_one_job_is_due_at_its_time(
    queue: QueueService, due: Callable[[], list[Any]], faults: FaultInjector
) -> None:
    await queue.enqueue(job_data(), run_at=NINE)
    await queue.enqueue(job_data(), run_at=datetime(2001, 1, 1, tzinfo=UTC))
    await queue.enqueue(job_data(), MINUTE)

    assert due() == [NINE, 0, 60]
    assert "run_at" not in faults.calls[-1][1]


async def test_many_jobs_are_due_at_one_time_or_each_at_its_own(
    queue: QueueService, due: Callable[[], list[Any]]
) -> None:
    await queue.enqueue_many([job_data(), job_data()], run_at=NINE)
    await queue.enqueue_many([job_data(), job_data()], [MINUTE, 0], run_at=[None, NINE])
    await queue.enqueue_many([job_data(), job_data()], 5, run_at=[None, None])

    assert due() == [NINE, NINE, 60, NINE, 5, 5]


async def test_a_buffer_keeps_times(queue: QueueService, due: Callable[[], list[Any]]) -> None:
    async with queue.buffered(max_delay_seconds=MINUTE, grace_seconds=MINUTE) as out:
        await out.enqueue(job_data(), run_at=NINE)
        await out.enqueue(job_data(), MINUTE)
        await out.enqueue(job_data())

    assert due() == [NINE, 60, 0]


async def test_what_a_buffer_hands_back_can_be_enqueued_with_its_times(
    client: AsyncClient, queue_name: str, due: Callable[[], list[Any]], faults: FaultInjector
) -> None:
    queue = QueueService(client, queue_name, repeat_policy=RepeatPolicy(tries=1))
    faults.lose_answer("meshhook_enqueue", 2)

    async def produce() -> None:
        async with queue.buffered() as out:
            await out.enqueue(job_data(), run_at=NINE)
            await out.enqueue(job_data(), MINUTE)

    with pytest.raises(PartialEnqueueError) as caught:
        await produce()
    faults.clear()
    error = caught.value
    assert error.run_at == (NINE, None)
    again = await queue.enqueue_many(
        error.jobs, error.delay_seconds, run_at=error.run_at, idempotency_key=error.idempotency_key
    )

    assert again.duplicate
    assert due() == [NINE, 60]


async def test_a_claimed_job_is_handed_back_for_a_time(
    queue: QueueService, due: Callable[[], list[Any]]
) -> None:
    await queue.enqueue_many([job_data(), job_data()])
    one, two = await queue.dequeue_many(2, timedelta(seconds=30))

    assert await queue.extend(one, timedelta(seconds=60))
    assert await queue.retry(one, run_at=NINE, error_message="busy")
    assert await queue.release(two, run_at=NINE)

    assert due() == [NINE, NINE]


def test_the_sync_service_takes_times_too(
    stack: LocalStack, queue_name: str, due: Callable[[], list[Any]]
) -> None:
    with connect_sync(stack.url, stack.secret_key) as client:
        queue = SyncQueueService(client, queue_name)
        queue.create_queue(vt_seconds=MINUTE)
        queue.enqueue(job_data(), run_at=NINE)
        queue.enqueue_many([job_data()], run_at=[NINE])
        queue.enqueue(job_data(), idempotency_key="k", idempotency_seconds=MINUTE)
        with queue.buffered() as out:
            out.enqueue(job_data(), run_at=NINE)
        job = queue.dequeue(MINUTE)
        assert job is not None
        queue.retry(job, run_at=NINE)
        queue.release(job.msg_id, run_at=NINE + MINUTE)

    assert due() == [NINE, NINE, NINE + MINUTE, NINE]


@pytest.mark.parametrize(
    ("delay", "run_at", "fields"),
    [
        (1, NINE, ["run_at"]),
        (0, NINE.replace(tzinfo=None), ["run_at"]),
        ([0, 1], NINE, ["run_at"]),
        (1, [None, NINE], ["run_at[1]"]),
        ([0, 1], [NINE, NINE], ["run_at[1]"]),
        (0, [NINE], ["run_at"]),
        (0, [NINE.replace(tzinfo=None), 5], ["run_at[0]", "run_at[1]"]),
        (-MINUTE, NINE, ["delay_seconds"]),
    ],
    ids=[
        "both",
        "naive",
        "a delay in the list",
        "a time in the list",
        "two lists",
        "too few",
        "none of the list",
        "negative",
    ],
)
async def test_times_that_make_no_sense_are_refused_before_anything_is_sent(
    queue: QueueService, faults: FaultInjector, delay: Any, run_at: Any, fields: list[str]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await queue.enqueue_many([job_data(), job_data()], delay, run_at=run_at)

    assert [problem.field for problem in caught.value.problems] == fields
    assert faults.calls == []


async def test_a_time_and_a_delay_are_refused_by_both_names(queue: QueueService) -> None:
    with pytest.raises(InvalidInputError, match="give run_at or delay_seconds, not both"):
        await queue.enqueue(job_data(), 5, run_at=NINE)
