"""P6 over a real connection: a stop ends in time in any outage, and says what is left."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import pytest
from supabase import AsyncClient

from meshhook import JobMessage, JobRecord, Retry, Snooze, StopReport, SyncQueueService, Worker
from tests.clock import Clock
from tests.jobs import job_data
from tests.network import faults
from tests.network.conftest import IMPATIENT, Net, Pauses
from tests.network.outages import OUTAGES, Outage
from tests.network.proxy import Exchange, Fault, Proxy
from tests.worker.conftest import do_nothing

SETTLE_SECONDS = 0.3

# How much longer than its parts a stop may take on a machine that is busy with other things. It is
# well below the 20 seconds for which the client waits for an answer.
SLACK_SECONDS = 8.0


async def stop_timed(worker: Worker) -> tuple[StopReport, float]:
    """Stop a worker, and measure how long that takes."""
    begin = time.monotonic()
    with anyio.fail_after(30):
        report = await worker.stop()
    return report, time.monotonic() - begin


def record_of(queue: SyncQueueService, msg_id: int) -> JobRecord:
    """Return what the database knows of a job."""
    record = queue.get_job(msg_id)
    assert record is not None
    return record


# On trio, httpx leaves the body of a request whose sending was broken off to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@pytest.mark.parametrize("kind", ["refused", "reset", "stall", "garbage"])
async def test_a_stop_in_an_outage_ends_in_time_and_says_what_was_given_up(
    net: Net, client: AsyncClient, pauses: Pauses, kind: str
) -> None:
    outage: Outage = OUTAGES[kind]
    client.postgrest.session.timeout = IMPATIENT
    batch = net.queue.enqueue_many([job_data() for _ in range(3)])
    may_end = anyio.Event()

    async def handler(message: JobMessage) -> None:
        if message.run_id == finished:
            await may_end.wait()
        else:
            await anyio.sleep_forever()

    finished = record_of(net.queue, batch.msg_ids[0]).run_id
    worker = net.make_worker(handler, settle_seconds=SETTLE_SECONDS, grace_seconds=0.2)
    await worker.start()
    await net.events.wait("started", times=3)
    outage.begin(net.proxy)
    may_end.set()
    await pauses.wait(2)
    report, seconds = await stop_timed(worker)

    assert seconds < 0.2 + SETTLE_SECONDS + SLACK_SECONDS
    assert sorted(report.given_up) == [(net.queue.queue_name, id_) for id_ in batch.msg_ids]
    assert (report.finished, report.released) == (0, 0)
    assert not worker.is_running


@pytest.mark.parametrize("function", ["meshhook_dequeue", "meshhook_settle", "meshhook_extend"])
async def test_a_stop_does_not_take_as_long_as_a_call_that_gets_no_answer(
    net: Net, function: str
) -> None:
    net.queue.enqueue(job_data())
    may_end = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await may_end.wait()

    worker = net.make_worker(
        handler, settle_seconds=SETTLE_SECONDS, grace_seconds=0.2, visibility_timeout_seconds=1.2
    )
    await worker.start()
    await net.events.wait("started")
    before = net.proxy.attempted(function)
    net.proxy.lay_for_good(faults.stall, function)
    if function == "meshhook_settle":
        may_end.set()
    await net.proxy.wait_attempted(function, before + 1)
    may_end.set()
    _, seconds = await stop_timed(worker)

    assert seconds < 0.2 + SETTLE_SECONDS + SLACK_SECONDS


async def test_handlers_have_no_more_than_the_grace_period_while_a_claim_gets_no_answer(
    net: Net,
) -> None:
    net.queue.enqueue(job_data())
    cancelled = anyio.Event()
    stalled = anyio.Event()

    async def handler(_: JobMessage) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async def stall(exchange: Exchange) -> None:
        stalled.set()
        await faults.stall(exchange)

    worker = net.make_worker(handler, grace_seconds=0)
    await worker.start()
    await net.events.wait("started")
    net.proxy.lay_for_good(stall, "meshhook_dequeue")
    with anyio.fail_after(20):
        await stalled.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)
        with anyio.move_on_after(SLACK_SECONDS):
            await cancelled.wait()
        in_time = cancelled.is_set()
        net.proxy.clear()
        net.proxy.reset_all()

    assert in_time


async def test_jobs_of_a_claim_that_is_answered_during_the_stop_are_handed_back(net: Net) -> None:
    may_be_answered = anyio.Event()
    worker = net.make_worker(do_nothing)
    net.proxy.lay(faults.hold_answer(may_be_answered), "meshhook_dequeue")
    (msg_id,) = net.queue.enqueue_many([job_data()]).msg_ids
    await worker.start()
    await net.proxy.wait_forwarded("meshhook_dequeue")
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)
        await net.events.wait("worker_stopping")
        may_be_answered.set()

    record = record_of(net.queue, msg_id)
    assert (record.state, record.attempt, record.read_ct) == ("available", 1, 1)
    assert net.events.of("started") == []
    assert len(net.events.of("released")) == 1


@pytest.mark.parametrize("fault", [faults.lose_answer, faults.cut])
async def test_jobs_of_a_claim_whose_answer_is_lost_during_the_stop_come_back_by_themselves(
    net: Net, pauses: Pauses, clock: Clock, fault: Fault
) -> None:
    (msg_id,) = net.queue.enqueue_many([job_data()]).msg_ids
    worker = net.make_worker(do_nothing)
    net.proxy.lay_for_good(fault, "meshhook_dequeue")
    await worker.start()
    await pauses.wait(1)
    report, _ = await stop_timed(worker)
    clock.advance(31)

    assert report.given_up == ()
    assert net.events.of("started") == []
    record = record_of(net.queue, msg_id)
    assert record.state == "available"


ENDS: dict[str, Callable[[Proxy], None]] = {
    "reset": lambda proxy: proxy.lay_for_good(faults.reset),
    "lost answers": lambda proxy: proxy.lay_for_good(faults.lose_answer),
}


@pytest.mark.parametrize("kind", ENDS)
async def test_a_stop_settles_what_it_can_when_the_outage_ends(
    net: Net, pauses: Pauses, kind: str
) -> None:
    done, unfinished = net.queue.enqueue_many([job_data(), job_data()]).msg_ids
    may_end = anyio.Event()
    in_order: list[str] = []

    async def handler(message: JobMessage) -> None:
        in_order.append(message.run_id)
        if len(in_order) == 1:
            await may_end.wait()
        else:
            await anyio.sleep_forever()

    worker = net.make_worker(handler, grace_seconds=0)
    await worker.start()
    await net.events.wait("started", times=2)
    ENDS[kind](net.proxy)
    may_end.set()
    await pauses.wait(4)
    async with anyio.create_task_group() as group:
        group.start_soon(worker.stop)
        await net.events.wait("worker_stopping")
        net.proxy.clear()
    report = await worker.wait()

    assert (report.finished, report.released, report.given_up) == (1, 1, ())
    second = record_of(net.queue, unfinished)
    assert record_of(net.queue, done).state == "completed"
    assert (second.state, second.attempt) == ("available", 1)


PUT_OFF: dict[str, BaseException] = {"retried": Retry(after_seconds=3600), "snoozed": Snooze(3600)}


@pytest.mark.parametrize("kind", PUT_OFF)
async def test_what_a_claim_settled_whose_answer_was_lost_is_reported_as_settled_by_a_stop(
    net: Net, pauses: Pauses, kind: str
) -> None:
    batch = net.queue.enqueue_many([job_data() for _ in range(30)])

    async def handler(_: JobMessage) -> None:
        raise PUT_OFF[kind]

    # Carried out again and again under one request id, and under another one by the stop.
    net.proxy.lay_for_good(faults.lose_answer, "meshhook_settle_and_dequeue")
    worker = net.make_worker(handler, concurrency=1)
    await worker.start()
    await pauses.wait(1)
    report, _ = await stop_timed(worker)

    put_off = [id_ for id_ in batch.msg_ids if record_of(net.queue, id_).state == "scheduled"]
    assert len(put_off) > 0
    assert sorted(event.msg_id or 0 for event in net.events.of(kind)) == put_off
    assert (len(net.events.of("lost")), report.given_up) == (0, ())


async def test_a_stop_does_not_sleep_through_the_end_of_an_outage(
    net: Net, monkeypatch: pytest.MonkeyPatch, pauses: Pauses
) -> None:
    # As after a minute of outage: the next try is far away.
    for name in ("BASE_SECONDS", "CEILING_SECONDS"):
        monkeypatch.setattr(f"meshhook.worker.health.{name}", 30.0)
    (msg_id,) = net.queue.enqueue_many([job_data()]).msg_ids

    net.proxy.lay(faults.answer(503), "meshhook_settle")
    worker = net.make_worker(do_nothing, poll_interval_ms=60_000)
    await worker.start()
    await net.events.wait("started")
    await pauses.wait(1)
    report, seconds = await stop_timed(worker)

    assert (report.finished, report.given_up) == (1, ())
    assert seconds < SLACK_SECONDS
    record = record_of(net.queue, msg_id)
    assert record.state == "completed"
