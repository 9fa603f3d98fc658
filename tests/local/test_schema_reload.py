"""The gateway follows the schema: what is created can be called, what is dropped is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook_local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from meshhook.local import LocalStack


def eventually(condition: Callable[[], bool]) -> bool:
    """The reload follows a notification of Postgres; the API tells of it only by its answers."""
    return wait_until(condition, timeout_seconds=10)


def status_of(client: httpx.Client, function: str) -> int:
    return client.post(f"/rpc/{function}").status_code


def test_a_function_can_be_called_once_it_is_there_and_until_it_is_dropped(
    service: httpx.Client, database: psycopg.Connection
) -> None:
    assert status_of(service, "newcomer") == 404

    database.execute("create function public.newcomer() returns int language sql as 'select 1'")
    assert eventually(lambda: status_of(service, "newcomer") == 200)

    database.execute("drop function public.newcomer()")
    assert eventually(lambda: status_of(service, "newcomer") == 404)


def test_a_function_of_another_type_replaces_the_old_one(
    service: httpx.Client, database: psycopg.Connection
) -> None:
    database.execute("create function public.changing() returns int language sql as 'select 1'")
    assert eventually(lambda: status_of(service, "changing") == 200)

    with database.transaction():
        database.execute("drop function public.changing()")
        database.execute(
            "create function public.changing() returns jsonb language sql"
            " as $$ select '[2]'::jsonb $$"
        )

    assert eventually(lambda: service.post("/rpc/changing").json() == [2])
    database.execute("drop function public.changing()")


def test_a_view_can_be_read_once_it_is_there(
    service: httpx.Client, database: psycopg.Connection
) -> None:
    with database.transaction():
        database.execute("create view public.one as select 1 as n")
        database.execute("grant select on public.one to service_role")

    assert eventually(lambda: service.get("/one").status_code == 200)
    database.execute("drop view public.one")


def test_the_settings_of_a_role_are_read_anew_when_told(
    stack: LocalStack, client: httpx.Client
) -> None:
    def timeout() -> str:
        answer = client.post("/rpc/setting", json={"name": "statement_timeout"})
        return str(answer.json())

    with psycopg.connect(stack.admin_database_url, autocommit=True) as admin:
        try:
            admin.execute("alter role anon set statement_timeout = '1234ms'")
            admin.execute("notify pgrst, 'reload config'")
            assert eventually(lambda: timeout() == "1234ms")
        finally:
            admin.execute("alter role anon set statement_timeout = '3s'")
            admin.execute("notify pgrst")
    assert eventually(lambda: timeout() == "3s")


@pytest.fixture
def without_public(stack: LocalStack, service: httpx.Client) -> Iterator[None]:
    """The exposed schema is gone for the time of a test."""
    with psycopg.connect(stack.admin_database_url, autocommit=True) as admin:
        admin.execute("alter schema public rename to elsewhere")
        yield
        admin.execute("alter schema elsewhere rename to public")
    assert eventually(lambda: status_of(service, "big") == 200)


@pytest.mark.usefixtures("without_public")
def test_without_its_schema_the_api_is_unavailable(service: httpx.Client) -> None:
    assert eventually(lambda: status_of(service, "big") == 503)

    answer = service.post("/rpc/big")

    assert answer.json() == {
        "code": "PGRST002",
        "details": None,
        "hint": None,
        "message": "Could not query the database for the schema cache. Retrying.",
    }
    assert int(answer.headers["retry-after"]) >= 0
