"""The loop: how much is claimed, from where and when."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import anyio
import pytest
from supabase import AsyncClient

from meshhook import InvalidInputError, JobMessage, QueueService, Worker
from meshhook.worker.queues import Turns, WorkedQueue
from tests.faults import FaultInjector, verbs
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing


def quantities(faults: FaultInjector) -> list[int]:
    return [
        body["quantity"] for function, body in faults.calls if "meshhook_dequeue" in verbs(function)
    ]


@pytest.mark.parametrize(("prefetch", "first", "second"), [(0, 3, 1), (2, 5, 1)])
async def test_no_more_is_claimed_than_there_is_room_for(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    prefetch: int,
    first: int,
    second: int,
) -> None:
    await queue.enqueue_many([job_data() for _ in range(10)])
    started: list[anyio.Event] = []
    may_finish = [anyio.Event() for _ in range(10)]

    async def handler(_: JobMessage) -> None:
        mine = may_finish[len(started)]
        started.append(mine)
        await mine.wait()

    async with make_worker(handler, concurrency=3, prefetch=prefetch):
        await faults.wait_answered("meshhook_dequeue")
        may_finish[0].set()
        await faults.wait_answered("meshhook_dequeue", 2)
        for event in may_finish:
            event.set()

    assert quantities(faults)[:2] == [first, second]


async def test_never_more_handlers_run_than_concurrency_allows(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(30)])
    running: set[str] = set()
    most: list[int] = []

    async def handler(message: JobMessage) -> None:
        running.add(message.run_id)
        most.append(len(running))
        await anyio.wait_all_tasks_blocked()
        running.discard(message.run_id)

    async with make_worker(handler, concurrency=4, prefetch=10):
        await events.wait("succeeded", times=30)

    assert max(most) == 4


async def test_an_idle_worker_asks_once_in_a_poll_interval(
    faults: FaultInjector, make_worker: MakeWorker
) -> None:
    begin = time.monotonic()
    async with make_worker(do_nothing, poll_interval_ms=50):
        await faults.wait_answered("meshhook_dequeue", 6)
    elapsed = time.monotonic() - begin

    # The first pause is of any length, so that workers started together do not poll in step.
    assert elapsed >= 4 * 0.05


async def test_a_busy_queue_is_asked_again_at_once(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(9)])

    # An hour between polls, so only a full claim can be followed by another.
    async with make_worker(do_nothing, concurrency=3, poll_interval_ms=3_600_000):
        await events.wait("succeeded", times=9)

    assert faults.count("meshhook_dequeue") <= 4


async def test_quick_handlers_are_settled_in_few_calls(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(500)])

    async with make_worker(do_nothing, concurrency=500):
        await events.wait("succeeded", times=500)

    assert faults.count("meshhook_settle") <= 10


async def test_a_slow_job_holds_up_no_other_jobs_settlement(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    slow, quick = [job_data(), job_data()]
    await queue.enqueue_many([slow, quick])

    async def handler(message: JobMessage) -> None:
        if message.run_id == slow["run_id"]:
            await events.wait("succeeded")

    async with make_worker(handler):
        await events.wait("succeeded", times=2)

    assert [event.run_id for event in events.of("succeeded")] == [quick["run_id"], slow["run_id"]]


async def test_several_queues_are_worked_on_by_one_worker(
    client: AsyncClient, queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    other = QueueService(client, f"{queue.queue_name}_other")
    await other.create_queue()
    await queue.enqueue(job_data())
    await other.enqueue(job_data())

    async with make_worker(do_nothing, queue_name=[queue.queue_name, other.queue_name]):
        await events.wait("succeeded", times=2)

    assert {event.queue_name for event in events.of("succeeded")} == {
        queue.queue_name,
        other.queue_name,
    }
    await other.drop_queue(drop_dlq=True)


async def test_a_low_queue_is_not_starved_by_a_high_one(
    client: AsyncClient, queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    low = QueueService(client, f"{queue.queue_name}_low")
    await low.create_queue()
    await queue.enqueue_many([job_data() for _ in range(40)])
    await low.enqueue_many([job_data() for _ in range(10)])

    weights = {queue.queue_name: 3, low.queue_name: 1}
    async with make_worker(do_nothing, queue_name=weights, concurrency=1):
        await events.wait("started", times=40)
        share = Counter(event.queue_name for event in events.of("started")[:40])

    assert share == {queue.queue_name: 30, low.queue_name: 10}
    await low.drop_queue(drop_dlq=True)


def test_turns_are_in_proportion_to_the_weights() -> None:
    queues = (WorkedQueue("a", 5), WorkedQueue("b", 2), WorkedQueue("c", 1))
    turns = Turns(queues)

    first = [turns.due(now=1.0)[0].name for _ in range(80)]

    assert Counter(first) == {"a": 50, "b": 20, "c": 10}
    assert max(len(run) for run in "".join(first).split("c")) <= 10


def test_a_queue_whose_time_has_not_come_gets_no_turn() -> None:
    early, late = WorkedQueue("early"), WorkedQueue("late", next_poll=100.0)
    turns = Turns((early, late))

    assert turns.due(now=1.0) == [early]
    assert turns.next_due() == 0.0


BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"poll_interval_ms": 0}, "poll_interval_ms is 0"),
    ({"poll_interval_ms": 1.5}, "poll_interval_ms is 1.5"),
    ({"visibility_timeout_seconds": 0}, "visibility_timeout_seconds is 0"),
    ({"visibility_timeout_seconds": -1}, "visibility_timeout_seconds is -1"),
    ({"visibility_timeout_seconds": float("nan")}, "visibility_timeout_seconds is nan"),
    ({"concurrency": 0}, "concurrency is 0"),
    ({"concurrency": True}, "concurrency is True"),
    ({"prefetch": -1}, "prefetch is -1"),
    ({"job_timeout_seconds": 0}, "job_timeout_seconds is 0"),
    ({"grace_seconds": -1}, "grace_seconds is -1"),
    ({"queue_name": []}, "queue_name is empty"),
    ({"queue_name": "Upper"}, "queue_name is 'Upper'"),
    ({"queue_name": {"a": 0}}, r"queue_name\['a'\] is 0"),
    ({"retry_config": {"max_retries": 3}}, "max_retries"),
    ({"retry_config": {"max_attempts": 0}}, "max_attempts is 0"),
    ({"fatal_exceptions": ["ValueError"]}, r"fatal_exceptions\[0\] is 'ValueError'"),
]


@pytest.mark.parametrize(("settings", "text"), BAD_SETTINGS, ids=[str(s) for s, _ in BAD_SETTINGS])
async def test_a_bad_setting_is_refused_by_name(
    client: AsyncClient, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInputError, match=text):
        Worker(client, do_nothing, **{"queue_name": "q", **settings})
