"""What the gateway says while the database is away, and that it recovers by itself."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from meshhook.local import LocalStack
from meshhook_local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = 4711


@pytest.fixture(scope="module")
def outage_stack(stack: LocalStack) -> Iterator[LocalStack]:
    """A stack of its own, because its database goes away."""
    migrations = stack._migrations
    with LocalStack(migrations=migrations, apply_meshhook=False) as running:
        yield running


@pytest.fixture
def outage_client(outage_stack: LocalStack) -> Iterator[httpx.Client]:
    headers = {"apikey": outage_stack.secret_key}
    with httpx.Client(base_url=outage_stack.rest_url, headers=headers) as client:
        yield client
    outage_stack.start_database()


def recovers(client: httpx.Client) -> bool:
    return wait_until(lambda: client.post("/rpc/big").status_code == 200, timeout_seconds=20)


def waiting_calls(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and query like '%wait_for_lock%'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def hold_lock(connection: psycopg.Connection) -> None:
    connection.execute("select pg_advisory_lock(%s)", [LOCK])


def release_lock(connection: psycopg.Connection) -> None:
    connection.execute("select pg_advisory_unlock(%s)", [LOCK])


def test_with_the_database_down_every_call_says_so_at_once(
    outage_stack: LocalStack, outage_client: httpx.Client
) -> None:
    assert outage_client.post("/rpc/big").status_code == 200
    outage_stack.stop_database()

    answers = [outage_client.post("/rpc/big") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {503}
    assert answers[-1].json()["code"] == "PGRST000"
    assert answers[-1].json()["message"] == "Database connection error. Retrying the connection."
    assert "connection to server" in answers[-1].json()["details"]
    assert answers[-1].headers["proxy-status"] == "PostgREST; error=PGRST000"
    assert int(answers[-1].headers["retry-after"]) >= 0


def test_after_a_restart_of_the_database_the_gateway_recovers(
    outage_stack: LocalStack, outage_client: httpx.Client
) -> None:
    outage_stack.stop_database()
    assert outage_client.post("/rpc/big").status_code == 503

    outage_stack.start_database()

    assert recovers(outage_client)


def test_after_a_restart_the_gateway_hears_of_schema_changes_again(
    outage_stack: LocalStack, outage_client: httpx.Client
) -> None:
    outage_stack.stop_database()
    outage_stack.start_database()

    with psycopg.connect(outage_stack.database_url, autocommit=True) as database:
        database.execute("create function public.later() returns int language sql as 'select 1'")

    assert wait_until(
        lambda: outage_client.post("/rpc/later").status_code == 200, timeout_seconds=20
    )
    with psycopg.connect(outage_stack.database_url, autocommit=True) as database:
        database.execute("drop function public.later()")


@pytest.mark.parametrize("end", ["kill_database", "stop_database"])
def test_a_call_that_the_database_leaves_fails_and_what_was_committed_stays(
    outage_stack: LocalStack, outage_client: httpx.Client, end: str
) -> None:
    note = {"kill_database": 1000, "stop_database": 1001}[end]
    assert outage_client.post("/rpc/add_note", json={"id": note}).json() == note
    with (
        psycopg.connect(outage_stack.database_url, autocommit=True) as holder,
        ThreadPoolExecutor() as threads,
    ):
        hold_lock(holder)
        call: Future[httpx.Response] = threads.submit(
            outage_client.post, "/rpc/wait_for_lock", json={"key": LOCK}
        )
        assert wait_until(lambda: waiting_calls(holder) == 1, timeout_seconds=10)
        getattr(outage_stack, end)()
        answer = call.result(timeout=20)

    assert (answer.status_code, answer.json()["code"]) == (503, "PGRST001")
    assert answer.json()["message"] == "Database client error. Retrying the connection."

    outage_stack.start_database()

    assert recovers(outage_client)
    assert outage_client.get(f"/notes?id=eq.{note}&select=id").json() == [{"id": note}]


def test_a_restarted_gateway_answers_on_the_same_port(
    outage_stack: LocalStack, outage_client: httpx.Client
) -> None:
    url = outage_stack.url

    outage_stack.restart_gateway()

    assert outage_stack.url == url
    assert outage_client.post("/rpc/big").status_code == 200


def test_a_gateway_that_starts_without_a_database_waits_for_it(
    outage_stack: LocalStack, outage_client: httpx.Client
) -> None:
    outage_stack.stop_database()
    outage_stack.restart_gateway()

    answer = outage_client.post("/rpc/big")
    outage_stack.start_database()

    assert (answer.status_code, answer.json()["code"]) == (503, "PGRST002")
    assert recovers(outage_client)


def test_without_a_free_connection_a_call_gives_up(
    narrow_gateway: str, service: httpx.Client, database: psycopg.Connection
) -> None:
    hold_lock(database)
    with (
        httpx.Client(base_url=narrow_gateway, headers=service.headers) as client,
        ThreadPoolExecutor() as threads,
    ):
        calls = [
            threads.submit(client.post, "/rpc/wait_for_lock", json={"key": LOCK}) for _ in range(2)
        ]
        try:
            assert wait_until(lambda: waiting_calls(database) == 2, timeout_seconds=10)
            late = client.post("/rpc/big")
        finally:
            release_lock(database)
        answers = [call.result(timeout=10) for call in calls]
        afterwards = client.post("/rpc/big")

    assert (late.status_code, late.json()) == (
        504,
        {
            "code": "PGRST003",
            "details": None,
            "hint": None,
            "message": "Timed out acquiring connection from connection pool.",
        },
    )
    assert [answer.json() for answer in answers] == [True, True]
    assert afterwards.status_code == 200


def test_a_call_that_waits_for_a_connection_gets_the_first_free_one(
    stack: LocalStack, service: httpx.Client, database: psycopg.Connection
) -> None:
    hold_lock(database)
    started = threading.Barrier(12)

    def ask() -> int:
        started.wait(timeout=10)
        with httpx.Client(base_url=stack.rest_url, headers=service.headers) as client:
            return client.post("/rpc/wait_for_lock", json={"key": LOCK}).status_code

    with ThreadPoolExecutor(max_workers=12) as threads:
        calls = [threads.submit(ask) for _ in range(12)]
        try:
            assert wait_until(lambda: waiting_calls(database) == 10, timeout_seconds=10)
        finally:
            release_lock(database)

        assert {call.result(timeout=20) for call in calls} == {200}
