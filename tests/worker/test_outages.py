"""Outages are waited out; an error that waiting does not fix stops the worker with the fix."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from meshhook import (
    ExpiredKeyError,
    InvalidKeyError,
    JobMessage,
    MissingFunctionsError,
    PermissionDeniedError,
    QueueNotFoundError,
    QueueService,
)
from tests.faults import FaultInjector, verbs
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing

HTML = "<html><body>Bad gateway</body></html>"


def postgrest(code: str, message: str | None = None) -> dict[str, Any]:
    said = message or f"as PostgREST says {code}"
    return {"code": code, "message": said, "details": None, "hint": None}


Lay = Callable[[FaultInjector, str, int], object]

# One of each kind that the transport tells apart; tests/unit/test_answers has all of each kind.
OUTAGES: dict[str, Lay] = {
    "refused": lambda f, function, n: f.refuse(function, n),
    "answer lost": lambda f, function, n: f.lose_answer(function, n),
    "503": lambda f, function, n: f.answer(503, HTML, function, n),
    "200 with HTML": lambda f, function, n: f.answer(200, HTML, function, n),
    "200 cut off": lambda f, function, n: f.answer(200, '{"jobs": [{"msg_', function, n),
    "429": lambda f, function, n: f.answer(429, HTML, function, n, retry_after="0"),
    "no database": lambda f, function, n: f.answer(503, postgrest("PGRST000"), function, n),
    "statement timeout": lambda f, function, n: f.answer(500, postgrest("57014"), function, n),
    "a trigger that raises": lambda f, function, n: f.answer(400, postgrest("P0001"), function, n),
}


@pytest.fixture(autouse=True)
def no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshhook.worker.health.BASE_SECONDS", 0.001)


@pytest.mark.parametrize("function", ["meshhook_dequeue", "meshhook_settle"])
@pytest.mark.parametrize("lay", OUTAGES.values(), ids=OUTAGES)
async def test_every_outage_is_waited_out_and_each_job_runs_once(
    queue: QueueService,
    faults: FaultInjector,
    events: Events,
    make_worker: MakeWorker,
    lay: Lay,
    function: str,
) -> None:
    handled: list[str] = []
    jobs = [job_data() for _ in range(3)]
    await queue.enqueue_many(jobs)

    async def handler(message: JobMessage) -> None:
        handled.append(message.run_id)

    lay(faults, function, 3)
    async with make_worker(handler) as worker:
        await events.wait("succeeded", times=3)

    assert sorted(handled) == sorted(job["run_id"] for job in jobs)
    stats = worker.get_stats()
    assert (stats.succeeded, stats.lost, stats.failed) == (3, 0, 0)
    assert stats.unhealthy_since is None
    assert stats.last_successful_poll is not None
    assert faults.count(function) >= 4


async def test_jobs_of_a_claim_whose_answer_was_lost_are_handed_out_again(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())

    faults.lose_answer("meshhook_dequeue")
    async with make_worker(do_nothing):
        await events.wait("succeeded")

    assert events.of("started")[0].attempt == 1
    first, second = [
        body for function, body in faults.calls if "meshhook_dequeue" in verbs(function)
    ][:2]
    assert first == second


async def test_an_outage_is_told_once_and_so_is_its_end(
    faults: FaultInjector, events: Events, make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_worker(do_nothing) as worker:
        await faults.wait_answered("meshhook_dequeue")
        faults.refuse("meshhook_dequeue", times=5)
        await events.wait("outage")
        during = worker.get_stats()
        await events.wait("recovered")
        after = worker.get_stats()

    assert during.unhealthy_since is not None
    assert during.last_error is not None
    assert "no connection" in during.last_error
    assert after.unhealthy_since is None
    told = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert [m[:24] for m in told] == ["waiting for Supabase: me", "Supabase is back after 0"]
    assert len(events.of("outage")) == len(events.of("recovered")) == 1


async def test_running_handlers_go_on_during_an_outage(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    at_work = anyio.Event()

    async def handler(_: JobMessage) -> None:
        at_work.set()
        await events.wait("outage")

    async with make_worker(handler):
        await at_work.wait()
        faults.refuse(times=6)
        await events.wait("succeeded")

    assert events.of("lost", "failed", "released") == []


MENDED_BY_NOBODY: dict[str, tuple[int, dict[str, Any], type[Exception], str]] = {
    "wrong key": (401, postgrest("PGRST301"), InvalidKeyError, "SUPABASE_KEY"),
    "no permission": (403, postgrest("42501"), PermissionDeniedError, "secret"),
    "missing functions": (404, postgrest("PGRST202"), MissingFunctionsError, "migrations"),
    "missing queue": (
        404,
        postgrest("42P01", 'relation "pgmq.q_gone" does not exist'),
        QueueNotFoundError,
        "create_queue",
    ),
    "expired from the start": (401, postgrest("PGRST303"), ExpiredKeyError, "not expired"),
}


@pytest.mark.parametrize(
    ("status", "body", "error", "fix"), MENDED_BY_NOBODY.values(), ids=MENDED_BY_NOBODY
)
async def test_what_waiting_does_not_mend_stops_the_worker(
    faults: FaultInjector,
    make_worker: MakeWorker,
    status: int,
    body: dict[str, Any],
    error: type[Exception],
    fix: str,
) -> None:
    faults.answer(status, body, "meshhook_dequeue", times=1000)
    with pytest.raises(error, match=fix):
        await make_worker(do_nothing).run()

    assert faults.count("meshhook_dequeue") == 1


async def test_what_stops_a_worker_lets_running_handlers_finish_first(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())

    async def handler(_: JobMessage) -> None:
        faults.answer(401, postgrest("PGRST301"), "meshhook_dequeue", times=1000)
        await events.wait("worker_stopping")

    worker = make_worker(handler)
    with pytest.raises(InvalidKeyError):
        await worker.run()

    assert worker.get_stats().succeeded == 1


async def test_a_key_that_stays_expired_stops_the_worker_in_the_end(
    faults: FaultInjector, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook.worker.health.EXPIRED_KEY_SECONDS", 0.05)

    worker = make_worker(do_nothing)
    await worker.start()
    await faults.wait_answered("meshhook_dequeue")
    faults.answer(401, postgrest("PGRST303"), "meshhook_dequeue", times=10_000)

    with pytest.raises(ExpiredKeyError):
        await worker.wait()

    assert faults.count("meshhook_dequeue") > 3


@pytest.mark.parametrize(
    ("room", "refusals"),
    [
        pytest.param({"poll_interval_ms": 3_600_000}, 2, id="settled-alone"),
        pytest.param({"concurrency": 3}, 3, id="taken-along-by-a-claim"),
    ],
)
async def test_an_outcome_that_the_database_refuses_holds_up_no_other(
    queue: QueueService,
    faults: FaultInjector,
    events: Events,
    make_worker: MakeWorker,
    room: dict[str, int],
    refusals: int,
) -> None:
    await queue.enqueue_many([job_data(), job_data(), job_data()])
    all_there = anyio.Event()
    there: list[JobMessage] = []

    async def handler(message: JobMessage) -> None:
        there.append(message)
        if len(there) == 3:
            all_there.set()
        await all_there.wait()

    # The claim with the batch if there is one, then the batch, and then the first of its outcomes.
    faults.answer(400, postgrest("22P02"), "meshhook_settle", times=refusals)
    async with make_worker(handler, **room):
        await events.wait("succeeded", times=2)

    assert len(events.of("given_up")) == 1


async def test_outcomes_of_a_claim_whose_answer_was_lost_are_settled_once(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(6)])

    faults.lose_answer("meshhook_settle_and_dequeue", times=2)
    async with make_worker(do_nothing, concurrency=3) as worker:
        await events.wait("succeeded", times=6)

    assert faults.count("meshhook_settle_and_dequeue") >= 3
    assert len(events.of("started")) == 6
    assert (worker.get_stats().succeeded, worker.get_stats().lost) == (6, 0)


async def test_outcomes_that_a_claim_has_taken_along_are_settled_by_a_stop(
    queue: QueueService, faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])

    faults.refuse("meshhook_settle_and_dequeue", times=10_000)
    worker = make_worker(do_nothing, concurrency=3)
    await worker.start()
    await faults.wait_attempted("meshhook_settle_and_dequeue", 2)
    await worker.stop()

    assert (await worker.wait()).given_up == ()
    assert len(events.of("succeeded")) == 3
