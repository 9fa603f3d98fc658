"""Roles in place of the service key: one that may enqueue, one that may work one queue."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import psycopg
import pytest
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

from meshhook import PermissionDeniedError, QueueService, SyncQueueService, Worker
from tests.security.catalogue import executable
from tests.security.conftest import PRODUCER, WORKER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from supabase import AsyncClient

    from meshhook import JobMessage, WorkerEvent
    from meshhook.local import LocalStack
    from tests.security.http import Answer, Http

DENIED = (403, "42501")
NOT_THERE = (403, "MH004")

pytestmark = pytest.mark.usefixtures("payments")


def arguments(admin: psycopg.Connection, function: str) -> dict[str, bool]:
    """Return the arguments of a function, and whether each has to be given."""
    rows = admin.execute(
        "select n, o <= p.pronargs - p.pronargdefaults"
        " from pg_proc p, unnest(p.proargnames) with ordinality a(n, o) where p.proname = %s",
        [function],
    ).fetchall()
    return dict(rows)


def public_functions(admin: psycopg.Connection) -> list[str]:
    rows = admin.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%'"
    ).fetchall()
    return sorted(name for (name,) in rows)


def test_what_each_role_may_call(admin: psycopg.Connection) -> None:
    assert executable(admin, PRODUCER) == {"meshhook_enqueue"}
    assert executable(admin, WORKER) == {
        "meshhook_acknowledge",
        "meshhook_archive",
        "meshhook_dequeue",
        "meshhook_extend",
        "meshhook_queue_metrics",
        "meshhook_release",
        "meshhook_retry",
        "meshhook_settle",
        "meshhook_settle_and_dequeue",
    }


@pytest.mark.parametrize("role", [PRODUCER, WORKER])
def test_what_it_was_not_granted_is_closed(
    http: Http, admin: psycopg.Connection, role: str
) -> None:
    token = http.stack.token(role)
    functions = [f for f in public_functions(admin) if f not in executable(admin, role)]

    answers = {
        function: http.call(
            function,
            token,
            **dict.fromkeys(n for n, must in arguments(admin, function).items() if must),
        ).told
        for function in functions
    }
    views = {view: http.read(view, token).told for view in ("queue_monitoring", "job_statistics")}

    assert answers == dict.fromkeys(functions, DENIED)
    assert set(views.values()) == {DENIED}
    assert len(functions) >= 20


GIVEN: dict[str, Any] = {
    "messages": [{"a": 1}],
    "outcomes": [{"outcome": "complete", "msg_id": 1}],
    "quantity": 10,
    "msg_ids": [1, 2, 3],
}


@pytest.mark.parametrize("role", [PRODUCER, WORKER])
@pytest.mark.parametrize("queue", ["payments", "payments_dlq", "orders_dlq", "workflow_jobs"])
def test_what_it_was_granted_ends_at_its_queue(
    http: Http, admin: psycopg.Connection, role: str, queue: str
) -> None:
    token = http.stack.token(role)
    functions = executable(admin, role)

    def call(function: str, queue: str) -> Answer:
        must = [name for name, is_needed in arguments(admin, function).items() if is_needed]
        given = {name: GIVEN[name] for name in must if name != "queue_name"}
        return http.call(function, token, queue_name=queue, **given)

    assert {call(function, "orders").status for function in functions} == {200}
    assert {call(function, queue).told for function in functions} == {NOT_THERE}


def test_a_granted_function_takes_no_second_queue(admin: psycopg.Connection) -> None:
    for function in executable(admin, PRODUCER) | executable(admin, WORKER):
        names = {name for name in arguments(admin, function) if "queue" in name or "dlq" in name}
        assert names == {"queue_name"}, function


def test_settling_with_a_bare_id_ends_at_its_queue_too(
    http: Http, payments: list[dict[str, Any]]
) -> None:
    ids = [payments[0]["msg_id"]]
    token = http.stack.token(WORKER)

    for function in ("acknowledge", "archive", "retry", "release", "extend"):
        answer = http.call(f"meshhook_{function}", token, queue_name="payments", msg_ids=ids)
        assert answer.told == NOT_THERE, function


@pytest.mark.parametrize(
    ("role", "function", "given"),
    [
        (PRODUCER, "enqueue", {"messages": []}),
        (WORKER, "retry", {"msg_ids": []}),
        (WORKER, "settle", {"outcomes": []}),
    ],
)
def test_what_another_queue_remembers_is_not_told(
    http: Http, role: str, function: str, given: dict[str, Any]
) -> None:
    """An idempotency key can be guessed; the answer to it has the ids of jobs."""
    request = {"queue_name": "payments", "request_id": f"order-17-{function}", **given}
    http.serve(f"meshhook_{function}", **request)

    answer = http.call(f"meshhook_{function}", http.stack.token(role), **request)

    assert answer.told == NOT_THERE


def test_a_queue_that_is_not_there_is_not_made(http: Http) -> None:
    answer = http.call(
        "meshhook_enqueue", http.stack.token(PRODUCER), queue_name="absent", messages=[{}]
    )

    assert answer.code == "MH001"


@pytest.mark.parametrize("role", [PRODUCER, WORKER])
def test_a_guess_at_the_name_that_was_meant_tells_of_no_queue_that_is_out_of_reach(
    http: Http, role: str
) -> None:
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        PRODUCER: ("meshhook_enqueue", {"messages": [{}]}),
        WORKER: ("meshhook_dequeue", {}),
    }
    function, given = calls[role]

    def hint(name: str, token: str) -> str:
        answer = http.call(function, token, queue_name=name, **given)
        assert answer.code == "MH001"
        return str(answer.body["hint"])

    token = http.stack.token(role)
    assert "orders" in hint("order", token)
    assert "mean" not in hint("payment", token)
    assert "payments" in hint("payment", http.stack.token("service_role"))


@asynccontextmanager
async def restricted(stack: LocalStack, role: str) -> AsyncIterator[AsyncClient]:
    """Give a client that acts as a role, made as the documentation says."""
    async with httpx.AsyncClient() as http:
        client = await acreate_client(
            stack.url, stack.publishable_key, AsyncClientOptions(httpx_client=http)
        )
        client.postgrest.auth(stack.token(role))
        yield client


def job() -> dict[str, str]:
    return {name: str(uuid.uuid4()) for name in ("run_id", "workflow_id", "project_id")}


async def test_the_sdk_enqueues_as_the_producer(hosted: LocalStack, http: Http) -> None:
    async with restricted(hosted, PRODUCER) as client:
        await QueueService(client, "orders").enqueue(job())
        with pytest.raises(PermissionDeniedError) as caught:
            await QueueService(client, "payments").enqueue(job())
        with pytest.raises(PermissionDeniedError):
            await QueueService(client, "orders").dequeue()

    assert caught.value.code == "MH004"
    assert "payments" in str(caught.value)
    assert http.serve("meshhook_queue_metrics", queue_name="orders")["queue_length"] == 1


def test_the_sync_sdk_enqueues_as_the_producer(hosted: LocalStack, http: Http) -> None:
    with httpx.Client() as client_http:
        client = create_client(
            hosted.url, hosted.publishable_key, ClientOptions(httpx_client=client_http)
        )
        client.postgrest.auth(hosted.token(PRODUCER))

        SyncQueueService(client, "orders").enqueue(job())

    assert http.serve("meshhook_queue_metrics", queue_name="orders")["queue_length"] == 1


async def test_a_worker_works_its_queue(hosted: LocalStack, http: Http) -> None:
    good, bad = job(), job()
    http.serve("meshhook_enqueue", queue_name="orders", messages=[good, {**bad, "max_attempts": 1}])
    events: list[str] = []
    is_done = anyio.Event()

    async def handle(message: JobMessage) -> None:
        if message.run_id == bad["run_id"]:
            raise ValueError(message.run_id)

    async def note(event: WorkerEvent) -> None:
        events.append(event.kind)
        if {"succeeded", "dead_lettered"} <= set(events):
            is_done.set()

    async with restricted(hosted, WORKER) as client:
        with anyio.fail_after(30):
            async with Worker(client, handle, "orders", poll_interval_ms=20, on_event=note):
                await is_done.wait()

    assert "outage" not in events
    assert http.serve("meshhook_queue_metrics", queue_name="orders")["queue_length"] == 0
    (letter,) = http.serve("meshhook_list_dead_letters", dlq_name="orders_dlq")
    assert bad["run_id"] in letter["message"]["error_message"]
    http.serve("meshhook_purge", queue_name="orders_dlq")
