"""P3: a lost answer is harmless: every call can be repeated and has its effect once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook import (
    DLQService,
    EnqueueBatch,
    EnqueueResult,
    Job,
    QueueInfo,
    QueueMetrics,
    QueueService,
    RepeatPolicy,
    ReplayResult,
    ReplaySummary,
)
from tests.jobs import job_data
from tests.locks import wait_until_blocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supabase import AsyncClient

    from meshhook.local import LocalStack
    from tests.faults import FaultInjector


AT_ONCE = RepeatPolicy(base_seconds=0)


class Scene:
    """A queue with one claimed job, one waiting job, and two dead letters."""

    def __init__(self, client: AsyncClient, queue_name: str) -> None:
        self.client = client
        self.queue = QueueService(client, queue_name, repeat_policy=AT_ONCE)
        self.dlq = DLQService(client, f"{queue_name}_dlq", repeat_policy=AT_ONCE)
        self.job: Job
        self.waiting: int
        self.dead: list[int]

    async def prepare(self) -> None:
        """Set the scene; ids begin at 1, so two scenes are alike."""
        await self.queue.create_queue()
        await self.queue.enqueue_many([job_data() for _ in range(3)])
        first, second, self.job = await self.queue.dequeue_many(3)
        for job in (first, second):
            await self.dlq.move_to_dead_letter(job, "boom")
        self.dead = [job.msg_id for job in await self.dlq.list_dead_letter_jobs()]
        self.waiting = (await self.queue.enqueue(job_data())).msg_id

    async def look(self) -> dict[str, Any]:
        """Return whatever would show that something happened twice, or not at all."""
        metrics = await self.queue.get_queue_metrics()
        view = self.client.table("job_statistics").select("completed_jobs,failed_jobs")
        statistics = await view.eq("queue_name", self.queue.queue_name).single().execute()
        record = await self.queue.get_job(self.job.msg_id)
        return {
            "length": metrics.queue_length,
            "visible": metrics.visible_jobs,
            "dead": [job.msg_id for job in await self.dlq.list_dead_letter_jobs()],
            "statistics": statistics.data,
            "job": record and (record.state, record.attempt, record.read_ct, len(record.attempts)),
        }


CALLS: dict[str, tuple[str, Callable[[Scene], Awaitable[Any]]]] = {
    "enqueue": ("meshhook_enqueue", lambda s: s.queue.enqueue(job_data())),
    "enqueue with key": (
        "meshhook_enqueue",
        lambda s: s.queue.enqueue(job_data(), idempotency_key="k"),
    ),
    "enqueue_many": ("meshhook_enqueue", lambda s: s.queue.enqueue_many([job_data(), job_data()])),
    "dequeue": ("meshhook_dequeue", lambda s: s.queue.dequeue(30)),
    "dequeue_many": ("meshhook_dequeue", lambda s: s.queue.dequeue_many(10, 30)),
    "acknowledge": ("meshhook_acknowledge", lambda s: s.queue.acknowledge(s.job)),
    "acknowledge by id": ("meshhook_acknowledge", lambda s: s.queue.acknowledge(s.job.msg_id)),
    "archive_job": ("meshhook_archive", lambda s: s.queue.archive_job(s.job)),
    "retry": ("meshhook_retry", lambda s: s.queue.retry(s.job, 60, "once")),
    "release": ("meshhook_release", lambda s: s.queue.release(s.job)),
    "extend": ("meshhook_extend", lambda s: s.queue.extend(s.job, 60)),
    "delete_job": ("meshhook_delete", lambda s: s.queue.delete_job(s.waiting)),
    "purge_queue": ("meshhook_purge", lambda s: s.queue.purge_queue()),
    "move_to_dead_letter": (
        "meshhook_dead_letter",
        lambda s: s.dlq.move_to_dead_letter(s.job, "boom"),
    ),
    "replay_dead_letter_job": (
        "meshhook_replay",
        lambda s: s.dlq.replay_dead_letter_job(s.dead[0]),
    ),
    "replay_multiple_jobs": ("meshhook_replay", lambda s: s.dlq.replay_multiple_jobs(s.dead)),
    "delete_dead_letter_job": (
        "meshhook_delete",
        lambda s: s.dlq.delete_dead_letter_job(s.dead[0]),
    ),
    "purge_dlq": ("meshhook_purge", lambda s: s.dlq.purge_dlq()),
    "create_queue": ("meshhook_create_queue", lambda s: s.queue.create_queue(max_attempts=7)),
    "get_queue_metrics": ("meshhook_queue_metrics", lambda s: s.queue.get_queue_metrics()),
}


def comparable(answer: Any) -> Any:
    """Leave out of an answer what differs between two scenes that went the same way."""
    if isinstance(answer, list):
        return [comparable(part) for part in answer]
    kept = {
        Job: ("msg_id", "read_ct", "attempt"),
        QueueInfo: ("max_attempts",),
        QueueMetrics: ("queue_length", "visible_jobs"),
        ReplayResult: ("msg_id", "new_msg_id"),
        ReplaySummary: ("success", "failed"),
        # Only a repeat under an id that the caller chose counts as a duplicate for the caller.
        EnqueueResult: ("msg_id",),
        EnqueueBatch: ("msg_ids",),
    }.get(type(answer))
    return answer if kept is None else [getattr(answer, name) for name in kept]


@pytest.mark.parametrize(("function", "call"), CALLS.values(), ids=CALLS)
async def test_a_call_whose_answer_was_lost_has_its_effect_once(
    client: AsyncClient,
    queue_name: str,
    faults: FaultInjector,
    function: str,
    call: Callable[[Scene], Awaitable[Any]],
) -> None:
    scene, undisturbed = Scene(client, queue_name), Scene(client, f"{queue_name}_b")
    await scene.prepare()
    await undisturbed.prepare()
    faults.calls.clear()

    faults.lose_answer(function)
    answer = await call(scene)

    assert [called for called, _ in faults.calls] == [function, function]
    assert faults.calls[0] == faults.calls[1]
    assert comparable(answer) == comparable(await call(undisturbed))
    assert await scene.look() == await undisturbed.look()
    await undisturbed.queue.drop_queue(drop_dlq=True)


async def test_a_drop_whose_answer_was_lost_still_says_that_it_dropped(
    client: AsyncClient, queue_name: str, faults: FaultInjector
) -> None:
    queue = QueueService(client, f"{queue_name}_b", repeat_policy=AT_ONCE)
    await queue.create_queue()

    faults.lose_answer("meshhook_drop_queue")

    assert await queue.drop_queue(drop_dlq=True)
    assert faults.count("meshhook_drop_queue") == 2


def test_a_repeat_that_overtakes_its_first_try_waits_for_it(
    stack: LocalStack, queue_name: str, admin: psycopg.Connection
) -> None:
    enqueue = "select public.meshhook_enqueue(%s, %s, request_id => 'r')"
    arguments = [queue_name, Jsonb([job_data()])]
    with (
        psycopg.connect(stack.admin_database_url) as first,
        psycopg.connect(stack.admin_database_url, autocommit=True) as second,
        ThreadPoolExecutor() as threads,
    ):
        answer = first.execute(enqueue, arguments).fetchone()
        repeat = threads.submit(lambda: second.execute(enqueue, arguments).fetchone())
        wait_until_blocked(admin, second.info.backend_pid)
        first.commit()

    assert answer is not None
    assert repeat.result() == ({**answer[0], "duplicate": True},)
