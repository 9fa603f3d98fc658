"""The ways to start and to stop a worker, and that they come to the same."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import pytest

from meshhook import QueueNotFoundError, QueueService, Worker
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import MakeWorker


class Handler:
    """A handler that tells when it is at work and waits until it may finish."""

    def __init__(self) -> None:
        self.at_work = anyio.Event()
        self.may_finish = anyio.Event()
        self.done: list[str] = []
        self.cancelled: list[str] = []

    async def __call__(self, message: Any) -> None:
        self.at_work.set()
        try:
            await self.may_finish.wait()
        except BaseException:
            self.cancelled.append(message.run_id)
            raise
        self.done.append(message.run_id)


async def test_start_and_stop_may_be_called_from_different_tasks(
    queue: QueueService, make_worker: MakeWorker
) -> None:
    handler = Handler()
    handler.may_finish.set()
    worker = make_worker(handler)
    await queue.enqueue(job_data())

    async with anyio.create_task_group() as group:
        group.start_soon(worker.start)
    with anyio.fail_after(10):
        await handler.at_work.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)

    assert worker.get_stats().succeeded == 1
    report = await worker.wait()
    assert report.reason == "stop() was called"


async def test_a_worker_may_be_started_again(queue: QueueService, make_worker: MakeWorker) -> None:
    handler = Handler()
    handler.may_finish.set()
    worker = make_worker(handler)

    for _ in range(2):
        await queue.enqueue(job_data())
        handler.at_work = anyio.Event()
        await worker.start()
        with anyio.fail_after(10):
            await handler.at_work.wait()
        await worker.stop()

    assert len(handler.done) == 2


async def test_a_running_worker_cannot_be_started_twice(make_worker: MakeWorker) -> None:
    worker = make_worker(Handler())

    async with worker:
        with pytest.raises(RuntimeError, match="runs already"):
            await worker.start()


async def test_a_worker_that_does_not_run_can_be_stopped_all_the_same(
    make_worker: MakeWorker,
) -> None:
    worker = make_worker(Handler())

    assert (await worker.stop()).reason == "it did not run"
    assert worker.get_stats().processed == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_stops_at_a_signal_and_finishes_what_runs(
    queue: QueueService, make_worker: MakeWorker, number: signal.Signals
) -> None:
    handler = Handler()
    worker = make_worker(handler)
    await queue.enqueue(job_data())
    reports = []

    async def run() -> None:
        reports.append(await worker.run())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await handler.at_work.wait()
            os.kill(os.getpid(), number)
            handler.may_finish.set()

    assert len(handler.done) == 1
    assert (reports[0].reason, reports[0].finished) == (number.name, 1)
    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_a_second_signal_stops_at_once(queue: QueueService, make_worker: MakeWorker) -> None:
    handler = Handler()
    worker = make_worker(handler, grace_seconds=1000)
    await queue.enqueue(job_data())

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            await handler.at_work.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    assert len(handler.cancelled) == 1
    job = await queue.dequeue()
    assert job is not None
    assert job.attempt == 1


async def stop_by_leaving_the_block(worker: Worker, handler: Handler) -> None:
    async with worker:
        await handler.at_work.wait()


async def stop_by_stop(worker: Worker, handler: Handler) -> None:
    await worker.start()
    await handler.at_work.wait()
    await worker.stop()


async def stop_by_cancelling_the_task_around_run(worker: Worker, handler: Handler) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run)
        await handler.at_work.wait()
        group.cancel_scope.cancel()


async def stop_by_cancelling_the_task_around_the_block(worker: Worker, handler: Handler) -> None:
    with anyio.CancelScope() as scope:
        async with worker:
            await handler.at_work.wait()
            scope.cancel()
            await anyio.sleep_forever()


async def stop_by_an_error_in_the_block(worker: Worker, handler: Handler) -> None:
    async def fail_in_the_block() -> None:
        async with worker:
            await handler.at_work.wait()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_in_the_block()


async def stop_by_an_error_elsewhere(worker: Worker, handler: Handler) -> None:
    async def fail() -> None:
        await handler.at_work.wait()
        raise KeyError("elsewhere")

    async def run_both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run)
            group.start_soon(fail)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_both()
    assert caught.group_contains(KeyError, match="elsewhere")


STOPS = [
    stop_by_leaving_the_block,
    stop_by_stop,
    stop_by_cancelling_the_task_around_run,
    stop_by_cancelling_the_task_around_the_block,
    stop_by_an_error_in_the_block,
    stop_by_an_error_elsewhere,
]


@pytest.mark.parametrize("stop", STOPS)
async def test_every_stop_hands_back_what_is_not_finished_in_time(
    queue: QueueService, make_worker: MakeWorker, stop: Any
) -> None:
    handler = Handler()
    worker = make_worker(handler, grace_seconds=0, concurrency=1, prefetch=2)
    batch = await queue.enqueue_many([job_data() for _ in range(3)])

    with anyio.fail_after(10):
        await stop(worker, handler)

    jobs = await queue.dequeue_many(10)
    assert sorted(job.msg_id for job in jobs) == list(batch.msg_ids)
    assert {job.attempt for job in jobs} == {1}
    assert len(handler.cancelled) == 1
    report = await worker.wait()
    assert (report.released, report.given_up) == (3, ())
    assert worker.get_stats().released == 3


@pytest.mark.parametrize("stop", STOPS)
async def test_every_stop_lets_handlers_finish_within_the_grace_period(
    queue: QueueService, make_worker: MakeWorker, faults: FaultInjector, stop: Any
) -> None:
    handler = Handler()
    worker = make_worker(handler, grace_seconds=1000, concurrency=1, prefetch=1)
    first, second = [job_data(), job_data()]
    await queue.enqueue_many([first, second])

    async def finish_when_the_stop_is_under_way() -> None:
        # The job that no handler has seen is handed back first.
        await faults.wait_answered("meshhook_settle")
        handler.may_finish.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(finish_when_the_stop_is_under_way)
            await stop(worker, handler)

    assert handler.done == [first["run_id"]]
    (job,) = await queue.dequeue_many(10)
    assert (job.message.run_id, job.attempt) == (second["run_id"], 1)
    report = await worker.wait()
    assert (report.finished, report.released, report.given_up) == (1, 1, ())


async def test_what_waiting_cannot_mend_is_raised_by_whatever_waits(
    make_worker: MakeWorker,
) -> None:
    nowhere = {"queue_name": "never_created"}
    with pytest.raises(QueueNotFoundError, match="create_queue"):
        await make_worker(Handler(), **nowhere).run()

    async def sleep_in_the_block() -> None:
        async with make_worker(Handler(), **nowhere):
            await anyio.sleep_forever()

    with pytest.raises(QueueNotFoundError):
        await sleep_in_the_block()

    worker = make_worker(Handler(), **nowhere)
    await worker.start()
    with pytest.raises(QueueNotFoundError):
        await worker.wait()
    with pytest.raises(QueueNotFoundError):
        await worker.stop()


async def test_an_answer_that_comes_during_the_stop_is_handed_back(
    queue: QueueService, make_worker: MakeWorker, faults: FaultInjector
) -> None:
    handler = Handler()
    worker = make_worker(handler)
    await queue.enqueue(job_data())
    answer_may_come = faults.hold("meshhook_dequeue")

    with anyio.fail_after(10):
        await worker.start()
        await faults.wait_attempted("meshhook_dequeue")
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            await anyio.wait_all_tasks_blocked()
            answer_may_come.set()

    assert not handler.at_work.is_set()
    job = await queue.dequeue()
    assert job is not None
    assert job.attempt == 1


async def test_a_stop_during_an_outage_gives_up_in_time_and_says_what(
    monkeypatch: pytest.MonkeyPatch,
    queue: QueueService,
    make_worker: MakeWorker,
    faults: FaultInjector,
) -> None:
    monkeypatch.setattr("meshhook.worker.settings.SETTLE_SECONDS", 0.2)
    handler = Handler()
    worker = make_worker(handler)
    result = await queue.enqueue(job_data())

    with anyio.fail_after(10):
        await worker.start()
        await handler.at_work.wait()
        faults.refuse(times=1000)
        handler.may_finish.set()
        report = await worker.stop()

    assert report.given_up == ((queue.queue_name, result.msg_id),)
    assert handler.done
