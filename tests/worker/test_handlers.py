"""What a handler can do to its job, and what it cannot do to its worker."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import psycopg
import pytest

from meshhook import (
    DeadLetter,
    DLQService,
    InvalidInputError,
    JobHandler,
    JobMessage,
    QueueService,
    Retry,
    Snooze,
    Worker,
    create_job_handler,
    current_job,
)
from tests.clock import Clock
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker


class BrokenTextError(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class OwnBase(BaseException):
    """An exception that no `except Exception` catches."""


async def work_off(worker: Worker, events: Events, attempts: int = 1) -> None:
    """Run a worker until so many attempts have come to an end."""
    async with worker:
        await events.wait_settled(attempts)


def raise_(error: BaseException) -> None:
    raise error


MISDEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "an exception": (lambda: raise_(ValueError("boom")), "ValueError: boom"),
    "an exception without text": (lambda: raise_(TimeoutError()), "TimeoutError"),
    "SystemExit": (lambda: raise_(SystemExit(3)), "SystemExit: 3"),
    "KeyboardInterrupt": (lambda: raise_(KeyboardInterrupt()), "KeyboardInterrupt"),
    "GeneratorExit": (lambda: raise_(GeneratorExit()), "GeneratorExit"),
    "a base exception": (lambda: raise_(OwnBase("own")), "OwnBase: own"),
    "broken text": (
        lambda: raise_(BrokenTextError()),
        "BrokenTextError: <str() of it raises RuntimeError>",
    ),
    "NUL and surrogates": (lambda: raise_(ValueError("a\0b\ud800")), "ValueError: a\ufffdb?"),
    "a group": (
        lambda: raise_(ExceptionGroup("both", [ValueError("a"), KeyError("b")])),
        "ExceptionGroup: both (2 sub-exceptions): ValueError: a; KeyError: 'b'",
    ),
}


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(("misdeed", "text"), MISDEEDS.values(), ids=MISDEEDS)
async def test_whatever_a_handler_raises_is_one_failed_attempt(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    misdeed: Callable[[], object],
    text: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # What is logged goes into the report of a test, and pytest-xdist can send no surrogates.
    caplog.set_level(logging.CRITICAL, "meshhook.worker")
    data = job_data()
    await queue.enqueue(data)

    def handle(message: JobMessage) -> None:
        if message.run_id == data["run_id"] and message.attempt == 1:
            misdeed()

    async def handle_async(message: JobMessage) -> None:
        handle(message)

    worker = make_worker(handle if kind == "def" else handle_async)
    await work_off(worker, events, attempts=2)

    (record,) = await queue.find_jobs(data["run_id"])
    assert record.state == "completed"
    (attempt,) = record.attempts
    assert attempt.error_message == text
    assert attempt.outcome == "retried"
    assert attempt.worker is not None
    assert attempt.error_stack is not None
    stats = worker.get_stats()
    assert (stats.processed, stats.succeeded, stats.failed, stats.retried) == (2, 1, 1, 1)


async def test_an_error_text_of_ten_megabytes_is_cut(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def fail(_: JobMessage) -> None:
        raise ValueError("x" * 10_000_000)

    await work_off(make_worker(fail, retry_config={"base_delay_ms": 60_000}), events)

    (record,) = await queue.find_jobs(data["run_id"])
    (attempt,) = record.attempts
    assert attempt.error_message is not None
    assert attempt.error_stack is not None
    assert len(attempt.error_message) == 4_000
    assert attempt.error_message.endswith("characters, cut)")
    assert len(attempt.error_stack) == 32_000


async def test_a_handler_that_cancels_its_own_scope_has_finished(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())

    async def cancel_itself(_: JobMessage) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()

    worker = make_worker(cancel_itself)
    await work_off(worker, events)

    assert worker.get_stats().succeeded == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_handler_that_cancels_its_own_task_fails_and_the_worker_goes_on(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def cancel_the_task(message: JobMessage) -> None:
        if message.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

    worker = make_worker(cancel_the_task)
    await work_off(worker, events, attempts=2)

    (record,) = await queue.find_jobs(data["run_id"])
    assert record.state == "completed"
    assert [attempt.error_type for attempt in record.attempts] == ["CancelledError"]


async def test_a_handler_may_use_a_task_group_of_its_own(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    seen = []

    async def look() -> None:
        seen.append(current_job().attempt)

    async def handler(_: JobMessage) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            group.start_soon(look)

    worker = make_worker(handler)
    await work_off(worker, events)

    assert seen == [1, 1]
    assert worker.get_stats().succeeded == 1


async def test_retry_says_when_and_why(
    queue: QueueService, events: Events, make_worker: MakeWorker, clock: Clock
) -> None:
    await queue.enqueue(job_data())

    async def busy(_: JobMessage) -> None:
        raise Retry(after_seconds=500, reason="the receiver is busy")

    await work_off(make_worker(busy), events)

    clock.advance(499)
    assert await queue.dequeue() is None
    clock.advance(1)
    job = await queue.dequeue()
    assert job is not None
    assert (job.attempt, job.message.last_error) == (2, "Retry: the receiver is busy")


@pytest.mark.parametrize("answer", [Retry, Snooze], ids=["Retry", "Snooze"])
async def test_a_handler_can_name_the_time_instead(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    admin: psycopg.Connection,
    answer: type[Retry | Snooze],
) -> None:
    nine = datetime.now(UTC) + timedelta(days=1)
    await queue.enqueue(job_data())

    async def not_yet(_: JobMessage) -> None:
        raise answer(run_at=nine)

    await work_off(make_worker(not_yet), events)

    row = admin.execute(f"select vt from pgmq.q_{queue.queue_name}").fetchone()
    assert row == (nine,)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Retry(5, run_at=datetime.now(UTC)),
        lambda: Snooze(timedelta(hours=1), run_at=datetime.now(UTC)),
        Snooze,
        lambda: Snooze(run_at=datetime(2027, 1, 1)),  # noqa: DTZ001 - that is the mistake
    ],
    ids=["Retry for both", "Snooze for both", "Snooze for nothing", "Snooze for a naive time"],
)
def test_a_handler_that_names_no_time_or_two_gets_an_error(ask: Callable[[], object]) -> None:
    with pytest.raises(InvalidInputError, match=r"run_at|time zone"):
        ask()


def test_what_a_handler_says_in_timedeltas_is_in_seconds() -> None:
    assert Retry(timedelta(minutes=5)).after_seconds == 300
    assert Snooze(timedelta(minutes=5)).seconds == 300


async def test_retry_on_the_last_attempt_is_the_end(
    queue: QueueService, dlq: DLQService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async def busy(_: JobMessage) -> None:
        raise Retry(reason="busy")

    worker = make_worker(busy)
    await work_off(worker, events)

    (dead,) = await dlq.list_dead_letter_jobs()
    assert dead.message.error_message == "Retry: busy"
    assert worker.get_stats().moved_to_dlq == 1


async def test_snooze_puts_a_job_off_without_an_attempt(
    queue: QueueService, events: Events, make_worker: MakeWorker, clock: Clock
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async def not_yet(_: JobMessage) -> None:
        raise Snooze(100)

    worker = make_worker(not_yet)
    await work_off(worker, events)

    assert await queue.dequeue() is None
    clock.advance(100)
    job = await queue.dequeue()
    assert job is not None
    assert job.attempt == 1
    stats = worker.get_stats()
    assert (stats.snoozed, stats.processed, stats.released) == (1, 0, 0)


async def raise_in_groups(depth: int) -> None:
    """Give a job up from a task of a task of a handler's task."""
    if not depth:
        raise DeadLetter("no such customer")
    async with anyio.create_task_group() as group:
        group.start_soon(raise_in_groups, depth - 1)


