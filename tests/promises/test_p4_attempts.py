"""P4: a crash counts as an attempt, a hand-back does not, and no job is tried for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from meshhook import DLQService, Job, QueueService, Snooze, Worker
from meshhook.local import LocalStack
from tests.clock import Clock
from tests.jobs import job_data

CRASHING_WORKER = Path(__file__).parent / "crashing_worker.py"


async def claim(queue: QueueService) -> Job:
    job = await queue.dequeue(30)
    assert job is not None
    return job


async def test_a_crash_counts_as_an_attempt(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data())

    attempts = []
    for _ in range(3):
        attempts.append((await claim(queue)).attempt)
        clock.advance(31)

    assert attempts == [1, 2, 3]


async def test_hand_backs_and_snoozes_use_no_attempt(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data())

    for _ in range(3):
        await queue.release(await claim(queue))
        await queue.release(await claim(queue), 100)
        clock.advance(100)

    job = await claim(queue)
    assert (job.attempt, job.read_ct) == (1, 7)


async def test_every_way_to_come_back_is_counted_as_what_it_is(
    queue: QueueService, clock: Clock
) -> None:
    await queue.enqueue(job_data(max_attempts=10))

    job = await claim(queue)
    assert job.attempt == 1
    await queue.retry(job, 0, "boom")
    job = await claim(queue)
    assert job.attempt == 2
    await queue.release(job)
    assert (await claim(queue)).attempt == 2
    clock.advance(31)  # a crash
    job = await claim(queue)
    assert job.attempt == 3
    await queue.release(job)
    job = await claim(queue)
    assert job.attempt == 3
    await queue.retry(job, 0, "boom")
    assert (await claim(queue)).attempt == 4
    clock.advance(31)
    assert (await claim(queue)).attempt == 5
    clock.advance(31)
    assert (await claim(queue)).attempt == 6


async def test_a_sender_may_begin_at_a_later_attempt(queue: QueueService, clock: Clock) -> None:
    await queue.enqueue(job_data(attempt=3))

    assert (await claim(queue)).attempt == 3
    clock.advance(31)
    job = await claim(queue)
    assert job.attempt == 4
    await queue.retry(job, 0, "boom")
    assert (await claim(queue)).attempt == 5


async def test_a_job_that_kills_its_worker_ends_in_the_dead_letter_queue(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    await queue.enqueue(job_data(max_attempts=2))
    for _ in range(2):
        await claim(queue)
        clock.advance(31)

    assert await queue.dequeue() is None

    (dead,) = await dlq.list_dead_letter_jobs()
    assert dead.message.error_message.startswith("LeaseExpired: the last attempt was delivered")
    assert (dead.message.attempt, dead.message.read_count) == (2, 2)
    letter = await dlq.get_dead_letter_job(dead.msg_id)
    assert letter is not None
    assert [(a.attempt, a.outcome) for a in letter.attempts] == [(1, "lapsed"), (2, "lapsed")]


async def test_jobs_past_their_last_attempt_do_not_hide_those_behind_them(
    queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    await queue.enqueue_many([job_data(max_attempts=1) for _ in range(5)])
    await queue.dequeue_many(5)
    clock.advance(31)
    good = await queue.enqueue(job_data())

    job = await claim(queue)

    assert job.msg_id == good.msg_id
    assert (await dlq.get_dlq_metrics()).total_jobs == 5


async def test_a_retry_past_the_last_attempt_keeps_its_error(
    queue: QueueService, dlq: DLQService
) -> None:
    await queue.enqueue(job_data(max_attempts=1))
    await queue.retry(await claim(queue), 0, "ValueError: boom")

    assert await queue.dequeue() is None

    (dead,) = await dlq.list_dead_letter_jobs()
    assert dead.message.error_message == "ValueError: boom"


@pytest.mark.parametrize(
    ("own", "worker", "queues", "expected"),
    [(2, 3, 4, 2), (None, 3, 4, 3), (None, None, 4, 4), (None, None, None, 5)],
)
async def test_the_jobs_maximum_wins_over_the_workers_and_that_over_the_queues(
    client: AsyncClient,
    queue: QueueService,
    dlq: DLQService,
    own: int | None,
    worker: int | None,
    queues: int | None,
    expected: int,
) -> None:
    await queue.create_queue(max_attempts=queues, base_delay_ms=0)
    await queue.enqueue(job_data() if own is None else job_data(max_attempts=own))
    attempts = []
    last = anyio.Event()

    async def fail(message: dict[str, int]) -> None:
        attempts.append(message["attempt"])
        if len(attempts) == expected:
            last.set()
        raise ValueError

    config = None if worker is None else {"max_attempts": worker, "base_delay_ms": 0}
    async with Worker(client, fail, queue.queue_name, retry_config=config, poll_interval_ms=10):
        with anyio.fail_after(20):
            await last.wait()

    assert attempts == list(range(1, expected + 1))
    assert (await dlq.get_dlq_metrics()).total_jobs == 1


async def test_a_handler_that_kills_its_process_stops_being_tried(
    stack: LocalStack, queue: QueueService, dlq: DLQService, clock: Clock
) -> None:
    await queue.enqueue(job_data(max_attempts=2))

    codes = []
    for _ in range(2):
        codes.append(await anyio.to_thread.run_sync(run_crashing_worker, stack, queue.queue_name))
        clock.advance(31)

    assert codes == [86, 86]
    assert await queue.dequeue() is None
    assert (await dlq.get_dlq_metrics()).total_jobs == 1


def run_crashing_worker(stack: LocalStack, queue_name: str) -> int:
    """Run a worker whose handler ends the process, and return its exit code."""
    return subprocess.run(
        [sys.executable, str(CRASHING_WORKER), queue_name],
        env={"SUPABASE_URL": stack.url, "SUPABASE_KEY": stack.secret_key},
        timeout=30,
        check=False,
    ).returncode


async def test_snoozing_for_ever_uses_no_attempt(client: AsyncClient, queue: QueueService) -> None:
    await queue.enqueue(job_data(max_attempts=1))
    attempts = []
    enough = anyio.Event()

    async def not_yet(message: dict[str, int]) -> None:
        attempts.append(message["attempt"])
        if len(attempts) == 4:
            enough.set()
            return
        raise Snooze(0)

    async with Worker(client, not_yet, queue.queue_name, poll_interval_ms=10) as worker:
        with anyio.fail_after(20):
            await enough.wait()

    assert attempts == [1, 1, 1, 1]
    stats = worker.get_stats()
    assert (stats.snoozed, stats.succeeded, stats.failed) == (3, 1, 0)


HAND_MADE: dict[str, tuple[object, str]] = {
    "no object": ([1, 2], "the message is not a JSON object"),
    "null": (None, "the message is not a JSON object"),
    "attempt is text": ({"attempt": "x"}, '"attempt" is not a whole number'),
    "attempt is zero": ({"attempt": 0}, '"attempt" is not a whole number'),
    "attempt is huge": ({"attempt": 10**30}, '"attempt" is not a whole number'),
    "attempt is a fraction": ({"attempt": 1.5}, '"attempt" is not a whole number'),
    "maximum is text": ({"max_attempts": "x"}, '"max_attempts" is not a whole number'),
    "maximum is null": ({"max_attempts": None}, '"max_attempts" is not a whole number'),
}


@pytest.mark.parametrize(("message", "reason"), HAND_MADE.values(), ids=HAND_MADE)
async def test_a_hand_made_message_that_makes_no_sense_goes_to_the_dead_letter_queue(
    queue: QueueService, dlq: DLQService, clock: Clock, message: object, reason: str
) -> None:
    clock.admin.execute("select pgmq.send(%s, %s)", [queue.queue_name, Jsonb(message)])
    good = await queue.enqueue(job_data())

    job = await claim(queue)

    assert job.msg_id == good.msg_id
    (dead,) = await dlq.list_dead_letter_jobs()
    assert dead.message.error_message.startswith(f"MalformedMessage: {reason}")
    assert dead.message.read_count == 0


async def test_a_message_sent_by_hand_is_a_job_like_any_other(
    queue: QueueService, clock: Clock
) -> None:
    clock.admin.execute(
        "select pgmq.send(%s, %s)", [queue.queue_name, Jsonb({"run_id": "r", "any": "thing"})]
    )

    job = await claim(queue)

    assert (job.attempt, job.max_attempts) == (1, 5)
    assert job.message["any"] == "thing"
    clock.advance(31)
    assert (await claim(queue)).attempt == 2


async def test_a_copied_message_does_not_bring_its_deliveries_along(
    queue: QueueService, clock: Clock
) -> None:
    copied = {"run_id": "r", "attempt": 2, "_meshhook": {"reads": 40}}
    clock.admin.execute("select pgmq.send(%s, %s)", [queue.queue_name, Jsonb(copied)])

    assert (await claim(queue)).attempt == 2
