"""P5 over a real connection: a lease lives as long as its handler, and is lost when it is over."""

from __future__ import annotations

import time

import anyio
import attrs
import pytest

from meshhook import JobMessage, JobRecord, Retry, Snooze, SyncQueueService
from tests.clock import Clock
from tests.jobs import job_data
from tests.network import faults
from tests.network.conftest import Pauses
from tests.network.proxy import Exchange, Fault, Proxy
from tests.network.wire import Message
from tests.worker.conftest import Events, MakeWorker

# Long enough for an extension to come in time on a machine that is busy with other things.
LEASE_SECONDS = 3.0


def record_of(queue: SyncQueueService, run_id: str) -> JobRecord:
    """Return what the database knows of the only job of a run."""
    (record,) = queue.find_jobs(run_id)
    return record


EXTENSIONS_FAIL = {
    "reset": faults.reset,
    "stall": faults.stall,
    "lose_answer": faults.lose_answer,
    "cut": faults.cut,
    "503": faults.answer(503),
}


@pytest.mark.parametrize("fault", EXTENSIONS_FAIL.values(), ids=EXTENSIONS_FAIL)
async def test_an_extension_that_fails_stops_no_handler(
    proxy: Proxy,
    safe_queue: SyncQueueService,
    events: Events,
    make_worker: MakeWorker,
    fault: Fault,
) -> None:
    data = job_data()
    safe_queue.enqueue(data)

    async def handler(_: JobMessage) -> None:
        # An extension that fails, and one that succeeds after it.
        await proxy.wait_attempted("meshhook_extend", 2)
        await proxy.wait_forwarded("meshhook_extend", forwarded_by_fault + 1)

    forwarded_by_fault = int(fault in {faults.lose_answer, faults.cut})
    proxy.lay(fault, "meshhook_extend")
    async with make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait_settled()

    assert len(events.of("started")) == len(events.of("succeeded")) == 1
    assert events.of("lost", "failed", "released") == []
    record = record_of(safe_queue, data["run_id"])
    assert (record.state, record.attempt, record.attempts) == ("completed", 1, ())


async def test_a_handler_is_stopped_when_its_lease_is_over_and_not_before(
    proxy: Proxy,
    safe_queue: SyncQueueService,
    events: Events,
    pauses: Pauses,
    make_worker: MakeWorker,
) -> None:
    data = job_data()
    safe_queue.enqueue(data)
    extended_at: list[float] = []
    stopped_at: list[float] = []

    async def extend_once(exchange: Exchange) -> None:
        await exchange.pass_on()
        extended_at.append(time.monotonic())
        proxy.refuse()

    async def handler(_: JobMessage) -> None:
        if stopped_at:
            return
        try:
            await anyio.sleep_forever()
        finally:
            stopped_at.append(time.monotonic())
            proxy.accept()

    proxy.lay(extend_once, "meshhook_extend")
    async with make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait("succeeded")

    # The first extension that fails is due after a third of the lease, which is counted from when
    # the last one was asked for: a little earlier than it was answered.
    assert stopped_at[0] - extended_at[0] > LEASE_SECONDS * 0.6
    assert [event.attempt for event in events.of("started")] == [1, 2]
    (lost,) = events.of("lost")
    assert lost.error_message == "it ended, and could not be extended"
    record = record_of(safe_queue, data["run_id"])
    assert [attempt.outcome for attempt in record.attempts] == ["lapsed"]
    assert len(pauses.all) > 0


PUT_OFF: dict[str, BaseException] = {"snoozed": Snooze(3600), "retried": Retry(after_seconds=3600)}


