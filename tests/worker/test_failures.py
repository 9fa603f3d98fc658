"""A failed attempt is seen: in the log, with its error, and by what is called for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshhook import (
    DeadLetter,
    DLQService,
    InvalidInputError,
    Job,
    JobMessage,
    QueueNotFoundError,
    QueueService,
    Retry,
    Snooze,
)
from meshhook.local import LocalStack
from tests.clock import Clock
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker

FAILING_WORKER = Path(__file__).parent / "failing_worker.py"

Record = logging.LogRecord


class Failures:
    """What a worker logs and calls for failed attempts, in order."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.calls: list[tuple[BaseException, Job]] = []
        self.called = anyio.Event()

    async def __call__(self, error: BaseException, job: Job) -> None:
        """Be called with an error and its job."""
        self.calls.append((error, job))
        self.called.set()

    @property
    def records(self) -> list[Record]:
        """What is logged at WARNING and above."""
        return [r for r in self._caplog.records if r.levelno >= logging.WARNING]

    def traceback(self, record: Record) -> str:
        """Return the traceback that a log line shows, empty if it shows none."""
        return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""


@pytest.fixture
async def failures(caplog: pytest.LogCaptureFixture) -> Failures:
    """The failed attempts of the test's workers."""
    return Failures(caplog)


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_each_failed_attempt_is_logged_once_with_its_error_and_the_last_as_an_error(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures, kind: str
) -> None:
    data = job_data(metadata={"card": "of Ada"})
    result = await queue.enqueue(data)
    raised = [ValueError("boom 1"), LookupError("boom 2"), ValueError("boom 3")]

    def fail(message: JobMessage) -> None:
        raise raised[message.attempt - 1]

    async def fail_async(message: JobMessage) -> None:
        fail(message)

    handler = fail if kind == "def" else fail_async
    async with make_worker(handler, name="me", on_error=failures):
        await events.wait("dead_lettered")

    job = f"job {result.msg_id} in {queue.queue_name}, attempt"
    gone = f"it goes to the dead letter queue {queue.queue_name}_dlq"
    assert {r.name for r in failures.records} == {"meshhook.worker"}
    assert [(r.levelname, r.getMessage()) for r in failures.records] == [
        ("WARNING", f"{job} 1 of 3 failed: ValueError: boom 1; next attempt now"),
        ("WARNING", f"{job} 2 of 3 failed: LookupError: boom 2; next attempt now"),
        ("ERROR", f"{job} 3 of 3 failed: ValueError: boom 3; {gone}"),
    ]
    assert [error for error, _ in failures.calls] == raised
    assert [(job.msg_id, job.attempt) for _, job in failures.calls] == [
        (result.msg_id, attempt) for attempt in (1, 2, 3)
    ]
    assert [event.error for event in events.of("failed")] == raised
    for record, error in zip(failures.records, raised, strict=True):
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert record.exc_info[2] is error.__traceback__
        # From the handler's own frame on, not from the worker's.
        first = failures.traceback(record).splitlines()[1]
        assert first.startswith(f'  File "{__file__}"')
    fields = vars(failures.records[0])
    assert (fields["worker"], fields["queue"]) == ("me", queue.queue_name)
    assert (fields["run_id"], fields["attempt"]) == (data["run_id"], 1)
    assert (fields["error_type"], fields["error_message"]) == ("ValueError", "ValueError: boom 1")
    assert not any("of Ada" in str(vars(record)) for record in failures.records)


async def test_the_log_says_when_the_next_attempt_comes(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures
) -> None:
    await queue.enqueue(job_data())

    async def busy(_: JobMessage) -> None:
        raise Retry(2.34, "busy")

    async with make_worker(busy):
        await events.wait("retried")

    (record,) = failures.records
    assert record.getMessage().endswith("failed: Retry: busy; next attempt in 2.3 s")


