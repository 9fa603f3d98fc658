"""Watching a worker: events, logs, and hooks that misbehave."""

from __future__ import annotations

import logging
import threading
from unittest.mock import ANY

import anyio
import pytest

from meshhook import JobMessage, QueueService, Snooze, WorkerEvent
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing


async def test_a_job_is_told_from_its_claim_to_its_end(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data(max_attempts=2)
    result = await queue.enqueue(data)

    async def handler(message: JobMessage) -> None:
        if message.last_error is None and message.attempt == 1 and not snoozed:
            snoozed.append(1)
            raise Snooze(0)
        raise ValueError("boom")

    snoozed: list[int] = []
    async with make_worker(handler, name="me"):
        await events.wait("dead_lettered")

    assert events.kinds() == [
        "worker_started",
        *("claimed", "started", "snoozed"),
        *("claimed", "started", "failed", "retried"),
        *("claimed", "started", "failed", "dead_lettered"),
        *("worker_stopping", "worker_stopped"),
    ]
    (last,) = events.of("dead_lettered")
    assert (last.queue_name, last.msg_id) == (queue.queue_name, result.msg_id)
    assert (last.run_id, last.attempt, last.worker) == (data["run_id"], 2, "me")
    assert (last.error_type, last.error_message) == ("ValueError", "ValueError: boom")
    assert last.seconds is not None
    assert last.at.tzinfo is not None


async def test_a_plain_hook_runs_in_a_thread(queue: QueueService, make_worker: MakeWorker) -> None:
    await queue.enqueue(job_data())
    succeeded = threading.Event()
    threads = []

    def hook(event: WorkerEvent) -> None:
        threads.append(threading.current_thread())
        if event.kind == "succeeded":
            succeeded.set()

    async with make_worker(do_nothing, on_event=hook):
        assert await anyio.to_thread.run_sync(succeeded.wait, 10)

    assert threading.main_thread() not in threads


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_hook_that_raises_does_no_harm_and_is_logged_in_full_once(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    await queue.enqueue_many([job_data() for _ in range(4)])

    def hook(event: WorkerEvent) -> None:
        if event.kind == "started":
            raise SystemExit(1)
        raise ValueError(event.kind)

    async def hook_async(event: WorkerEvent) -> None:
        hook(event)

    async with make_worker(do_nothing, on_event=hook if kind == "def" else hook_async) as worker:
        await faults.wait_answered("meshhook_settle")

    assert worker.get_stats().succeeded == 4
    lines = [record.getMessage() for record in caplog.records if record.name == "meshhook.worker"]
    assert [bool(record.exc_info) for record in caplog.records].count(True) == 2
    # 3 of the worker and 2 of each job raise a ValueError, the other one of each a SystemExit.
    assert lines[:2] == [
        "on_event raised for worker_started: ValueError: worker_started",
        "on_event raised for started: SystemExit: 1",
    ]
    assert [line.replace(__file__, "here").split(" at here:") for line in lines[2:]] == [
        ["on_event has raised ValueError", ANY],
        ["on_event raised ValueError", ANY],
        ["on_event raised SystemExit", ANY],
    ]
    assert [line.partition(" times")[0].split()[-1] for line in lines[2:]] == ["10", "11", "4"]


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_hook_that_hangs_does_no_harm_and_is_switched_off(
    queue: QueueService,
    faults: FaultInjector,
    make_worker: MakeWorker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr("meshhook.worker.events.HOOK_SECONDS", 0.1)
    await queue.enqueue(job_data())
    asked: list[str] = []
    never = threading.Event()

    async def hang(event: WorkerEvent) -> None:
        asked.append(event.kind)
        await anyio.sleep_forever()

    def block(event: WorkerEvent) -> None:
        asked.append(event.kind)
        never.wait(10)

    async with make_worker(do_nothing, on_event=hang if kind == "async def" else block) as worker:
        await faults.wait_answered("meshhook_settle")
        await faults.wait_answered("meshhook_dequeue", 3)
    never.set()

    assert worker.get_stats().succeeded == 1
    # Each in a thread of its own, which begins when it can.
    assert sorted(asked) == ["claimed", "started", "worker_started"]
    assert "on_event is switched off" in caplog.text


async def test_logs_carry_fields_and_no_payload(
    queue: QueueService, events: Events, make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="meshhook")
    data = job_data(metadata={"card": "4111-1111"})
    result = await queue.enqueue(data)

    async with make_worker(do_nothing, name="me"):
        await events.wait("succeeded")

    records = [r for r in caplog.records if r.name.startswith("meshhook")]
    assert not any("4111" in str(vars(record)) for record in records)
    (settled,) = [vars(r) for r in records if vars(r).get("outcome") == "succeeded"]
    assert (settled["worker"], settled["queue"]) == ("me", queue.queue_name)
    assert (settled["msg_id"], settled["run_id"]) == (result.msg_id, data["run_id"])
    assert settled["attempt"] == 1
    assert settled["duration"] >= 0


async def test_a_worker_is_quiet_by_default(
    queue: QueueService, events: Events, make_worker: MakeWorker, capfd: pytest.CaptureFixture[str]
) -> None:
    await queue.enqueue(job_data())

    async with make_worker(do_nothing):
        await events.wait("succeeded")

    assert capfd.readouterr() == ("", "")
