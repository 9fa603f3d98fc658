"""How many jobs a worker claims at once, and how many claims are on their way."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest

from meshhook import AuthenticationError, JobMessage, QueueService
from meshhook.worker import prefetch as module
from meshhook.worker.claim import MAX_CLAIM
from meshhook.worker.in_flight import InFlight
from meshhook.worker.prefetch import MAX_PREFETCH, Prefetch
from tests.clock import Clock
from tests.faults import FaultInjector, verbs
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing

pytestmark = pytest.mark.anyio


def claims(faults: FaultInjector) -> list[dict[str, Any]]:
    return [body for function, body in faults.calls if "meshhook_dequeue" in verbs(function)]


def quantities(faults: FaultInjector) -> list[int]:
    return [body["quantity"] for body in claims(faults)]


async def fill(queue: QueueService, faults: FaultInjector) -> None:
    """Put a backlog in the queue, and count calls from there on."""
    await queue.enqueue_many([job_data() for _ in range(3000)])
    faults.calls.clear()


async def test_claims_grow_with_a_backlog_of_quick_jobs(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(4000)])
    faults.calls.clear()

    async with make_worker(do_nothing, concurrency=10):
        await events.wait("succeeded", times=4000)

    asked = quantities(faults)
    assert asked[0] == 10
    assert max(asked) == MAX_CLAIM
    # One RPC serves hundreds of jobs, though the worker does not know how quick they are.
    assert len(faults.calls) <= 4000 * 0.02


async def test_a_quiet_queue_is_asked_for_no_more_than_handlers_are_free(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    async with make_worker(do_nothing, concurrency=10):
        for done in range(1, 6):
            await queue.enqueue(job_data())
            await events.wait("succeeded", times=done)

    assert max(quantities(faults)) <= 10


async def test_a_drain_claims_by_the_load_too(
    queue: QueueService, faults: FaultInjector, client: Any
) -> None:
    from meshhook.worker import drain  # noqa: PLC0415 - as an app would

    await fill(queue, faults)

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert (report.succeeded, report.reason) == (3000, "empty")
    assert max(quantities(faults)) == MAX_CLAIM
    assert len(faults.calls) <= 3000 * 0.02


async def test_jobs_behind_a_slow_one_are_handed_back(
    queue: QueueService, events: Events, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    quick = [job_data() for _ in range(60)]
    slow = job_data()
    await queue.enqueue_many([*quick[:30], slow, *quick[30:]])
    others_done = anyio.Event()

    async def handler(message: JobMessage) -> None:
        if message.run_id == slow["run_id"]:
            await others_done.wait()

    async with make_worker(handler, concurrency=1, name="blocked"):
        await events.wait("released")
        async with make_worker(handler, concurrency=1, name="free"):
            await events.wait("succeeded", times=60)
            others_done.set()
        await events.wait("succeeded", times=61)

    done = events.of("succeeded")
    assert {event.run_id for event in done} == {job["run_id"] for job in [*quick, slow]}
    assert {event.attempt for event in done} == {1}
    assert {event.worker for event in events.of("released")} == {"blocked"}


async def test_what_a_dead_worker_left_is_not_claimed_ahead(
    queue: QueueService,
    events: Events,
    clock: Clock,
    faults: FaultInjector,
    make_worker: MakeWorker,
) -> None:
    """One of them may have killed it, and would take all the others down with it."""
    await queue.enqueue_many([job_data() for _ in range(60)])
    left = await queue.dequeue_many(60)
    await queue.enqueue_many([job_data() for _ in range(300)])
    clock.advance(31)
    left_ids = {job.msg_id for job in left}
    faults.calls.clear()

    async with make_worker(do_nothing, concurrency=5):
        await events.wait("succeeded", times=360)

    done, released = events.of("succeeded"), events.of("released")
    assert {event.attempt for event in done if event.msg_id in left_ids} == {2}
    assert {event.attempt for event in done if event.msg_id not in left_ids} == {1}
    # They came at the end of a large claim; all but a few, for handlers that were free, went back.
    asked = quantities(faults)
    large = asked.index(max(asked))
    assert asked[large] > 50
    assert len(released) >= 50
    assert max(asked[large + 1 : large + 11]) <= 5


@pytest.mark.parametrize(
    ("last", "claims_ahead"),
    [
        pytest.param("released", "no", id="handed-back"),
        pytest.param("released twice", "no", id="handed-back-twice"),
        pytest.param("retried", "yes", id="failed-again"),
    ],
)
async def test_what_failed_and_was_then_left_by_a_dead_worker_is_not_claimed_ahead_when_handed_back(
    queue: QueueService,
    events: Events,
    clock: Clock,
    faults: FaultInjector,
    make_worker: MakeWorker,
    last: str,
    claims_ahead: str,
) -> None:
    await queue.enqueue_many([job_data(max_attempts=9) for _ in range(60)])
    for job in await queue.dequeue_many(60):
        await queue.retry(job, error_message="told")
    await queue.dequeue_many(60)
    clock.advance(31)
    settle = queue.retry if last == "retried" else queue.release
    for _ in range(2 if last == "released twice" else 1):
        for job in await queue.dequeue_many(60):
            assert await settle(job)
    faults.calls.clear()

    async with make_worker(do_nothing, concurrency=5):
        await events.wait("succeeded", times=60)

    assert (max(quantities(faults)[:10]) > 5) is (claims_ahead == "yes")
    assert {event.attempt for event in events.of("succeeded")} == {4 if last == "retried" else 3}


async def test_failures_that_were_told_do_not_make_claims_small(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data(metadata={"number": n}) for n in range(1500)])

    async def handler(message: JobMessage) -> None:
        if message.attempt == 1 and message.metadata["number"] % 10 == 0:
            raise ValueError

    faults.calls.clear()
    async with make_worker(handler, concurrency=10):
        await events.wait("succeeded", times=1500)

    assert len(events.of("retried")) == 150
    assert not events.of("released")
    assert max(quantities(faults)) == MAX_CLAIM


async def test_a_second_claim_is_on_its_way_while_there_is_a_backlog(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await fill(queue, faults)

    async with make_worker(do_nothing, prefetch=2000):
        await faults.wait_answered("meshhook_dequeue", 1)
        may_answer = faults.hold_answer("meshhook_dequeue", 2)
        with anyio.fail_after(10):
            await faults.wait_attempted("meshhook_dequeue", 3)
        may_answer.set()
        await events.wait("succeeded", times=3000)

    assert len({event.msg_id for event in events.of("started")}) == 3000
    assert {event.attempt for event in events.of("succeeded")} == {1}


async def test_one_handler_gets_the_jobs_in_order(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(2500)])

    async with make_worker(do_nothing, concurrency=1):
        await events.wait("succeeded", times=2500)

    started = [event.msg_id or 0 for event in events.of("started")]
    assert started == sorted(started)
    assert max(quantities(faults)) == MAX_CLAIM


async def test_both_claims_are_sent_again_until_they_are_answered(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await fill(queue, faults)

    async with make_worker(do_nothing, prefetch=2000):
        await faults.wait_answered("meshhook_dequeue", 1)
        faults.lose_answer("meshhook_dequeue", 4)
        await events.wait("succeeded", times=3000)

    asked = [body["request_id"] for body in claims(faults)]
    assert len(asked) - len(set(asked)) == 4
    assert (
        len({event.msg_id for event in events.of("started")}) == len(events.of("started")) == 3000
    )
    assert {event.attempt for event in events.of("succeeded")} == {1}
    assert not events.of("lost")


async def test_a_stop_hands_back_what_both_claims_bring(
    queue: QueueService, events: Events, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await fill(queue, faults)

    async with make_worker(do_nothing, prefetch=2000) as worker:
        await faults.wait_answered("meshhook_dequeue", 1)
        may_answer = faults.hold_answer("meshhook_dequeue", 2)
        await faults.wait_attempted("meshhook_dequeue", 3)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.stop)
            await events.wait("worker_stopping")
            may_answer.set()

    assert len(events.of("released")) >= 2 * MAX_CLAIM
    left = [*await queue.dequeue_many(1000), *await queue.dequeue_many(1000)]
    left += await queue.dequeue_many(1000)
    assert len(left) + len(events.of("succeeded")) == 3000
    assert {job.attempt for job in left} == {1}


async def test_what_waiting_does_not_mend_ends_both_lanes(
    queue: QueueService, faults: FaultInjector, make_worker: MakeWorker
) -> None:
    await fill(queue, faults)
    worker = make_worker(do_nothing, prefetch=2000)
    await worker.start()
    await faults.wait_answered("meshhook_dequeue", 1)
    faults.answer(401, {"code": "PGRST301", "message": "no"}, "meshhook_dequeue", times=1_000_000)

    with pytest.raises(AuthenticationError):
        await worker.wait()


@attrs.define
class Seen:
    """Stands for what a prefetch looks at: attempts that have ended, and jobs in handlers."""

    attempts: int = 0
    seconds: float = 0.0

    def worked(self) -> tuple[int, float]:
        return self.attempts, self.seconds

    def running(self) -> list[Any]:
        return []


def prefetch_after(seconds: float, claims: int, concurrency: int = 10) -> list[int]:
    """Return how many jobs are claimed ahead after each of some full claims."""
    seen, in_flight = Seen(), InFlight(concurrency)
    prefetch = Prefetch(concurrency, in_flight, seen, seen)  # type: ignore[arg-type]
    ahead = []
    for _ in range(claims):
        seen.attempts += 100
        seen.seconds += 100 * seconds
        prefetch.claimed([], is_full=True)
        ahead.append(in_flight.capacity - concurrency)
    return ahead


def test_what_is_claimed_ahead_doubles_up_to_what_handlers_get_through_in_a_moment() -> None:
    assert prefetch_after(0.0, claims=10) == [10, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000]
    assert prefetch_after(0.0, claims=10)[-1] == MAX_PREFETCH
    assert prefetch_after(0.005, claims=6) == [10, 20, 40, 80, 160, 190]


@pytest.mark.parametrize("seconds", [0.1, 0.2, 60])
def test_nothing_is_claimed_ahead_where_jobs_take_long(seconds: float) -> None:
    assert prefetch_after(seconds, claims=3) == [0, 0, 0]
