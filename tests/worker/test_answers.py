"""The answers of a handler: raised or returned, from wherever, and never taken for an error."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import pytest

from meshhook import DeadLetter, JobMessage, QueueService, Retry, Snooze
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker

ANSWERS: dict[str, tuple[Retry | Snooze | DeadLetter, str, str | None]] = {
    "Retry": (Retry(600, "busy"), "retried", "Retry: busy"),
    "Snooze": (Snooze(600), "snoozed", None),
    "DeadLetter": (DeadLetter("no such customer"), "dead_lettered", "no such customer"),
}


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize(("answer", "outcome", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_returned_counts_as_if_it_were_raised(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    answer: Retry | Snooze | DeadLetter,
    outcome: str,
    text: str | None,
    kind: str,
) -> None:
    await queue.enqueue(job_data(max_attempts=9))

    def handle(_: JobMessage) -> object:
        return answer

    async def handle_async(_: JobMessage) -> object:
        return answer

    async with make_worker(handle if kind == "def" else handle_async):
        await events.wait_settled()

    (event,) = events.of("succeeded", "retried", "snoozed", "dead_lettered")
    assert (event.kind, event.error_message) == (outcome, text)


RAISE_IT = "raise it to fail the attempt, or return nothing to complete the job"

RETURNED: dict[str, tuple[Callable[[], object], str]] = {
    "a class of answers": (
        lambda: Retry,
        "TypeError: the handler returned the class Retry: write raise Retry(...)",
    ),
    "an error": (
        lambda: ValueError("boom"),
        f"TypeError: the handler returned ValueError: {RAISE_IT}",
    ),
    "a group": (
        lambda: BaseExceptionGroup("several", [Retry(60)]),
        f"TypeError: the handler returned BaseExceptionGroup: {RAISE_IT}",
    ),
}


@pytest.mark.parametrize(("make", "text"), RETURNED.values(), ids=RETURNED)
async def test_another_exception_that_is_returned_fails_the_attempt(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    make: Callable[[], object],
    text: str,
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async def handle(_: JobMessage) -> object:
        return make()

    async with make_worker(handle):
        await events.wait_settled()

    (event,) = events.of("dead_lettered")
    assert event.error_message == text


async def swallowing(_: JobMessage) -> None:
    """Answer from within code that catches every usual exception."""
    with suppress(Exception):
        raise DeadLetter("deep")


async def from_a_child(_: JobMessage) -> None:
    """Answer from a task of the handler's own, next to one that waits."""

    async def answer() -> None:
        with suppress(Exception):
            raise DeadLetter("deep")

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        group.start_soon(answer)


async def from_a_thread(_: JobMessage) -> None:
    """Answer from a thread of the handler's own."""

    def answer() -> None:
        raise DeadLetter("deep")

    await anyio.to_thread.run_sync(answer)


def from_a_plain_handler(_: JobMessage) -> None:
    """Answer from the thread that a plain handler runs in, and from a loop of its own there."""

    async def answer() -> None:
        raise DeadLetter("deep")

    with suppress(Exception):
        anyio.run(answer)


@pytest.mark.parametrize(
    "handler",
    [swallowing, from_a_child, from_a_thread, from_a_plain_handler],
    ids=lambda handler: handler.__name__,
)
async def test_no_except_exception_swallows_an_answer(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    handler: Callable[[JobMessage], Awaitable[None] | None],
) -> None:
    await queue.enqueue(job_data(max_attempts=9))

    async with make_worker(handler):
        await events.wait_settled()

    (event,) = events.of("succeeded", "retried", "dead_lettered")
    assert (event.kind, event.error_message) == ("dead_lettered", "deep")


@pytest.mark.parametrize("answer", [a for a, _, _ in ANSWERS.values()], ids=ANSWERS)
def test_an_answer_comes_through_a_process_pool(answer: Any) -> None:
    again = pickle.loads(pickle.dumps(answer))

    assert type(again) is type(answer)
    assert (vars(again), again.args) == (vars(answer), answer.args)