async def test_an_outage_does_not_delay_the_log(
    queue: QueueService,
    faults: FaultInjector,
    events: Events,
    make_worker: MakeWorker,
    failures: Failures,
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async def fail(_: JobMessage) -> None:
        faults.refuse(times=1_000_000)
        raise ValueError("boom")

    async with make_worker(fail, on_error=failures):
        await failures.called.wait()
        assert "failed: ValueError: boom" in failures.records[0].getMessage()
        assert events.of("failed") == []
        faults.clear()
        await events.wait("dead_lettered")

    assert len([r for r in failures.records if "boom" in r.getMessage()]) == 1


async def fail(_: JobMessage) -> None:
    raise ValueError("boom")


async def raise_retry(_: JobMessage) -> None:
    raise Retry(600)


async def raise_retry_for_an_error(_: JobMessage) -> None:
    raise Retry(600, "unreachable") from OSError("no route")


async def give_up(_: JobMessage) -> None:
    raise DeadLetter("no such customer")


async def hang(_: JobMessage) -> None:
    await anyio.sleep_forever()


class Unprintable(Exception):  # noqa: N818 - what it is
    """An exception that no traceback can be made of."""

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise SystemExit(3)


async def break_the_traceback(_: JobMessage) -> None:
    raise Unprintable("odd")


KINDS: dict[str, tuple[Any, str, str | None]] = {
    "Retry": (raise_retry, "Retry: the handler asked for a retry", None),
    "Retry from": (raise_retry_for_an_error, "Retry: unreachable", "OSError: no route"),
    "DeadLetter": (give_up, "DeadLetter: no such customer", None),
    "a time-out": (hang, "JobTimeoutError: The handler did not finish within 0.05", "in hang"),
    "broken": (break_the_traceback, "Unprintable: odd", None),
}


@pytest.mark.parametrize(("handler", "text", "shown"), KINDS.values(), ids=KINDS)
async def test_whatever_fails_an_attempt_is_logged_and_a_bare_answer_has_no_traceback(
    queue: QueueService,
    events: Events,
    make_worker: MakeWorker,
    failures: Failures,
    handler: Any,
    text: str,
    shown: str | None,
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async with make_worker(handler, job_timeout_seconds=0.05):
        await events.wait("dead_lettered")

    (record,) = failures.records
    assert record.levelno == logging.ERROR
    assert f" failed: {text}" in record.getMessage()
    if shown is None:
        assert record.exc_info is None
    else:
        assert shown in failures.traceback(record)


async def test_a_message_without_its_ids_is_a_failed_attempt_that_no_handler_sees(
    dlq: DLQService,
    events: Events,
    make_worker: MakeWorker,
    failures: Failures,
    clock: Clock,
    queue_name: str,
) -> None:
    message = '{"run_id": "r", "workflow_id": 7}'
    clock.admin.execute("select pgmq.send(%s, %s::jsonb)", [queue_name, message])
    called: list[JobMessage] = []

    async with make_worker(called.append, on_error=failures):
        await events.wait("dead_lettered")

    assert called == []
    (record,) = failures.records
    assert "failed: MalformedMessage: workflow_id is not a text; it goes to" in record.getMessage()
    assert [type(error).__name__ for error, _ in failures.calls] == ["MalformedMessage"]
    (dead,) = await dlq.list_dead_letter_jobs()
    assert dead.message.error_message == "MalformedMessage: workflow_id is not a text"


async def test_neither_success_nor_a_snooze_is_a_failure(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures
) -> None:
    await queue.enqueue(job_data())

    async def handler(message: JobMessage) -> None:
        if not snoozed:
            snoozed.append(message)
            raise Snooze(0)

    snoozed: list[JobMessage] = []
    async with make_worker(handler, on_error=failures):
        await events.wait("succeeded")

    assert (failures.records, failures.calls) == ([], [])
    assert [event.error for event in events.of("snoozed")] == [None]


async def test_a_job_that_a_claim_gives_up_is_an_error(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures, clock: Clock
) -> None:
    result = await queue.enqueue(job_data(max_attempts=1))
    assert await queue.dequeue()  # by a worker that dies
    clock.advance(31)

    async with make_worker(print):
        await events.wait("dead_lettered")

    (record,) = failures.records
    name = queue.queue_name
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(
        f"job {result.msg_id} in {name} is given up: LeaseExpired"
    )
    assert record.getMessage().endswith(f"; it went to the dead letter queue {name}_dlq")
    assert vars(record)["error_type"] == "LeaseExpired"


async def test_a_queue_without_dead_letters_is_not_said_to_have_them(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures
) -> None:
    await queue.configure_queue(has_dead_letters=False)
    await queue.enqueue(job_data(max_attempts=1))

    async with make_worker(fail):
        await events.wait("dead_lettered")

    (record,) = failures.records
    assert record.getMessage().endswith(
        "failed: ValueError: boom; it goes to the archive, since the queue has no dead letters"
    )


async def test_tracebacks_can_be_switched_off(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async with make_worker(fail, log_tracebacks=False):
        await events.wait("dead_lettered")

    (record,) = failures.records
    assert "failed: ValueError: boom" in record.getMessage()
    assert record.exc_info is None


async def test_a_plain_on_error_that_raises_does_no_harm(
    queue: QueueService, events: Events, make_worker: MakeWorker, failures: Failures
) -> None:
    await queue.enqueue(job_data())

    def on_error(error: BaseException, job: Job) -> None:
        message = f"{type(error).__name__} {job.attempt}"
        raise OSError(message)

    async with make_worker(fail, on_error=on_error):
        await events.wait("dead_lettered")

    told = [r.getMessage() for r in failures.records if "on_error" in r.getMessage()]
    assert len(told) == 2
    assert told[0].startswith("on_error raised for job ")
    assert told[0].endswith(": OSError: ValueError 1")
    assert "on_error raised OSError at " in told[1]
    assert " 3 times; " in told[1]


async def test_what_cannot_be_called_is_refused(make_worker: MakeWorker) -> None:
    with pytest.raises(InvalidInputError, match="on_error is 7: give a function"):
        make_worker(print, on_error=7)
    with pytest.raises(InvalidInputError, match="log_tracebacks is 'no': give True or False"):
        make_worker(print, log_tracebacks="no")


async def test_a_missing_queue_is_told_once(
    make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """By the error that is raised, and by the log where nobody may be waiting for that."""
    caplog.set_level(logging.INFO, logger="meshhook")
    worker = make_worker(print, queue_name="never_created")
    with pytest.raises(QueueNotFoundError, match='"never_created" does not exist'):
        await worker.run()

    assert [r.getMessage() for r in caplog.records if r.name == "meshhook.worker"] == [
        "worker started",
        "worker stopping: QueueNotFoundError",
        "worker stopped: 0 finished since, 0 handed back",
    ]

    caplog.clear()
    worker = make_worker(print, queue_name="never_created")
    await worker.start()
    with pytest.raises(QueueNotFoundError):
        await worker.wait()

    assert caplog.text.count("does not exist") == 1


def test_a_program_that_sets_up_no_logging_shows_the_failures(
    stack: LocalStack, queue_name: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(FAILING_WORKER), stack.url, stack.secret_key, queue_name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == ""
    assert done.stderr.count("attempt 1 of 2 failed: RuntimeError: the mail server is down") == 1
    assert done.stderr.count("attempt 2 of 2 failed: RuntimeError: the mail server is down") == 1
    assert "in send_mail\n    raise RuntimeError" in done.stderr
    assert stack.secret_key not in done.stderr