GONE = LookupError("gone")

GIVEN_UP: dict[str, tuple[Callable[[], object], str]] = {
    "DeadLetter": (lambda: raise_(DeadLetter("no such customer")), "no such customer"),
    "DeadLetter in a group": (lambda: raise_in_groups(1), "no such customer"),
    "DeadLetter in groups": (lambda: raise_in_groups(3), "no such customer"),
    "a fatal exception": (lambda: raise_(GONE), "gone"),
    "a fatal exception in a group": (
        lambda: raise_(ExceptionGroup("many", [ValueError(), GONE])),
        "gone",
    ),
}


@pytest.mark.parametrize(("fail", "text"), GIVEN_UP.values(), ids=GIVEN_UP)
async def test_a_job_that_is_given_up_has_no_second_attempt(
    queue: QueueService,
    dlq: DLQService,
    events: Events,
    make_worker: MakeWorker,
    fail: Callable[[], Any],
    text: str,
) -> None:
    await queue.enqueue(job_data(max_attempts=100))

    async def handler(_: JobMessage) -> None:
        await fail()

    await work_off(make_worker(handler, fatal_exceptions=[LookupError]), events)

    (dead,) = await dlq.list_dead_letter_jobs()
    assert text in dead.message.error_message
    assert dead.message.attempt == 1


async def test_the_last_attempt_ends_in_the_dead_letter_queue_with_all_attempts(
    queue: QueueService, dlq: DLQService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())

    async def fail(message: JobMessage) -> None:
        raise ValueError(f"attempt {message.attempt}")

    worker = make_worker(fail)
    await work_off(worker, events, attempts=3)

    (listed,) = await dlq.list_dead_letter_jobs()
    dead = await dlq.get_dead_letter_job(listed.msg_id)
    assert dead is not None
    assert dead.message.error_message == "ValueError: attempt 3"
    assert dead.message.error_stack is not None
    assert "in fail" in dead.message.error_stack
    assert [a.error_message for a in dead.attempts] == [
        f"ValueError: attempt {n}" for n in (1, 2, 3)
    ]
    stats = worker.get_stats()
    assert (stats.failed, stats.retried, stats.moved_to_dlq) == (3, 2, 1)
    assert stats.last_error == "ValueError: attempt 3"


