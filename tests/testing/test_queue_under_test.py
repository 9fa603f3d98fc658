"""What a test can ask of its queue."""

from __future__ import annotations

import uuid
from typing import Any
from unittest.mock import ANY

import anyio
import pytest

from meshhook import (
    DeadLetter,
    InvalidInputError,
    JobMessage,
    JobTimeoutError,
    QueueService,
    Snooze,
    SyncQueueService,
    create_job_handler,
)
from meshhook.testing import QueueFactory, QueueUnderTest
from tests.jobs import job_data


def failure(call: Any, *arguments: Any, **named: Any) -> str:
    """Return what a check says when it fails."""
    with pytest.raises(AssertionError) as raised:
        call(*arguments, **named)
    return str(raised.value)


def test_a_job_is_found_by_some_of_its_fields(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    run_id = uuid.uuid4()
    metadata = {"source": "webhook", "deep": {"a": 1, "b": [1, 2]}}
    enqueued = meshhook_sync_queue_service.enqueue(job_data(run_id=run_id, metadata=metadata), 60)

    for fields in (
        {},
        {"run_id": run_id},
        {"run_id": str(run_id), "attempt": 1, "max_attempts": 5},
        {"metadata": {"deep": {"b": [1, 2]}}},
        {"metadata": {"source": ANY}, "delay_seconds": 60},
    ):
        job = meshhook_queue.assert_enqueued(**fields)
        assert (job.msg_id, job.state) == (enqueued.msg_id, "scheduled")
    assert meshhook_queue.assert_enqueued({"run_id": run_id}, count=1).run_id == str(run_id)
    assert job.message is not None
    assert "_meshhook" not in job.message


def test_a_failure_names_what_differs(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_sync_queue_service.enqueue(job_data(metadata={"source": "cron", "list": [1]}), 5)

    told = failure(
        meshhook_queue.assert_enqueued,
        metadata={"source": "webhook", "list": [1], "more": None},
        delay_seconds=60,
    )

    assert told == (
        f"The queue {meshhook_queue.name!r} should hold a job with metadata.source == 'webhook', "
        "metadata.list == [1], metadata.more == None, delay_seconds == 60.\n"
        "It holds 1 job in all, the most similar first:\n"
        "  job 1 (scheduled, attempt 1):\n"
        "      metadata.source is 'cron', expected 'webhook'\n"
        "      metadata.more is missing, expected None\n"
        "      delay_seconds is 5.0, expected 60"
    )


def test_the_most_similar_jobs_come_first_and_not_all_are_shown(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    jobs = [job_data(metadata={"number": number, "source": "cron"}) for number in range(8)]
    jobs[6]["metadata"]["source"] = "webhook"
    meshhook_sync_queue_service.enqueue_many(jobs)

    told = failure(meshhook_queue.assert_enqueued, metadata={"source": "webhook", "number": 99})

    lines = told.splitlines()
    assert lines[2] == "  job 7 (available, attempt 1):"
    assert lines[3] == "      metadata.number is 6, expected 99"
    assert lines[-1] == "  and 3 more"
    assert told.count("  job ") == 5


def test_a_failure_cuts_long_values_short(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_sync_queue_service.enqueue(job_data(metadata={"body": "x" * 10_000}))

    told = failure(meshhook_queue.assert_enqueued, metadata={"body": "y" * 10_000})

    assert len(told) < 1000
    assert "xxx..., expected 'yyy" in told


def test_the_number_of_jobs_can_be_checked(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_sync_queue_service.enqueue_many([job_data(), job_data()])

    meshhook_queue.assert_enqueued(count=2)
    told = failure(meshhook_queue.assert_enqueued, count=3)

    assert f"{meshhook_queue.name!r} should hold 3 jobs.\nIt holds 2 jobs like that." in told
    for count in (0, -1, True):
        with pytest.raises(ValueError, match="refute_enqueued"):
            meshhook_queue.assert_enqueued(count=count)


def test_every_job_of_a_long_queue_is_seen(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    batch = meshhook_sync_queue_service.enqueue_many([job_data() for _ in range(2001)])

    assert [job.msg_id for job in meshhook_queue.jobs()] == list(batch.msg_ids)


def test_an_empty_queue_is_called_empty_and_others_are_mentioned(
    meshhook_queues: QueueFactory, meshhook_sync_client: Any
) -> None:
    mine, other = meshhook_queues(), meshhook_queues()
    SyncQueueService(meshhook_sync_client, other.name).enqueue(job_data())

    told = failure(mine.assert_enqueued)

    assert f"The queue {mine.name!r} should hold a job.\nIt is empty.\n" in told
    assert f"Another queue, {other.name!r}, holds 1 job." in told


async def test_a_delay_that_is_no_longer_known_is_not_guessed(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    await meshhook_queue_service.enqueue(job_data())
    await meshhook_queue_service.dequeue()

    meshhook_queue.assert_enqueued()
    told = failure(meshhook_queue.assert_enqueued, delay_seconds=0)

    assert "job 1 (leased, attempt 1)" in told
    assert "it has been delivered since" in told


def test_a_queue_can_be_refuted(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_queue.refute_enqueued()
    data = job_data(metadata={"source": "cron"})
    meshhook_sync_queue_service.enqueue(data)

    meshhook_queue.refute_enqueued(metadata={"source": "webhook"})
    meshhook_queue.refute_enqueued(delay_seconds=60)
    told = failure(meshhook_queue.refute_enqueued, metadata={"source": "cron"})

    assert "should hold no job with metadata.source == 'cron'. It holds 1 job:" in told
    assert data["run_id"] in told
    assert "should be empty. It holds 1 job:" in failure(meshhook_queue.refute_enqueued)


async def test_a_drain_tells_what_happened_to_each_job(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    kinds = ["fine", "bad", "hopeless", "early"]
    for kind in kinds:
        await meshhook_queue_service.enqueue(job_data(metadata={"kind": kind}))
    errors = {"bad": OSError("no"), "hopeless": DeadLetter("never"), "early": Snooze(60)}

    async def handler(message: JobMessage) -> object:
        error = errors.get(message.metadata["kind"])
        if isinstance(error, OSError | Snooze):
            raise error
        return error

    result = await meshhook_queue.drain(handler, concurrency=1)

    assert len(result) == 4
    outcomes = (result.succeeded, result.retried, result.dead_lettered, result.snoozed)
    for kind, jobs in zip(kinds, outcomes, strict=True):
        (job,) = jobs
        assert job.message is not None
        assert (job.message.metadata["kind"], job.attempt) == (kind, 1)
        assert job.error is errors.get(kind)
    assert result.retried[0].error_message == "OSError: no"
    assert (result.report.processed, result.report.reason) == (3, "empty")
    with pytest.raises(BaseExceptionGroup) as raised:
        result.raise_errors()
    assert raised.value.exceptions == (errors["bad"], errors["hopeless"])


async def test_a_drain_works_what_the_handler_enqueues(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    async def handler(message: JobMessage) -> None:
        left = message.metadata["left"]
        if left:
            await meshhook_queue_service.enqueue(job_data(metadata={"left": left - 1}))

    await meshhook_queue_service.enqueue(job_data(metadata={"left": 3}))

    result = await meshhook_queue.drain(handler)

    assert len(result.succeeded) == 4
    result.raise_errors()
    meshhook_queue.refute_enqueued()


def test_a_drain_from_a_plain_test(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_sync_queue_service.enqueue_many([job_data(), job_data()])

    def handler(message: JobMessage) -> None:
        raise LookupError(message.run_id)

    result = meshhook_queue.drain_sync(handler, retry_config={"max_attempts": 1})

    assert {str(job.error) for job in result.dead_lettered} == {j.run_id for j in result.jobs}
    assert len(meshhook_queue.dead_letters()) == 2


def test_an_async_handler_is_drained_from_a_plain_test(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    meshhook_sync_queue_service.enqueue(job_data())

    async def handler(_: JobMessage) -> None:
        message = "one alone is raised as it is"
        raise LookupError(message)

    with pytest.raises(LookupError, match="as it is"):
        meshhook_queue.drain_sync(handler).raise_errors()


async def test_an_async_test_is_told_to_await(meshhook_queue: QueueUnderTest) -> None:
    with pytest.raises(RuntimeError, match=r"await drain\(handler\)"):
        meshhook_queue.drain_sync(print)


async def test_a_drain_keeps_what_a_handler_was_made_with(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    async def hang(_: JobMessage) -> None:
        await anyio.sleep_forever()

    await meshhook_queue_service.enqueue(job_data())

    result = await meshhook_queue.drain(create_job_handler(hang, timeout_seconds=0.01))

    (job,) = result.retried
    assert "JobTimeoutError" in (job.error_message or "")
    with pytest.raises(JobTimeoutError):
        result.raise_errors()


async def test_a_drain_is_of_its_queue(meshhook_queue: QueueUnderTest) -> None:
    with pytest.raises(TypeError, match="queue_name"):
        await meshhook_queue.drain(print, queue_name="other")
    with pytest.raises(TypeError, match="on_event"):
        await meshhook_queue.drain(print, on_event=print)
    with pytest.raises(InvalidInputError, match="max_jobs"):
        await meshhook_queue.drain(print, max_jobs=0)
