"""The lease: it lives as long as the handler, and a worker that lost it settles nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from meshhook import JobMessage, QueueService, current_job
from meshhook.local import LocalStack
from tests.clock import Clock
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing

LEASE_SECONDS = 2.4
"""Short, and yet longer than a busy machine keeps a worker waiting."""

FROZEN_WORKER = Path(__file__).parent / "frozen_worker.py"

ALONE_MS = 100
"""A poll interval at which what is done right after a claim is not taken along by the next one."""


def read_by_somebody_else(clock: Clock, queue_name: str) -> None:
    """Let the leases lapse and another consumer read the oldest job."""
    # In one transaction, or a claim that is under way could take the job before.
    with clock.admin.transaction():
        clock.advance(3600)
        clock.admin.execute("select pgmq.read(%s, 3600, 1)", [queue_name])


async def test_a_handler_may_take_much_longer_than_the_visibility_timeout(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def take_long(_: JobMessage) -> None:
        # Four thirds of the visibility timeout.
        await faults.wait_answered("meshhook_extend", 4)

    async with make_worker(take_long, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait_settled()

    assert events.of("started", "lost")[0].attempt == 1
    assert len(events.of("started")) == 1
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.attempt, record.attempts) == ("completed", 1, ())


async def test_all_running_jobs_are_extended_in_one_call(
    queue: QueueService, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    batch = await queue.enqueue_many([job_data() for _ in range(3)])

    async def wait(_: JobMessage) -> None:
        await faults.wait_answered("meshhook_extend")

    async with make_worker(wait, visibility_timeout_seconds=0.6, concurrency=2, prefetch=1):
        await faults.wait_answered("meshhook_extend")

    (body, *_) = [body for function, body in faults.calls if function == "meshhook_extend"]
    assert body["msg_ids"] == list(batch.msg_ids)
    assert body["read_cts"] == [1, 1, 1]
    assert body["vt_seconds"] == 0.6


async def test_a_lost_lease_cancels_that_handler_alone(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = [job_data(), job_data()]
    await queue.enqueue_many([first, second])
    cancelled: list[str] = []
    both = anyio.Event()

    async def wait(message: JobMessage) -> None:
        if message.run_id == second["run_id"]:
            both.set()
        try:
            await events.wait("lost")
        except BaseException:
            cancelled.append(message.run_id)
            assert current_job().lease_lost
            raise

    async with make_worker(wait, visibility_timeout_seconds=LEASE_SECONDS) as worker:
        await both.wait()
        read_by_somebody_else(clock, queue.queue_name)
        await events.wait("succeeded")

    assert cancelled == [first["run_id"]]
    stats = worker.get_stats()
    assert (stats.lost, stats.succeeded, stats.processed) == (1, 1, 1)
    (record,) = await queue.find_jobs(first["run_id"])
    assert (record.state, record.read_ct) == ("leased", 2)
    (warning,) = [r for r in caplog.records if "lost the lease" in r.message]
    assert "another worker has read the job" in warning.message


async def test_the_outcome_of_a_handler_that_lost_its_lease_is_thrown_away(
    queue: QueueService, events: Events, make_worker: MakeWorker, clock: Clock
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def block_the_loop(_: JobMessage) -> None:
        # While nothing else runs in this process, the lease lapses and is taken.
        read_by_somebody_else(clock, queue.queue_name)

    async with make_worker(block_the_loop) as worker:
        await events.wait("lost")

    assert worker.get_stats().succeeded == 0
    (record,) = await queue.find_jobs(data["run_id"])
    assert record.state == "leased"


async def test_a_job_that_the_worker_claims_again_itself_runs_once(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    clock: Clock,
    faults: FaultInjector,
) -> None:
    data = job_data()
    await queue.enqueue(data)
    runs: list[int] = []

    async def handler(message: JobMessage) -> None:
        runs.append(message.attempt)
        # The lease lapses unnoticed, and the next claim of this very worker takes the job.
        clock.advance(3600)
        while faults.answered("meshhook_dequeue") < claims_before[0] + 3:
            await faults.wait_answered("meshhook_dequeue", faults.answered("meshhook_dequeue") + 1)

    claims_before = [faults.answered("meshhook_dequeue")]
    async with make_worker(handler) as worker:
        await events.wait("succeeded")

    assert runs == [1]
    assert worker.get_stats().lost == 0
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.attempt) == ("completed", 2)
    assert [attempt.outcome for attempt in record.attempts] == ["lapsed"]


async def test_a_job_that_is_claimed_again_while_it_is_settled_is_settled_once(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    clock: Clock,
    faults: FaultInjector,
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def handler(_: JobMessage) -> None:
        await faults.wait_next_answer("meshhook_dequeue")

    settle_may_go = faults.hold("meshhook_settle")
    async with make_worker(handler, poll_interval_ms=ALONE_MS) as worker:
        await faults.wait_attempted("meshhook_settle")
        clock.advance(3600)
        claims = faults.answered("meshhook_dequeue")
        await faults.wait_answered("meshhook_dequeue", claims + 2)
        settle_may_go.set()
        await events.wait("succeeded")

    assert len(events.of("started")) == 1
    assert (worker.get_stats().succeeded, worker.get_stats().lost) == (1, 0)
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.attempt) == ("completed", 2)


async def test_a_retry_that_is_claimed_before_its_settlement_is_known_runs(
    queue: QueueService, events: Events, make_worker: MakeWorker, faults: FaultInjector
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def fail_once(message: JobMessage) -> None:
        await faults.wait_next_answer("meshhook_dequeue")
        if message.attempt == 1:
            raise ValueError("once")

    answer_may_come = faults.hold_answer("meshhook_settle")
    async with make_worker(fail_once, poll_interval_ms=ALONE_MS) as worker:
        await faults.wait_attempted("meshhook_settle")
        # The retry is visible at once, so the next claims hand it to this very worker.
        claims = faults.answered("meshhook_dequeue")
        await faults.wait_answered("meshhook_dequeue", claims + 3)
        answer_may_come.set()
        await events.wait("succeeded")

    assert [event.attempt for event in events.of("started")] == [1, 2]
    assert (worker.get_stats().retried, worker.get_stats().lost) == (1, 0)
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.attempt, len(record.attempts)) == ("completed", 2, 1)


async def test_a_delivery_that_waits_for_a_settlement_is_handed_back_by_a_stop(
    queue: QueueService, make_worker: MakeWorker, faults: FaultInjector
) -> None:
    await queue.enqueue(job_data())

    async def fail(_: JobMessage) -> None:
        await faults.wait_next_answer("meshhook_dequeue")
        raise ValueError("once")

    answer_may_come = faults.hold_answer("meshhook_settle")
    worker = make_worker(fail, poll_interval_ms=ALONE_MS)
    await worker.start()
    await faults.wait_attempted("meshhook_settle")
    claims = faults.answered("meshhook_dequeue")
    await faults.wait_answered("meshhook_dequeue", claims + 3)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)
        await anyio.wait_all_tasks_blocked()
        answer_may_come.set()

    job = await queue.dequeue()
    assert job is not None
    assert job.attempt == 2
    assert (await worker.wait()).given_up == ()


async def test_jobs_of_an_answer_that_is_read_too_late_are_asked_for_again(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    await queue.enqueue(data)

    # As when the loop is blocked while the answer to a claim comes in.
    may_be_read = faults.hold_answer("meshhook_dequeue")
    async with make_worker(do_nothing, visibility_timeout_seconds=0.3):
        await faults.wait_attempted("meshhook_dequeue")
        await wait_state(queue, data["run_id"], "leased")
        await wait_state(queue, data["run_id"], "available")
        may_be_read.set()
        await events.wait("succeeded")

    first, second, *_ = [body for function, body in faults.calls if "dequeue" in function]
    assert first["request_id"] == second["request_id"]
    assert [event.attempt for event in events.of("started")] == [1]
    assert events.of("lost") == []


async def wait_state(queue: QueueService, run_id: str, state: str) -> None:
    """Look at a run's only job until it is in a state."""
    with anyio.fail_after(20):
        while [record.state for record in await queue.find_jobs(run_id)] != [state]:
            pass