async def test_a_job_timeout_cancels_the_handler_and_fails_the_attempt(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data()
    await queue.enqueue(data)

    async def hang(message: JobMessage) -> None:
        if message.attempt == 1:
            await anyio.sleep_forever()

    await work_off(make_worker(hang, job_timeout_seconds=0.05), events, attempts=2)

    (record,) = await queue.find_jobs(data["run_id"])
    assert record.state == "completed"
    (attempt,) = record.attempts
    assert attempt.error_type == "JobTimeoutError"
    assert attempt.error_message == (
        "JobTimeoutError: The handler did not finish within 0.05 seconds."
    )


async def test_the_handlers_own_time_comes_before_the_workers(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    data = job_data(max_attempts=1)
    await queue.enqueue(data)
    deadlines = []

    async def hang(_: JobMessage) -> None:
        deadlines.append(current_job().deadline)
        await anyio.sleep_forever()

    handler = create_job_handler(hang, timeout_seconds=0.05)
    await work_off(make_worker(handler, job_timeout_seconds=1000), events)

    (record,) = await queue.find_jobs(data["run_id"])
    assert record.attempts[0].error_type == "JobTimeoutError"
    assert deadlines[0] is not None


async def test_a_plain_handler_runs_in_a_thread_and_blocks_nobody(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])
    all_there = threading.Barrier(3, timeout=10)
    threads = []

    def block(message: JobMessage) -> None:
        # Passes only if all three are blocked at the same time.
        all_there.wait()
        threads.append(threading.current_thread())
        assert current_job().job.message is message

    worker = make_worker(block, concurrency=3)
    await work_off(worker, events, attempts=3)

    assert threading.main_thread() not in threads
    assert all(thread.daemon for thread in threads)


async def test_a_plain_handler_that_times_out_is_not_run_again_next_to_itself(
    queue: QueueService, events: Events, make_worker: MakeWorker, clock: Clock
) -> None:
    data = job_data()
    await queue.enqueue(data)
    may_end = threading.Event()
    at_once: list[int] = []
    running: list[int] = []

    def hang(message: JobMessage) -> None:
        running.append(message.attempt)
        at_once.append(len(running))
        may_end.wait(10)
        running.remove(message.attempt)

    worker = make_worker(hang, job_timeout_seconds=0.05)
    async with worker:
        # The attempt times out; claimed again, the job is handed back while the thread is there.
        await events.wait("released")
        assert running == [1]
        may_end.set()
        clock.advance(5)
        await events.wait("succeeded")

    assert at_once == [1, 1]
    (record,) = await queue.find_jobs(data["run_id"])
    assert (record.state, record.attempt) == ("completed", 2)


async def test_a_plain_function_may_return_something_to_await(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    awaited = []

    async def later(message: JobMessage) -> None:
        awaited.append(message.run_id)

    def returns_something_to_await(message: JobMessage) -> object:
        return later(message)

    worker = make_worker(returns_something_to_await)
    await work_off(worker, events)

    assert len(awaited) == 1


def test_current_job_is_for_handlers() -> None:
    with pytest.raises(LookupError, match="for handlers"):
        current_job()


def not_a_handler_because_it_takes_nothing() -> None: ...


def not_a_handler_because_it_takes_two(a: object, b: object) -> None: ...


def not_a_handler_because_it_yields(message: object) -> Iterator[object]:
    yield message


async def not_a_handler_because_it_yields_too(message: object) -> AsyncIterator[object]:
    yield message


class NotAHandlerBecauseItIsAClass:
    def __init__(self, message: object) -> None: ...

    def method(self, message: object) -> None: ...


class NotAHandlerBecauseItsCallYields:
    def __call__(self, message: object) -> Iterator[object]:
        yield message


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (NotAHandlerBecauseItIsAClass, "is a class"),
        (NotAHandlerBecauseItIsAClass.method, "it is the method of a class"),
        (NotAHandlerBecauseItsCallYields(), "yields"),
        (None, "not None"),
        ("handler", "not 'handler'"),
        (not_a_handler_because_it_takes_nothing, "cannot be called with a message"),
        (not_a_handler_because_it_takes_two, "cannot be called with a message"),
        (not_a_handler_because_it_yields, "yields"),
        (not_a_handler_because_it_yields_too, "yields"),
    ],
)
def test_what_is_no_handler_is_refused_at_once(bad: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        create_job_handler(bad)


async def test_a_handler_can_be_called_without_a_worker() -> None:
    async def double(message: JobMessage) -> int:
        return int(message["n"]) * 2

    handler = create_job_handler(double, timeout_seconds=3)

    assert isinstance(handler, JobHandler)
    assert handler.is_async
    assert await handler(JobMessage(n=21)) == 42
    assert create_job_handler(handler) is handler
    assert create_job_handler(handler, 5).timeout_seconds == 5
