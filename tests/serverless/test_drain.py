"""Draining: until the queue is empty, enough is done, or the time is nearly up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from meshhook import (
    InvalidInputError,
    JobMessage,
    QueueNotFoundError,
    QueueService,
    Snooze,
    SyncQueueService,
    connect_sync,
)
from meshhook.local import LocalStack
from meshhook.serverless import drain_from_environment, drain_sync
from meshhook.worker import drain
from tests.faults import FaultInjector, verbs
from tests.jobs import job_data
from tests.worker.conftest import do_nothing


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a drain wait a moment after a failed call, and not half a second and more."""
    monkeypatch.setattr("meshhook.worker.health.BASE_SECONDS", 0.01)
    monkeypatch.setattr("meshhook.worker.health.CEILING_SECONDS", 0.02)


async def test_a_drain_works_until_the_queue_is_empty(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue_many([job_data() for _ in range(25)])

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert (report.processed, report.succeeded) == (25, 25)
    assert (report.reason, report.more_waiting) == ("empty", False)
    assert report.seconds > 0
    assert (await queue.get_queue_metrics()).queue_length == 0


async def test_an_empty_queue_takes_one_call(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    faults.calls.clear()

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert report.processed == 0
    assert [function for function, _ in faults.calls] == ["meshhook_dequeue"]


@pytest.mark.usefixtures("quick_pauses")
@pytest.mark.parametrize("break_next", [FaultInjector.refuse, FaultInjector.lose_answer])
async def test_a_queue_that_did_not_answer_is_not_empty(
    client: AsyncClient, queue: QueueService, faults: FaultInjector, break_next: Callable[..., None]
) -> None:
    await queue.enqueue(job_data())
    break_next(faults, "meshhook_dequeue", 3)

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert (report.succeeded, report.reason, report.more_waiting) == (1, "empty", False)


@pytest.mark.usefixtures("quick_pauses")
async def test_one_of_several_queues_that_did_not_answer_is_not_empty(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    other = QueueService(client, f"{queue.queue_name}_b")
    await other.create_queue()
    await queue.enqueue(job_data())
    await other.enqueue(job_data())
    faults.refuse("meshhook_dequeue")

    report = await drain(client, do_nothing, queue_name=[queue.queue_name, other.queue_name])

    assert (report.succeeded, report.reason) == (2, "empty")


@pytest.mark.usefixtures("quick_pauses")
async def test_an_outage_is_waited_out_until_the_time_is_up(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    await queue.enqueue(job_data())
    faults.refuse(times=1_000_000)

    report = await drain(client, do_nothing, queue_name=queue.queue_name, deadline_seconds=0.5)

    assert report.processed == 0
    assert report.reason in {"no time for another job", "the time is nearly up"}
    assert report.more_waiting
    assert report.outage is not None
    assert report.outage.startswith("meshhook_dequeue: no connection")


async def test_an_outage_that_is_over_is_not_reported(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    await queue.enqueue(job_data())
    faults.refuse("meshhook_dequeue")

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert (report.succeeded, report.outage) == (1, None)


async def test_jobs_past_their_last_attempt_do_not_hide_those_behind_them(
    client: AsyncClient, queue: QueueService, admin: psycopg.Connection
) -> None:
    """One claim dead-letters up to a thousand, and then answers although there is more."""
    admin.execute(
        "select pgmq.send_batch(%s, array_fill(%s::jsonb, array[1050]))",
        [queue.queue_name, Jsonb({"attempt": 2, "max_attempts": 1})],
    )
    await queue.enqueue(job_data())

    report = await drain(client, do_nothing, queue_name=queue.queue_name)

    assert (report.succeeded, report.reason) == (1, "empty")


async def test_no_more_than_max_jobs_are_claimed(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    await queue.enqueue_many([job_data() for _ in range(60)])

    report = await drain(client, do_nothing, queue_name=queue.queue_name, max_jobs=45)

    assert (report.succeeded, report.reason, report.more_waiting) == (45, "max_jobs", True)
    metrics = await queue.get_queue_metrics()
    assert (metrics.visible_jobs, metrics.invisible_jobs) == (15, 0)
    claims = [body["quantity"] for name, body in faults.calls if "meshhook_dequeue" in verbs(name)]
    assert claims
    assert max(claims) <= 10  # as many as handlers: nothing is claimed ahead


async def test_max_jobs_says_whether_more_is_waiting(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue_many([job_data(), job_data()])

    report = await drain(client, do_nothing, queue_name=queue.queue_name, max_jobs=2)

    assert (report.reason, report.more_waiting) == ("max_jobs", False)


async def test_what_is_not_finished_before_the_deadline_is_handed_back(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue_many([job_data() for _ in range(5)])
    begun: list[str] = []

    async def hang(message: JobMessage) -> None:
        begun.append(message.run_id)
        await anyio.sleep_forever()

    begin = time.monotonic()
    report = await drain(
        client, hang, queue_name=queue.queue_name, deadline_seconds=3, concurrency=2
    )

    assert time.monotonic() - begin < 3
    assert len(begun) == 2
    assert (report.processed, report.released, report.more_waiting) == (0, 2, True)
    assert report.reason == "the time is nearly up"
    jobs = await queue.dequeue_many(10)
    assert len(jobs) == 5
    assert {job.attempt for job in jobs} == {1}


async def test_a_plain_handler_is_not_waited_for_beyond_the_deadline(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue(job_data())
    may_end = threading.Event()

    report = await drain(
        client, lambda _: may_end.wait(10), queue_name=queue.queue_name, deadline_seconds=3
    )
    may_end.set()

    assert (report.released, report.more_waiting) == (1, True)
    assert report.seconds < 3


async def test_no_job_is_claimed_that_would_not_be_done_in_time(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue_many([job_data() for _ in range(10)])

    async def take_a_while(_: JobMessage) -> None:
        await anyio.sleep(0.9)

    report = await drain(
        client, take_a_while, queue_name=queue.queue_name, deadline_seconds=3, concurrency=1
    )

    assert report.reason == "no time for another job"
    assert report.succeeded in {1, 2}
    assert report.released == 0
    assert report.more_waiting


async def test_jobs_that_come_during_a_drain_are_drained_too(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue(job_data(metadata={"left": 3}))

    async def enqueue_another(message: JobMessage) -> None:
        if left := message.metadata["left"]:
            await queue.enqueue(job_data(metadata={"left": left - 1}))

    report = await drain(client, enqueue_another, queue_name=queue.queue_name)

    assert (report.succeeded, report.reason) == (4, "empty")


async def test_failures_and_snoozes_are_counted_and_waiting_retries_are_not_waited_for(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue_many(
        [job_data(metadata={"do": what}) for what in ("succeed", "fail", "snooze")]
    )

    async def handler(message: JobMessage) -> None:
        if message.metadata["do"] == "fail":
            raise ValueError
        if message.metadata["do"] == "snooze":
            raise Snooze(60)

    report = await drain(client, handler, queue_name=queue.queue_name)

    assert (report.succeeded, report.failed, report.retried, report.snoozed) == (1, 1, 1, 1)
    assert (report.reason, report.more_waiting) == ("empty", False)


async def test_a_drain_that_is_cancelled_hands_back_what_it_has(
    client: AsyncClient, queue: QueueService
) -> None:
    await queue.enqueue(job_data())

    with anyio.CancelScope() as scope:

        async def cancel(_: JobMessage) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        await drain(client, cancel, queue_name=queue.queue_name)

    job = await queue.dequeue()
    assert job is not None
    assert job.attempt == 1


async def test_leases_are_extended_while_a_drain_works(
    client: AsyncClient, queue: QueueService, faults: FaultInjector
) -> None:
    await queue.enqueue(job_data())

    async def wait(_: JobMessage) -> None:
        await faults.wait_answered("meshhook_extend", 4)

    report = await drain(client, wait, queue_name=queue.queue_name, visibility_timeout_seconds=2.4)

    assert (report.succeeded, report.lost) == (1, 0)


async def test_a_missing_queue_is_reported_with_the_fix(client: AsyncClient) -> None:
    with pytest.raises(QueueNotFoundError, match="create_queue"):
        await drain(client, do_nothing, queue_name="never_created")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_jobs": 0}, "max_jobs is 0"),
        ({"deadline_seconds": 0}, "deadline_seconds is 0"),
        ({"deadline_seconds": float("inf")}, "deadline_seconds is inf"),
        ({"concurrency": 0}, "concurrency is 0"),
    ],
)
async def test_a_bad_option_is_refused_by_name(
    client: AsyncClient, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInputError, match=text):
        await drain(client, do_nothing, **options)


def test_a_sync_client_drains_too(stack: LocalStack, queue_name: str) -> None:
    handled: list[str] = []
    with connect_sync(stack.url, stack.secret_key) as client:
        queue = SyncQueueService(client, queue_name)
        queue.enqueue_many([job_data() for _ in range(12)])

        report = drain_sync(
            client, lambda message: handled.append(message.run_id), queue_name=queue_name
        )

        assert queue.get_queue_metrics().queue_length == 0
    assert (report.succeeded, report.reason) == (12, "empty")
    assert len(set(handled)) == 12


@pytest.mark.usefixtures("environment")
def test_the_plain_function_takes_everything_from_the_environment(
    queue_name: str, admin: Any
) -> None:
    admin.execute("select public.meshhook_enqueue(%s, %s)", [queue_name, Jsonb([job_data()])])

    assert drain_from_environment(do_nothing, queue_name=queue_name).succeeded == 1


async def test_the_wrong_kind_of_client_is_refused(client: AsyncClient, stack: LocalStack) -> None:
    with (
        connect_sync(stack.url, stack.secret_key) as sync_client,
        pytest.raises(TypeError, match="AsyncClient"),
    ):
        await drain(sync_client, do_nothing)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(TypeError, match=r"sync supabase\.Client"):
        drain_sync(client, do_nothing)  # type: ignore[arg-type]  # that is the test
