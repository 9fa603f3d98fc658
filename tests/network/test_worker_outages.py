"""P7 over a real connection: a worker waits every outage out, says so once, and goes on."""

from __future__ import annotations

import logging
from collections import Counter

import anyio
import pytest
from supabase import AsyncClient

from meshhook import JobMessage
from tests.jobs import job_data
from tests.network import faults
from tests.network.conftest import CEILING_SECONDS, IMPATIENT, PATIENT, Net, Pauses
from tests.network.outages import OUTAGES, Outage
from tests.worker.conftest import do_nothing

EACH_OUTAGE = pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged for an operator to see, without its numbers."""
    records = [r for r in caplog.records if r.name.startswith("meshhook")]
    return [r.getMessage()[:20] for r in records if r.levelno >= logging.WARNING]


# On trio, httpx leaves the body of a request whose sending was broken off to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@EACH_OUTAGE
async def test_an_outage_is_waited_out_and_every_job_runs_once(
    net: Net, client: AsyncClient, pauses: Pauses, caplog: pytest.LogCaptureFixture, outage: Outage
) -> None:
    client.postgrest.session.timeout = PATIENT
    runs: Counter[str] = Counter()
    before, during = [job_data() for _ in range(3)], [job_data() for _ in range(3)]
    net.queue.enqueue_many(before)

    async def handler(message: JobMessage) -> None:
        runs[message.run_id] += 1
        if message.run_id in {job["run_id"] for job in before}:
            await net.events.wait("outage")

    async with net.make_worker(handler) as worker:
        await net.events.wait("started", times=3)
        outage.begin(net.proxy)
        if outage.is_silent:
            client.postgrest.session.timeout = IMPATIENT
        await net.events.wait("outage")
        net.queue.enqueue_many(during)
        await pauses.wait(2 if outage.is_silent else 8)
        client.postgrest.session.timeout = PATIENT
        net.proxy.clear()
        pauses_before = len(pauses.all)
        await net.events.wait("succeeded", times=6)
        await net.events.wait("recovered")
        pauses_after = len(pauses.all) - pauses_before

    assert runs == Counter(job["run_id"] for job in (*before, *during))
    stats = worker.get_stats()
    assert (stats.succeeded, stats.failed, stats.lost) == (6, 0, 0)
    assert stats.unhealthy_since is None
    assert net.queue.get_queue_metrics().queue_length == 0
    # A claim and a settle may have been under way when it ended, and each makes one pause more.
    assert pauses_after <= 2
    assert [len(net.events.of(kind)) for kind in ("outage", "recovered")] == [1, 1]
    assert told(caplog) == ["waiting for Supabase", "Supabase is back aft"]


async def test_pauses_grow_to_the_ceiling_and_begin_again_after_a_success(
    net: Net, pauses: Pauses
) -> None:
    async with net.make_worker(do_nothing):
        await net.proxy.wait_forwarded("meshhook_dequeue")
        net.proxy.refuse()
        await pauses.wait(8)
        first = pauses.all[:8]
        net.proxy.accept()
        await net.events.wait("recovered")
        pauses.all.clear()
        net.proxy.refuse()
        await pauses.wait(1)

    expected = [min(CEILING_SECONDS, CEILING_SECONDS / 8 * 2**n) for n in range(8)]
    assert all(e / 2 <= pause <= e for pause, e in zip(first, expected, strict=True))
    assert pauses.all[0] <= CEILING_SECONDS / 8


async def test_a_pause_that_the_server_asks_for_is_kept_to_up_to_the_ceiling(
    net: Net, pauses: Pauses
) -> None:
    net.proxy.lay(faults.answer(429, retry_after="600"), "meshhook_dequeue")
    async with net.make_worker(do_nothing):
        await net.proxy.wait_forwarded("meshhook_dequeue")

    assert pauses.all == [CEILING_SECONDS]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("function", ["meshhook_dequeue", "meshhook_settle", "meshhook_extend"])
async def test_a_key_that_expires_is_waited_for_whichever_call_meets_it_first(
    net: Net, function: str
) -> None:
    net.queue.enqueue(job_data())
    expired = faults.answer(401, {"code": "PGRST303", "message": "JWT expired"})

    async def handler(_: JobMessage) -> None:
        before = net.proxy.attempted(function)
        net.proxy.lay(expired, function, times=3)
        if function != "meshhook_settle":
            await net.proxy.wait_attempted(function, before + 4)

    # A settle meets it by itself here; a claim that takes it along would meet it as a claim.
    rarely = {"poll_interval_ms": 3_600_000} if function == "meshhook_settle" else {}
    async with net.make_worker(handler, visibility_timeout_seconds=3, grace_seconds=1, **rarely):
        await net.events.wait("succeeded")

    assert len(net.events.of("started")) == 1
    assert net.events.of("lost", "failed", "released") == []


ALONE_IN_AN_OUTAGE = {"extensions": "meshhook_extend", "settles": "meshhook_settle"}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("function", ALONE_IN_AN_OUTAGE.values(), ids=ALONE_IN_AN_OUTAGE)
async def test_an_outage_that_no_claim_notices_is_reported_too(
    net: Net, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    net.queue.enqueue(job_data())
    may_end = anyio.Event()

    async def handler(_: JobMessage) -> None:
        await may_end.wait()

    # The queue is not asked again for an hour; extensions and settles are all that is sent.
    settings = {"visibility_timeout_seconds": 3, "poll_interval_ms": 3_600_000}
    async with net.make_worker(handler, **settings) as worker:
        await net.events.wait("started")
        net.proxy.lay(faults.reset, function, times=3)
        if function == "meshhook_settle":
            may_end.set()
        await net.proxy.wait_forwarded(function)
        told_during_it, last_error = told(caplog), worker.get_stats().last_error
        may_end.set()
        await net.events.wait("succeeded")

    assert last_error is not None
    assert told_during_it[:1] == ["waiting for Supabase"]


async def test_a_worker_that_starts_in_an_outage_begins_when_it_ends(
    net: Net, pauses: Pauses
) -> None:
    net.queue.enqueue(job_data())

    net.proxy.refuse()
    async with net.make_worker(do_nothing):
        await pauses.wait(3)
        net.proxy.accept()
        await net.events.wait("succeeded")

    assert [len(net.events.of(kind)) for kind in ("outage", "recovered")] == [1, 1]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_claim_whose_answers_are_lost_claims_no_more_than_it_asked_for(
    net: Net, pauses: Pauses, times: int
) -> None:
    net.queue.enqueue_many([job_data() for _ in range(5)])
    at_work = anyio.Event()
    may_end = anyio.Event()

    async def handler(_: JobMessage) -> None:
        at_work.set()
        await may_end.wait()

    net.proxy.lay(faults.lose_answer, "meshhook_dequeue", times)
    async with net.make_worker(handler, concurrency=2):
        await at_work.wait()
        claimed = net.queue.get_queue_metrics().invisible_jobs
        may_end.set()
        await net.events.wait("succeeded", times=5)

    assert claimed == 2
    assert len(pauses.all) == times
    assert [event.attempt for event in net.events.of("started")] == [1] * 5


async def test_a_worker_that_cannot_settle_does_not_go_on_claiming(
    net: Net, pauses: Pauses
) -> None:
    net.queue.enqueue_many([job_data() for _ in range(60)])

    net.proxy.lay_for_good(faults.answer(503), "meshhook_settle")
    async with net.make_worker(do_nothing, concurrency=5):
        await pauses.wait(12)
        begun = len(net.events.of("started"))
        net.proxy.clear()
        await net.events.wait("succeeded", times=60)

    # All that was done and not settled is done again if this worker dies now.
    assert begun <= 4 * 5
    assert net.events.of("lost") == []