async def test_one_extension_that_fails_does_no_harm(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    faults.refuse("meshhook_extend")

    async def wait(_: JobMessage) -> None:
        await faults.wait_answered("meshhook_extend", 3)

    async with make_worker(wait, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait_settled()

    assert events.of("lost") == []
    assert len(events.of("succeeded")) == 1


async def test_a_handler_goes_on_during_an_outage_until_its_lease_is_over(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    tries_when_cancelled: list[int] = []
    at_work = anyio.Event()

    async def wait(_: JobMessage) -> None:
        at_work.set()
        try:
            await anyio.sleep_forever()
        finally:
            tries_when_cancelled.append(faults.count("meshhook_extend"))

    async with make_worker(wait, visibility_timeout_seconds=0.6):
        await at_work.wait()
        faults.refuse(times=10_000)
        await events.wait("lost")
        faults.clear()

    # One try after a third of the lease, and several in the rest of it.
    assert tries_when_cancelled[0] >= 4
    assert events.of("lost")[0].error_message == "it ended, and could not be extended"


async def test_an_extension_that_hangs_is_given_up_in_time(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    never = faults.hold("meshhook_extend")

    async def wait(_: JobMessage) -> None:
        await faults.wait_answered("meshhook_extend", 2)

    async with make_worker(wait, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait_settled()

    assert not never.is_set()
    assert events.of("lost") == []


async def test_a_frozen_worker_settles_nothing_when_it_wakes_up(
    stack: LocalStack, queue: QueueService, clock: Clock
) -> None:
    data = job_data()
    await queue.enqueue(data)

    line = await anyio.to_thread.run_sync(freeze_a_worker, stack, queue.queue_name, clock)

    assert line == "lost 1 succeeded 0\n"
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.read_ct) == ("leased", 2)


def freeze_a_worker(stack: LocalStack, queue_name: str, clock: Clock) -> str:
    """Stop a worker's process while it works, let another one have the job, and wake it up."""
    with subprocess.Popen(
        [sys.executable, str(FROZEN_WORKER), queue_name],
        env={"SUPABASE_URL": stack.url, "SUPABASE_KEY": stack.secret_key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
        worker.send_signal(signal.SIGSTOP)
        read_by_somebody_else(clock, queue_name)
        worker.send_signal(signal.SIGCONT)
        worker.stdin.write("finish\n")
        worker.stdin.close()
        return worker.stdout.readline()
