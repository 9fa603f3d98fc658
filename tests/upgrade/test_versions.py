"""SDK and migrations of different ages: they work together, or it is said what to upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from supabase import AsyncClient

from meshhook import MissingFunctionsError, QueueService, UnexpectedAnswerError, Worker, connect
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.unit.builders import BUILDERS, Built


@pytest.fixture(scope="module")
def old_stack() -> Iterator[LocalStack]:
    """A project whose migrations are older than the SDK."""
    with LocalStack() as stack:
        yield stack


@pytest.fixture
def old(old_stack: LocalStack) -> Iterator[psycopg.Connection]:
    """A way to make the project older, for one test."""
    with psycopg.connect(old_stack.admin_database_url, autocommit=True) as connection:
        sources = connection.execute(
            "select pg_get_functiondef(oid), oid::regprocedure::text from pg_proc"
            " where proname in ('meshhook_dequeue', 'meshhook_settle_and_dequeue')"
        ).fetchall()
        yield connection
        for name in ("meshhook_dequeue", "meshhook_settle_and_dequeue"):
            connection.execute(f"drop function if exists public.{name}".encode())
        for source, signature in sources:
            connection.execute(source.encode())
            connection.execute(f"grant execute on function {signature} to service_role".encode())
        old_stack.restart_gateway()


@pytest.fixture
async def client(old_stack: LocalStack) -> AsyncIterator[AsyncClient]:
    """A client of the older project."""
    async with connect(old_stack.url, old_stack.secret_key) as client:
        yield client


def replace_by_older(old: psycopg.Connection, arguments: str, body: str) -> None:
    """Have an older `meshhook_dequeue`."""
    old.execute("drop function public.meshhook_dequeue")
    old.execute(
        f"create function public.meshhook_dequeue({arguments}) returns json language sql as"
        f" $$ {body} $$".encode()
    )


def says_to_migrate(error: Exception) -> bool:
    return "migrations" in str(error)


async def test_a_worker_whose_functions_are_missing_says_to_apply_the_migrations(
    client: AsyncClient, old_stack: LocalStack, old: psycopg.Connection
) -> None:
    old.execute("drop function public.meshhook_dequeue")
    old_stack.restart_gateway()

    with pytest.raises(MissingFunctionsError) as caught:
        await Worker(client, lambda _: None).run()

    assert says_to_migrate(caught.value)


async def test_a_function_without_a_newer_argument_says_to_apply_the_migrations(
    client: AsyncClient, old_stack: LocalStack, old: psycopg.Connection
) -> None:
    replace_by_older(old, "queue_name text, quantity integer", "select '{}'::json")
    old_stack.restart_gateway()

    with pytest.raises(MissingFunctionsError) as caught:
        await QueueService(client).dequeue()

    assert says_to_migrate(caught.value)


async def test_an_answer_without_a_newer_field_is_no_wrong_url(
    client: AsyncClient, old_stack: LocalStack, old: psycopg.Connection
) -> None:
    """A claim of before queues could be paused: it is understood, or is said to be older."""
    replace_by_older(
        old,
        "queue_name text, quantity integer, vt_seconds double precision, request_id text",
        "select json_build_object('vt', clock_timestamp(), 'vt_seconds', 30, 'base_delay_ms', 1,"
        " 'max_delay_ms', 1, 'jobs', '[]'::json, 'bytes', 0, 'dead_lettered', '[]'::json)",
    )
    old_stack.restart_gateway()

    error = None
    try:
        assert await QueueService(client).dequeue() is None
    except UnexpectedAnswerError as raised:
        error = raised

    assert error is None or says_to_migrate(error)


async def test_what_the_older_project_has_still_works(
    client: AsyncClient, old_stack: LocalStack, old: psycopg.Connection
) -> None:
    old.execute("drop function public.meshhook_settle_and_dequeue")
    old_stack.restart_gateway()
    queue = QueueService(client)

    result = await queue.enqueue(job_data())
    job = await queue.dequeue()

    assert job is not None
    assert job.msg_id == result.msg_id
    assert await queue.acknowledge(job)


def with_more(answer: Any) -> Any:
    """Return an answer as a newer database might give it: with fields that nobody knows yet."""
    if isinstance(answer, dict):
        return {**{name: with_more(value) for name, value in answer.items()}, "newer": {"a": 1}}
    if isinstance(answer, list):
        return [with_more(part) for part in answer]
    return answer


@pytest.mark.parametrize("built", BUILDERS, ids=lambda built: built.name)
def test_an_answer_with_more_fields_than_are_known_is_understood(built: Built) -> None:
    answer = with_more(built.answer)

    assert type(built.make().decode(answer)) is type(built.result)


def test_the_version_of_the_migrations_can_be_asked_for(old_stack: LocalStack) -> None:
    with psycopg.connect(old_stack.admin_database_url) as connection:
        row = connection.execute("select public.meshhook_version()").fetchone()

    assert row is not None
    assert set(row[0]) >= {"schema_version", "pgmq_version", "postgres_version"}
