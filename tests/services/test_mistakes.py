"""The mistakes of a first hour, made for real: each gets a text that names the fix.

What runs is what a new user wrote: the wrong line, against the stack. A mistake that is none any
more, such as a datetime in metadata, is among those that work, at the end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import gc
import logging
import math
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import anyio
import attrs
import httpx
import pydantic
import pytest
from supabase import AsyncClient, AsyncClientOptions, acreate_client

import meshhook
from meshhook.local import LocalStack
from tests.jobs import job_data

Mistake = Callable[["World"], Awaitable[object]]

NOT_HERE = {
    "return Retry(60)": "tests/worker/test_answers.py",
    "an async def handler that blocks": "tests/network/test_blocked_loop.py",
    "a wrong signature on the command line": "tests/cli/test_worker.py",
}
"""Those that have their tests where they belong."""


@attrs.frozen
class World:
    """What a program has at hand.

    Attributes:
        stack: The project.
        client: A client that is open.
        queue: A queue.
    """

    stack: LocalStack
    client: AsyncClient
    queue: meshhook.QueueService

    async def enqueue(self, metadata: dict[Any, Any] | None = None, **fields: Any) -> object:
        """Enqueue a job with metadata, or with fields at its top."""
        more = fields if metadata is None else {"metadata": metadata, **fields}
        return await self.queue.enqueue(job_data(**more))


@dataclasses.dataclass
class Data:
    a: int = 1


class Model(pydantic.BaseModel):
    a: int = 1


def a_generator(message: meshhook.JobMessage) -> Iterator[object]:
    yield message


async def no_argument() -> None: ...


async def handler(message: meshhook.JobMessage) -> None:
    del message


async def sync_client_in_an_async_service(world: World) -> None:
    with meshhook.connect_sync(world.stack.url, world.stack.secret_key) as client:
        meshhook.QueueService(client)  # type: ignore[arg-type]


async def async_client_in_a_sync_service(world: World) -> None:
    meshhook.SyncQueueService(world.client)  # type: ignore[arg-type]


async def a_url_as_client(world: World) -> None:
    meshhook.QueueService(world.stack.url)  # type: ignore[arg-type]


async def connect_that_was_not_entered(world: World) -> None:
    meshhook.QueueService(meshhook.connect(world.stack.url, "k"))  # type: ignore[arg-type]


async def connect_sync_that_was_not_entered(world: World) -> None:
    meshhook.SyncQueueService(meshhook.connect_sync(world.stack.url))  # type: ignore[arg-type]


async def await_connect(_: World) -> None:
    await meshhook.connect()  # type: ignore[misc]


async def with_connect(_: World) -> None:
    with meshhook.connect():  # type: ignore[attr-defined]
        pass


async def async_with_connect_sync(_: World) -> None:
    async with meshhook.connect_sync():  # type: ignore[attr-defined]
        pass


async def await_buffered(world: World) -> None:
    await world.queue.buffered()  # type: ignore[misc]


async def with_buffered(world: World) -> None:
    with world.queue.buffered():  # type: ignore[attr-defined]
        pass


async def with_worker(world: World) -> None:
    with meshhook.Worker(world.client, handler):  # type: ignore[attr-defined]
        pass


async def async_with_sync_buffered(world: World) -> None:
    with meshhook.connect_sync(world.stack.url, world.stack.secret_key) as client:
        async with meshhook.SyncQueueService(client).buffered():  # type: ignore[attr-defined]
            pass


async def a_client_after_its_block(world: World) -> None:
    async with meshhook.connect(world.stack.url, world.stack.secret_key) as client:
        queue = meshhook.QueueService(client, world.queue.queue_name)
    await queue.get_queue_metrics()


async def a_sync_client_after_its_block(world: World) -> None:
    with meshhook.connect_sync(world.stack.url, world.stack.secret_key) as client:
        queue = meshhook.SyncQueueService(client, world.queue.queue_name)
    queue.get_queue_metrics()


async def the_anon_key(world: World) -> None:
    async with meshhook.connect(world.stack.url, world.stack.anon_key):
        pass


async def the_anon_key_in_a_client_of_ones_own(world: World) -> None:
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http)
        client = await acreate_client(world.stack.url, world.stack.anon_key, options)
        await meshhook.QueueService(client, world.queue.queue_name).enqueue(job_data())


async def a_payload_as_the_job(world: World) -> object:
    return await world.queue.enqueue({"to": "a@example.com", "subject": "Hello"})


async def start_twice(world: World) -> None:
    async with meshhook.Worker(world.client, handler, world.queue.queue_name) as worker:
        await worker.start()


async def a_field_that_no_message_has(_: World) -> object:
    return meshhook.JobMessage(job_data()).email  # type: ignore[attr-defined]


async def a_handler_that_was_called(world: World) -> None:
    called = handler(meshhook.JobMessage())
    try:
        meshhook.Worker(world.client, called)  # type: ignore[arg-type]
    finally:
        called.close()


def in_metadata(value: Any) -> Mistake:
    return lambda world: world.enqueue({"value": value})


def as_handler(function: Any) -> Mistake:
    async def make(world: World) -> None:
        meshhook.Worker(world.client, function)

    return make


MISTAKES: dict[str, tuple[Mistake, type[Exception], str]] = {
    "the sync client in an async service": (
        sync_client_in_an_async_service,
        TypeError,
        "QueueService takes a supabase.AsyncClient, not supabase.Client: use SyncQueueService",
    ),
    "the async client in a sync service": (
        async_client_in_a_sync_service,
        TypeError,
        "takes a sync supabase.Client, not supabase.AsyncClient: use QueueService for that",
    ),
    "a URL as client": (a_url_as_client, TypeError, "not str: make one with meshhook.connect()"),
    "connect() as client": (
        connect_that_was_not_entered,
        TypeError,
        "not connect(): enter it, async with meshhook.connect() as client, and give the client",
    ),
    "connect_sync() as client": (
        connect_sync_that_was_not_entered,
        TypeError,
        "not connect_sync(): enter it, with meshhook.connect_sync() as client, and give the client",
    ),
    "await connect()": (
        await_connect,
        TypeError,
        "connect() is entered, not awaited: async with meshhook.connect() as client",
    ),
    "with connect()": (
        with_connect,
        TypeError,
        (
            "connect() is for async code: async with meshhook.connect() as client; in plain code, "
            "with meshhook.connect_sync() as client"
        ),
    ),
    "async with connect_sync()": (
        async_with_connect_sync,
        TypeError,
        (
            "connect_sync() is for plain code: with meshhook.connect_sync() as client; "
            "in async code, async with meshhook.connect() as client"
        ),
    ),
    "await buffered()": (
        await_buffered,
        TypeError,
        (
            "a buffer of a QueueService is entered, not awaited: async with "
            "queue_service.buffered() as out"
        ),
    ),
    "with buffered()": (
        with_buffered,
        TypeError,
        (
            "a buffer of a QueueService is for async code: async with queue_service.buffered() as "
            "out; in plain code, take a SyncQueueService"
        ),
    ),
    "async with buffered() of a sync service": (
        async_with_sync_buffered,
        TypeError,
        (
            "a buffer of a SyncQueueService is for plain code: with queue_service.buffered() as "
            "out; in async code, take a QueueService"
        ),
    ),
    "with worker": (
        with_worker,
        TypeError,
        "a Worker is for async code: async with worker, or await worker.run()",
    ),
    "a client after its block": (
        a_client_after_its_block,
        meshhook.ConfigurationError,
        (
            "meshhook_queue_metrics: the client is closed, since the block that opened it has "
            "ended. Work inside async with meshhook.connect() as client, or open another one."
        ),
    ),
    "a sync client after its block": (
        a_sync_client_after_its_block,
        meshhook.ConfigurationError,
        "Work inside with meshhook.connect_sync() as client, or open another one.",
    ),
    "the anon key": (
        the_anon_key,
        meshhook.ConfigurationError,
        "SUPABASE_KEY is a key of the role anon. Use the secret (service role) key.",
    ),
    "the anon key in a client of one's own": (
        the_anon_key_in_a_client_of_ones_own,
        meshhook.PermissionDeniedError,
        "(service role) key",
    ),
    "a queue's name with a slip": (
        lambda world: meshhook.QueueService(world.client, "workflow_job").enqueue(job_data()),
        meshhook.QueueNotFoundError,
        'The queue "workflow_job" does not exist. (HTTP 400, MH001). Did you mean "workflow_jobs"?',
    ),
    "a queue's name in capitals": (
        lambda world: meshhook.QueueService(world.client, "Emails").enqueue(job_data()),
        meshhook.InvalidInputError,
        "queue_name is 'Emails': use 1 to 47 characters out of a-z, 0-9, _ and single -",
    ),
    "a payload as the job": (
        a_payload_as_the_job,
        meshhook.InvalidInputError,
        "job_data is without any field of a job: put yours under metadata",
    ),
    "a name as an id": (
        lambda world: world.enqueue(workflow_id="send-email"),
        meshhook.InvalidInputError,
        (
            "workflow_id is 'send-email': ids must be UUIDs: give str(uuid.uuid4()), or for a name "
            "uuid.uuid5(uuid.NAMESPACE_URL, 'send-email'), or put the name under metadata"
        ),
    ),
    "metdata": (
        lambda world: world.enqueue(metdata={}),
        meshhook.InvalidInputError,
        "metdata is unknown: did you mean metadata?",
    ),
    "max_attempt": (
        lambda world: world.enqueue(max_attempt=3),
        meshhook.InvalidInputError,
        "max_attempt is unknown: did you mean max_attempts?",
    ),
    "maxAttempts in one of many": (
        lambda world: world.queue.enqueue_many([job_data(), job_data(maxAttempts=3)]),
        meshhook.InvalidInputError,
        "jobs[1].maxAttempts is unknown: did you mean max_attempts?",
    ),
    "enqueue_many(one dict)": (
        lambda world: world.queue.enqueue_many(job_data()),  # type: ignore[arg-type]
        meshhook.InvalidInputError,
        "jobs is one job: give a list of jobs, or use enqueue() for one",
    ),
    "enqueue(a list)": (
        lambda world: world.queue.enqueue([job_data()]),  # type: ignore[arg-type]
        meshhook.InvalidInputError,
        "give a mapping with run_id, workflow_id and project_id, or use enqueue_many()",
    ),
    "a payload of 65 MB": (
        in_metadata("x" * 65 * 1024 * 1024),
        meshhook.InvalidInputError,
        "put the bulk into Supabase Storage, and send where it is",
    ),
    "a set": (
        in_metadata({1}),
        meshhook.InvalidInputError,
        "metadata.value is a set: give a list, such as sorted() of it",
    ),
    "a dataclass": (
        in_metadata(Data()),
        meshhook.InvalidInputError,
        "metadata.value is a Data: give dataclasses.asdict() of it",
    ),
    "a model of pydantic": (
        in_metadata(Model()),
        meshhook.InvalidInputError,
        'metadata.value is a Model: give its .model_dump(mode="json")',
    ),
    "NaN": (
        in_metadata(math.nan),
        meshhook.InvalidInputError,
        "metadata.value is nan: JSON has no such number; use None",
    ),
    "a NUL": (
        in_metadata("\0"),
        meshhook.InvalidInputError,
        "metadata.value is text with a NUL character: remove it",
    ),
    "bytes": (
        in_metadata(b"x"),
        meshhook.InvalidInputError,
        "metadata.value is bytes: send text, such as base64.b64encode(value).decode()",
    ),
    "a number as key": (
        lambda world: world.enqueue({5: 1}),
        meshhook.InvalidInputError,
        "metadata[5] is under a key of type int: use text as keys",
    ),
    "a negative delay": (
        lambda world: world.queue.enqueue(job_data(), -1),
        meshhook.InvalidInputError,
        "delay_seconds is -1: give a number of seconds from 0 to 31622400",
    ),
    "a text as delay": (
        lambda world: world.queue.enqueue(job_data(), "60"),  # type: ignore[arg-type]
        meshhook.InvalidInputError,
        "delay_seconds is '60': give a number of seconds from 0 to 31622400",
    ),
    "a time without a zone": (
        lambda world: world.queue.enqueue(job_data(), run_at=datetime(2027, 1, 1)),  # noqa: DTZ001 - the mistake
        meshhook.InvalidInputError,
        "run_at is datetime.datetime(2027, 1, 1, 0, 0): give it a time zone, such as",
    ),
    "a time and a delay": (
        lambda world: world.queue.enqueue(job_data(), 60, run_at=datetime(2027, 1, 1, tzinfo=UTC)),
        meshhook.InvalidInputError,
        ": give run_at or delay_seconds, not both",
    ),
    "a handler without an argument": (
        as_handler(no_argument),
        TypeError,
        "the job handler no_argument() -> 'None' cannot be called with a message",
    ),
    "a generator as handler": (as_handler(a_generator), TypeError, "yields, so calling it"),
    "a handler that was called": (
        a_handler_that_was_called,
        TypeError,
        "a job handler is a function that takes a message, not <coroutine object handler",
    ),
    "retry_config with max_retries": (
        lambda world: as_worker(world, retry_config={"max_retries": 3}),
        meshhook.InvalidInputError,
        "retry_config['max_retries'] is unknown: use base_delay_ms, max_delay_ms, max_attempts",
    ),
    "start() twice": (
        start_twice,
        RuntimeError,
        (
            "this worker runs already: wait() waits for its end, and stop() ends it; for a second "
            "one at the same time, make another Worker"
        ),
    ),
    "message.email": (
        a_field_that_no_message_has,
        AttributeError,
        "this message has no field 'email'; it has 'run_id', 'workflow_id', 'project_id'",
    ),
}


async def as_worker(world: World, **settings: Any) -> object:
    return meshhook.Worker(world.client, handler, **settings)


@pytest.fixture
async def world(
    stack: LocalStack, client: AsyncClient, queue: meshhook.QueueService
) -> AsyncIterator[World]:
    """A project with a queue, which no mistake puts anything into."""
    yield World(stack, client, queue)
    assert (await queue.get_queue_metrics()).queue_length == 0


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_mistake_is_told_with_its_fix(world: World, name: str) -> None:
    mistake, kind, text = MISTAKES[name]

    with pytest.raises(kind) as caught:
        await mistake(world)

    assert type(caught.value) is kind
    assert text in str(caught.value)


async def test_a_call_that_is_not_awaited_is_told_by_python(queue: meshhook.QueueService) -> None:
    with pytest.warns(RuntimeWarning, match=r"QueueService\.enqueue' was never awaited"):
        queue.enqueue(job_data())  # type: ignore[unused-coroutine]


async def test_a_hook_that_raises_is_logged_and_does_no_harm(
    queue: meshhook.QueueService, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(event: meshhook.WorkerEvent) -> None:
        raise ValueError(event.kind)

    await queue.enqueue(job_data())
    done = anyio.Event()

    async def work(_: meshhook.JobMessage) -> None:
        done.set()

    with caplog.at_level(logging.ERROR):
        async with meshhook.Worker(client, work, queue.queue_name, on_event=hook):
            with anyio.fail_after(30):
                await done.wait()

    assert "on_event raised for" in caplog.text
    assert (await queue.get_queue_metrics()).queue_length == 0


def told_of_two_loops(stack: LocalStack, queue_name: str, first: str, second: str) -> str:
    """Use a client in two loops and return what is said; the error would keep the client alive."""
    clients: list[AsyncClient] = []

    async def use() -> None:
        if not clients:
            clients.append(await acreate_client(stack.url, stack.secret_key))
        await meshhook.QueueService(clients[0], queue_name).get_queue_metrics()

    anyio.run(use, backend=first)
    try:
        anyio.run(use, backend=second)
    except meshhook.ConfigurationError as error:
        return str(error)
    return ""


# In another loop of trio, connections of trio go on.
@pytest.mark.parametrize(
    ("first", "second"), [("asyncio", "asyncio"), ("asyncio", "trio"), ("trio", "asyncio")]
)
def test_a_client_of_another_loop_is_told_as_such(
    stack: LocalStack, queue_name: str, first: str, second: str
) -> None:
    # What is left behind is the point of the mistake, and the warnings about it are right.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = told_of_two_loops(stack, queue_name, first, second)
        gc.collect()

    assert told.startswith("meshhook_queue_metrics: the client belongs to another event loop (")
    assert told.endswith(
        "). Open one in each loop, async with meshhook.connect() as client, inside the function "
        "that asyncio.run() is given; or use the Sync classes, whose clients any thread may use."
    )


def test_following_that_advice_works(stack: LocalStack, queue_name: str) -> None:
    async def use() -> int:
        async with meshhook.connect(stack.url, stack.secret_key) as client:
            queue = meshhook.QueueService(client, queue_name)
            return (await queue.get_queue_metrics()).queue_length

    assert [asyncio.run(use()) for _ in range(2)] == [0, 0]


async def test_what_was_a_mistake_once_arrives_as_the_reference_says(
    queue: meshhook.QueueService,
) -> None:
    colour = enum.Enum("colour", {"RED": "red"})
    due = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
    values = [due, date(2026, 1, 2), uuid.UUID(int=7), Decimal("12.50"), colour["RED"]]

    await queue.enqueue(job_data(metadata={"values": values}))
    async with queue.buffered() as out:
        await out.enqueue(job_data(metadata={"values": values}))

    jobs = await queue.dequeue_many(2)
    sent = ["2026-11-24T18:00:00+00:00", "2026-01-02", str(uuid.UUID(int=7)), "12.50", "red"]
    assert [job.message.metadata["values"] for job in jobs] == [sent, sent]
    assert datetime.fromisoformat(jobs[0].message.metadata["values"][0]) == due
