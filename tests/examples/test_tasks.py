"""The handler of the examples, and the Lambda function around it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import pytest

from meshhook import DeadLetter, QueueService, Retry, SyncQueueService
from meshhook.testing import QueueClock, QueueUnderTest
from tests.examples.conftest import MailService
from tests.jobs import job_data

pytestmark = pytest.mark.usefixtures("environment")

ORDER = {"number": 17, "email": "ada@example.com"}


@pytest.fixture
def handle(load: Callable[[str], ModuleType]) -> Any:
    return load("tasks").handle


async def test_a_receipt_is_sent(
    handle: Any,
    meshhook_queue: QueueUnderTest,
    meshhook_queue_service: QueueService,
    mail: MailService,
) -> None:
    data = job_data(metadata={"order": ORDER})
    await meshhook_queue_service.enqueue(data)

    result = await meshhook_queue.drain(handle)

    assert len(result.succeeded) == 1
    assert mail.receipts == {data["run_id"]: ORDER}


async def test_what_goes_wrong_is_tried_again_when_it_makes_sense(
    handle: Any,
    meshhook_queue: QueueUnderTest,
    meshhook_queue_service: QueueService,
    meshhook_clock: QueueClock,
    mail: MailService,
) -> None:
    mail.answers = [(503, {}), (429, {"Retry-After": "600"})]
    await meshhook_queue_service.enqueue(job_data(metadata={"order": ORDER}))

    errors: list[Any] = [(await meshhook_queue.drain(handle)).retried[0].error]
    meshhook_clock.advance(2)
    errors.append((await meshhook_queue.drain(handle)).retried[0].error)
    meshhook_clock.advance(599)
    early = await meshhook_queue.drain(handle)
    meshhook_clock.advance(1)
    late = await meshhook_queue.drain(handle)

    assert [type(error) for error in errors] == [httpx.HTTPStatusError, Retry]
    assert (len(early), len(late.succeeded)) == (0, 1)
    assert list(mail.receipts.values()) == [ORDER]


async def test_a_job_without_an_order_is_given_up(
    handle: Any, meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    await meshhook_queue_service.enqueue(job_data())

    (job,) = (await meshhook_queue.drain(handle)).dead_lettered

    assert isinstance(job.error, DeadLetter)
    assert meshhook_queue.dead_letters()[0].message.error_message == "the job has no order"


class Context:
    """What Lambda gives, as far as it matters."""

    aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def test_the_lambda_function_works_off_the_queue(
    load: Callable[[str], ModuleType],
    meshhook_queue: QueueUnderTest,
    meshhook_sync_queue_service: SyncQueueService,
    mail: MailService,
) -> None:
    orders = [{**ORDER, "number": number} for number in range(5)]
    meshhook_sync_queue_service.enqueue_many(
        [job_data(metadata={"order": order}) for order in orders]
    )

    answer = load("lambda_function").lambda_handler({"source": "aws.events"}, Context())

    assert (answer["succeeded"], answer["more_waiting"]) == (5, False)
    assert sorted(order["number"] for order in mail.receipts.values()) == [0, 1, 2, 3, 4]
    meshhook_queue.refute_enqueued()
