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
from tests.network.conftest import Net, Pauses
from tests.network.proxy import Exchange, Fault
from tests.network.wire import Message

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
async def test_an_extension_that_fails_stops_no_handler(net: Net, fault: Fault) -> None:
    data = job_data()
    net.queue.enqueue(data)

    async def handler(_: JobMessage) -> None:
        # An extension that fails, and one that succeeds after it.
        await net.proxy.wait_attempted("meshhook_extend", 2)
        await net.proxy.wait_forwarded("meshhook_extend", forwarded_by_fault + 1)

    forwarded_by_fault = int(fault in {faults.lose_answer, faults.cut})
    net.proxy.lay(fault, "meshhook_extend")
    async with net.make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await net.events.wait_settled()

    assert len(net.events.of("started")) == len(net.events.of("succeeded")) == 1
    assert net.events.of("lost", "failed", "released") == []
    record = record_of(net.queue, data["run_id"])
    assert (record.state, record.attempt, record.attempts) == ("completed", 1, ())


async def test_a_handler_is_stopped_when_its_lease_is_over_and_not_before(
    net: Net, pauses: Pauses
) -> None:
    data = job_data()
    net.queue.enqueue(data)
    extended_at: list[float] = []
    stopped_at: list[float] = []

    async def extend_once(exchange: Exchange) -> None:
        await exchange.pass_on()
        extended_at.append(time.monotonic())
        net.proxy.refuse()

    async def handler(_: JobMessage) -> None:
        if stopped_at:
            return
        try:
            await anyio.sleep_forever()
        finally:
            stopped_at.append(time.monotonic())
            net.proxy.accept()

    net.proxy.lay(extend_once, "meshhook_extend")
    async with net.make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await net.events.wait("succeeded")

    # The first extension that fails is due after a third of the lease, which is counted from when
    # the last one was asked for: a little earlier than it was answered.
    assert stopped_at[0] - extended_at[0] > LEASE_SECONDS * 0.6
    assert [event.attempt for event in net.events.of("started")] == [1, 2]
    (lost,) = net.events.of("lost")
    assert lost.error_message == "it ended, and could not be extended"
    record = record_of(net.queue, data["run_id"])
    assert [attempt.outcome for attempt in record.attempts] == ["lapsed"]
    assert len(pauses.all) > 0


PUT_OFF: dict[str, BaseException] = {"snoozed": Snooze(3600), "retried": Retry(after_seconds=3600)}


@pytest.mark.parametrize("kind", PUT_OFF)
async def test_an_extension_that_arrives_after_the_settle_does_not_undo_it(
    net: Net, kind: str
) -> None:
    data = job_data()
    net.queue.enqueue(data)
    may_arrive = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await net.proxy.wait_attempted("meshhook_extend")
        raise PUT_OFF[kind]

    # The extension and the settle are on their way at once, and the settle is faster.
    net.proxy.lay(faults.hold(may_arrive), "meshhook_extend")
    async with net.make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS):
        await net.events.wait(kind)
        settled = record_of(net.queue, data["run_id"])
        may_arrive.set()
        await net.proxy.wait_forwarded("meshhook_extend")
        afterwards = record_of(net.queue, data["run_id"])

    assert settled.vt is not None
    assert (afterwards.state, afterwards.vt) == ("scheduled", settled.vt)


async def test_an_extension_that_arrives_after_a_hand_back_does_not_hide_the_job(net: Net) -> None:
    data = job_data()
    net.queue.enqueue(data)
    may_arrive = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await anyio.sleep_forever()

    net.proxy.lay(faults.hold(may_arrive), "meshhook_extend")
    async with net.make_worker(handler, visibility_timeout_seconds=LEASE_SECONDS, grace_seconds=0):
        await net.proxy.wait_attempted("meshhook_extend")
    handed_back = record_of(net.queue, data["run_id"])
    may_arrive.set()
    await net.proxy.wait_forwarded("meshhook_extend")

    assert len(net.events.of("released")) == 1
    assert handed_back.state == "available"
    assert record_of(net.queue, data["run_id"]).state == "available"


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
async def test_a_settle_that_arrives_twice_counts_once(net: Net, settings: dict[str, int]) -> None:
    data = job_data()
    net.queue.enqueue(data)
    settles: list[Exchange] = []

    async def keep(exchange: Exchange) -> None:
        settles.append(exchange)
        await exchange.pass_on()

    async def handler(_: JobMessage) -> None:
        raise Retry(after_seconds=3600)

    net.proxy.lay(keep, "meshhook_settle")
    async with net.make_worker(handler, **settings):
        await net.events.wait("retried")
    settled = record_of(net.queue, data["run_id"])
    again = await net.proxy.ask_gateway(settles[0].request)

    assert settles[0].answer is not None
    assert statuses_in(again) == statuses_in(settles[0].answer) == ["ok"]
    assert attrs.asdict(record_of(net.queue, data["run_id"])) == attrs.asdict(settled)


async def test_a_handler_whose_job_another_worker_had_in_between_is_not_taken_up_again(
    net: Net, clock: Clock
) -> None:
    data = job_data()
    net.queue.enqueue(data)
    may_claim, may_end = anyio.Event(), anyio.Event()

    async def handler(_: JobMessage) -> None:
        await may_end.wait()

    async with net.make_worker(handler) as worker:
        await net.events.wait("started")
        # The worker stands still for longer than its lease, and another worker tries the job.
        claims = net.proxy.attempted("meshhook_dequeue")
        net.proxy.lay(faults.hold(may_claim), "meshhook_dequeue")
        await net.proxy.wait_attempted("meshhook_dequeue", claims + 1)
        clock.advance(31)
        other = net.queue.dequeue()
        assert other is not None
        net.queue.retry(other)
        may_claim.set()
        await net.proxy.wait_attempted("meshhook_dequeue", claims + 3)
        may_end.set()
        await net.events.wait("lost", "succeeded")

    # What this handler did it did next to the other attempt, of which it knows nothing.
    assert len(net.events.of("lost")) == 1
    assert worker.get_stats().succeeded == 0
    assert record_of(net.queue, data["run_id"]).state != "completed"
