"""P1: every change of a job's state is one transaction, and nothing else ever removes a job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from meshhook import DLQService, JobMessage, QueueService, RepeatPolicy, UnreachableError, Worker
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supabase import AsyncClient

    from meshhook.local import LocalStack
    from tests.clock import Clock
    from tests.faults import FaultInjector

ONCE = RepeatPolicy(tries=1)
KILLED_WORKER = Path(__file__).parent / "killed_worker.py"


async def test_two_workers_on_one_queue_share_the_jobs(
    client: AsyncClient, queue: QueueService
) -> None:
    handled: Counter[str] = Counter()
    by_worker: Counter[str] = Counter()
    done = anyio.Event()
    jobs = [job_data() for _ in range(60)]
    both_busy = {"a": anyio.Event(), "b": anyio.Event()}

    def handler_of(name: str) -> Callable[[JobMessage], Awaitable[None]]:
        async def handler(message: JobMessage) -> None:
            both_busy[name].set()
            for event in both_busy.values():
                await event.wait()
            handled[message.run_id] += 1
            by_worker[name] += 1
            if len(handled) == len(jobs):
                done.set()

        return handler

    await queue.enqueue_many(jobs)
    workers = [
        Worker(client, handler_of(name), queue.queue_name, concurrency=5, name=name)
        for name in both_busy
    ]
    async with workers[0], workers[1]:
        with anyio.fail_after(20):
            await done.wait()

    assert handled == Counter(job["run_id"] for job in jobs)
    assert all(by_worker[name] for name in both_busy)
    assert sum(worker.get_stats().succeeded for worker in workers) == len(jobs)
    assert (await queue.get_queue_metrics()).queue_length == 0
    assert not any(worker.get_stats().lost for worker in workers)


@pytest.mark.parametrize("settle", ["acknowledge", "archive_job", "retry", "release"])
async def test_a_failure_to_settle_deletes_no_job(
    client: AsyncClient, queue_name: str, faults: FaultInjector, clock: Clock, settle: str
) -> None:
    queue = QueueService(client, queue_name, repeat_policy=ONCE)
    await queue.enqueue(job_data())
    job = await queue.dequeue(30)
    assert job is not None

    faults.refuse()
    with pytest.raises(UnreachableError):
        await getattr(queue, settle)(job)
    clock.advance(31)

    again = await queue.dequeue()
    assert again is not None
    assert again.msg_id == job.msg_id


async def test_a_batch_is_enqueued_whole_or_not_at_all(queue: QueueService, clock: Clock) -> None:
    # The database refuses what Python would have: the second message is no object.
    messages = json.dumps([{"n": 1}, [2], {"n": 3}])
    with pytest.raises(Exception, match=r"messages\[1\] is not a JSON object"):
        clock.admin.execute("select public.meshhook_enqueue(%s, %s)", [queue.queue_name, messages])

    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_a_dead_letter_is_either_here_or_there(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    await queue.enqueue(job_data())
    job = await queue.dequeue()
    assert job is not None
    # The move fails at its second half: the row cannot leave the queue.
    table = f'pgmq."q_{queue.queue_name}"'
    clock.admin.execute(
        "create function pg_temp.refuse() returns trigger language plpgsql as "
        "'begin raise exception ''no'' using errcode = ''22000''; end'"
    )
    clock.admin.execute(
        f"create trigger keep before delete on {table} execute function pg_temp.refuse()"
    )

    with pytest.raises(Exception, match="no"):
        await dlq.move_to_dead_letter(job, "boom")
    clock.admin.execute(f"drop trigger keep on {table}")
    clock.admin.execute("drop function pg_temp.refuse")

    assert (await queue.get_queue_metrics()).queue_length == 1
    assert (await dlq.get_dlq_metrics()).total_jobs == 0
    assert await dlq.move_to_dead_letter(job, "boom")
    assert (await dlq.get_dlq_metrics()).total_jobs == 1


async def test_a_worker_that_is_killed_loses_no_job(
    stack: LocalStack, queue: QueueService, clock: Clock
) -> None:
    jobs = [job_data() for _ in range(5)]
    await queue.enqueue_many(jobs)

    await anyio.to_thread.run_sync(kill_worker_at_work, stack, queue.queue_name)

    assert await queue.dequeue() is None
    clock.advance(31)
    again = await queue.dequeue_many(10)
    assert sorted(job.message.run_id for job in again) == sorted(job["run_id"] for job in jobs)
    assert {job.attempt for job in again} == {2}


def kill_worker_at_work(stack: LocalStack, queue_name: str) -> None:
    """Run a worker until all its handlers work on jobs, and kill it with SIGKILL."""
    with subprocess.Popen(
        [sys.executable, str(KILLED_WORKER), queue_name],
        env={"SUPABASE_URL": stack.url, "SUPABASE_KEY": stack.secret_key},
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
        worker.kill()
