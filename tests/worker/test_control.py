"""Control from outside: pausing, cancelling, new settings, being seen, keeping house."""

from __future__ import annotations

import os

import anyio
import pytest

from meshhook import JobMessage, QueueNotFoundError, QueueService
from tests.clock import Clock
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing


async def test_a_worker_of_a_paused_queue_goes_on_with_what_it_runs_and_claims_no_more(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    running, may_end = anyio.Event(), anyio.Event()

    async def handler(_: JobMessage) -> None:
        running.set()
        await may_end.wait()

    async with make_worker(handler):
        await running.wait()
        await queue.pause_queue()
        await queue.enqueue(job_data())
        await events.wait("paused")
        may_end.set()
        await events.wait("succeeded")
        assert len(events.of("started")) == 1

        await queue.resume_queue()
        await events.wait("succeeded", times=2)

    (resumed,) = events.of("resumed")
    assert resumed.queue_name == queue.queue_name


async def test_the_handler_of_a_cancelled_job_is_cancelled(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    sent = await queue.enqueue(job_data())
    running = anyio.Event()
    was_cancelled: list[bool] = []

    async def handler(_: JobMessage) -> None:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            was_cancelled.append(True)

    async with make_worker(handler, visibility_timeout_seconds=0.9) as worker:
        await running.wait()
        assert await queue.cancel_job(sent.msg_id)
        await events.wait("lost")

    assert was_cancelled == [True]
    record = await queue.get_job(sent.msg_id)
    assert record is not None
    assert record.state == "cancelled"
    assert worker.get_stats().processed == 0


async def test_a_worker_follows_a_change_of_the_queues_settings(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    async def fail(_: JobMessage) -> None:
        raise ValueError("no")

    async with make_worker(fail, retry_config=None, visibility_timeout_seconds=None):
        await queue.configure_queue(max_attempts=1, has_dead_letters=False)
        await queue.enqueue(job_data())
        await events.wait("dead_lettered")

    (record,) = await queue.list_jobs("failed")
    assert record.attempts[0].error_message == "ValueError: no"


async def test_a_worker_is_seen_without_a_call_of_its_own(
    queue: QueueService, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    async with make_worker(do_nothing, name="mill", concurrency=7):
        await faults.wait_answered("meshhook_dequeue")
        (seen,) = await queue.list_workers()

    assert (seen.name, seen.pid, seen.concurrency) == ("mill", os.getpid(), 7)
    assert (seen.queue_names, seen.running, seen.is_alive) == ((queue.queue_name,), 0, True)
    assert seen.version
    told = [(name, call["worker"]) for name, call in faults.calls if "worker" in call]
    assert [name for name, _ in told] == ["meshhook_dequeue", "meshhook_extend"]
    assert [worker.get("is_stopped") for _, worker in told] == [None, True]
    assert await queue.list_workers() == []


async def test_a_worker_that_an_error_stopped_is_still_listed(
    queue: QueueService, faults: FaultInjector, make_worker: MakeWorker, clock: Clock
) -> None:
    worker = make_worker(do_nothing)
    await worker.start()
    await faults.wait_answered("meshhook_dequeue")
    clock.admin.execute("select public.meshhook_drop_queue(%s)", [queue.queue_name])
    with pytest.raises(QueueNotFoundError):
        await worker.wait()

    assert [seen.worker_id for seen in await queue.list_workers()] != []


async def test_a_stop_does_not_wait_long_for_a_last_heartbeat_that_gets_no_answer(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshhook.worker.supervisor.LAST_HEARTBEAT_SECONDS", 0.05)
    faults.hold("meshhook_extend")

    async with make_worker(do_nothing) as worker:
        await faults.wait_answered("meshhook_dequeue")

    assert not worker.is_running
    assert len(await queue.list_workers()) == 1


async def test_a_worker_without_room_is_seen_by_its_extensions(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshhook.worker.heartbeat.INTERVAL_SECONDS", 0.0)
    await queue.enqueue(job_data())

    async def handler(_: JobMessage) -> None:
        await faults.wait_answered("meshhook_extend")

    async with make_worker(handler, concurrency=1, visibility_timeout_seconds=0.9):
        await faults.wait_answered("meshhook_extend")

    told, _ = [arguments for name, arguments in faults.calls if name == "meshhook_extend"]
    assert told["worker"]["running"] == 1


async def test_a_worker_deletes_history_that_its_queue_keeps_no_longer(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshhook.worker.housekeeping.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("meshhook.worker.housekeeping.INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr("meshhook.worker.housekeeping.MAX_ROWS", 1)
    await queue.configure_queue(retention_days=7)
    await queue.enqueue_many([job_data(), job_data()])
    jobs = await queue.dequeue_many(2)
    await queue.acknowledge_many(jobs)
    clock.advance(8 * 86_400)

    # The first is refused: it is tried again after the next pause.
    faults.refuse("meshhook_prune")
    async with make_worker(do_nothing):
        while await queue.list_jobs("completed"):
            await faults.wait_next_answer("meshhook_prune")

    assert faults.count("meshhook_prune") >= 3


async def test_a_queue_without_retention_is_not_pruned(
    queue: QueueService,
    faults: FaultInjector,
    events: Events,
    make_worker: MakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshhook.worker.housekeeping.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("meshhook.worker.housekeeping.INTERVAL_SECONDS", 0.001)
    await queue.enqueue(job_data())

    async def handler(_: JobMessage) -> None:
        await faults.wait_next_answer("meshhook_dequeue")

    async with make_worker(handler):
        await events.wait("succeeded")

    assert faults.count("meshhook_prune") == 0