@pytest.mark.parametrize("kind", PUT_OFF)
async def test_an_extension_that_arrives_after_the_settle_does_not_undo_it(
    proxy: Proxy, safe_queue: SyncQueueService, events: Events, make_worker: MakeWorker, kind: str
) -> None:
    data = job_data()
    safe_queue.enqueue(data)
    may_arrive = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await proxy.wait_attempted("meshhook_extend")
        raise PUT_OFF[kind]

    # The extension and the settle are on their way at once, and the settle is faster.
    proxy.lay(faults.hold(may_arrive), "meshhook_extend")
    async with make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await events.wait(kind)
        settled = record_of(safe_queue, data["run_id"])
        may_arrive.set()
        await proxy.wait_forwarded("meshhook_extend")
        afterwards = record_of(safe_queue, data["run_id"])

    assert settled.vt is not None
    assert (afterwards.state, afterwards.vt) == ("scheduled", settled.vt)


async def test_an_extension_that_arrives_after_a_hand_back_does_not_hide_the_job(
    proxy: Proxy, safe_queue: SyncQueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    safe_queue.enqueue(data)
    may_arrive = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await anyio.sleep_forever()

    proxy.lay(faults.hold(may_arrive), "meshhook_extend")
    async with make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS, grace_seconds=0):
        await proxy.wait_attempted("meshhook_extend")
    handed_back = record_of(safe_queue, data["run_id"])
    may_arrive.set()
    await proxy.wait_forwarded("meshhook_extend")

    assert len(events.of("released")) == 1
    assert handed_back.state == "available"
    assert record_of(safe_queue, data["run_id"]).state == "available"


def statuses_in(answer: Message) -> list[str]:
    """Return what an answer says of outcomes, whether or not they were sent along with a claim."""
    data = answer.data
    return list(data["statuses"] if isinstance(data, dict) else data)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"poll_interval_ms": 3_600_000}, id="settled-alone"),
        pytest.param({"concurrency": 1}, id="taken-along-by-a-claim"),
    ],
)
async def test_a_settle_that_arrives_twice_counts_once(
    proxy: Proxy,
    safe_queue: SyncQueueService,
    events: Events,
    make_worker: MakeWorker,
    settings: dict[str, int],
) -> None:
    data = job_data()
    safe_queue.enqueue(data)
    settles: list[Exchange] = []

    async def keep(exchange: Exchange) -> None:
        settles.append(exchange)
        await exchange.pass_on()

    async def handler(_: JobMessage) -> None:
        raise Retry(after_seconds=3600)

    proxy.lay(keep, "meshhook_settle")
    async with make_worker(handler, **settings):
        await events.wait("retried")
    settled = record_of(safe_queue, data["run_id"])
    again = await proxy.ask_gateway(settles[0].request)

    assert settles[0].answer is not None
    assert statuses_in(again) == statuses_in(settles[0].answer) == ["ok"]
    assert attrs.asdict(record_of(safe_queue, data["run_id"])) == attrs.asdict(settled)


async def test_a_handler_whose_job_somebody_else_had_in_between_is_not_taken_up_again(
    proxy: Proxy,
    safe_queue: SyncQueueService,
    events: Events,
    make_worker: MakeWorker,
    clock: Clock,
) -> None:
    data = job_data()
    safe_queue.enqueue(data)
    may_claim, may_end = anyio.Event(), anyio.Event()

    async def handler(_: JobMessage) -> None:
        await may_end.wait()

    async with make_worker(handler) as worker:
        await events.wait("started")
        # The worker stands still for longer than its lease, and somebody else tries the job.
        claims = proxy.attempted("meshhook_dequeue")
        proxy.lay(faults.hold(may_claim), "meshhook_dequeue")
        await proxy.wait_attempted("meshhook_dequeue", claims + 1)
        clock.advance(31)
        other = safe_queue.dequeue()
        assert other is not None
        safe_queue.retry(other)
        may_claim.set()
        await proxy.wait_attempted("meshhook_dequeue", claims + 3)
        may_end.set()
        await events.wait("lost", "succeeded")

    # What this handler did it did beside the other attempt, of which it knows nothing.
    assert len(events.of("lost")) == 1
    assert worker.get_stats().succeeded == 0
    assert record_of(safe_queue, data["run_id"]).state != "completed"
