"""The database is what a migration finds on Supabase: roles, schemas, privileges, notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook_local.bootstrap import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.local import LocalStack

API_ROLES = ["anon", "authenticated", "service_role"]


@pytest.fixture
def transaction(database: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The role `postgres` in a transaction that is rolled back."""
    with database.transaction(force_rollback=True):
        yield database


def value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("role", "attributes"),
    [
        # superuser, login, inherits, creates roles, creates databases, bypasses RLS, replicates
        ("anon", (False, False, False, False, False, False, False)),
        ("authenticated", (False, False, False, False, False, False, False)),
        ("service_role", (False, False, False, False, False, True, False)),
        ("authenticator", (False, True, False, False, False, False, False)),
        ("postgres", (False, True, True, True, True, True, True)),
        ("supabase_admin", (True, True, True, True, True, True, True)),
    ],
)
def test_roles(database: psycopg.Connection, role: str, attributes: tuple[bool, ...]) -> None:
    found = database.execute(
        "select rolsuper, rolcanlogin, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls,"
        " rolreplication from pg_roles where rolname = %s",
        [role],
    ).fetchone()

    assert found == attributes


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        ("anon", ["statement_timeout=3s"]),
        ("authenticated", ["statement_timeout=8s"]),
        ("service_role", None),
        ("authenticator", ["statement_timeout=8s", "lock_timeout=8s"]),
        ("postgres", ['search_path="$user", public, extensions']),
    ],
)
def test_settings_of_roles(
    database: psycopg.Connection, role: str, settings: list[str] | None
) -> None:
    found = database.execute("select rolconfig from pg_roles where rolname = %s", [role]).fetchone()

    assert found == (settings,)


@pytest.mark.parametrize("role", API_ROLES)
def test_the_api_can_become_its_roles_and_has_none_of_their_rights_before(
    stack: LocalStack, role: str
) -> None:
    url = stack.database_url.replace("postgres:postgres@", "authenticator:postgres@")
    with psycopg.connect(url) as connection:
        assert value(connection, f"select pg_has_role('{role}', 'usage')") is False
        connection.execute(f"set local role {role}".encode())
        assert value(connection, "select current_user") == role


def test_database_and_public_belong_to_postgres(database: psycopg.Connection) -> None:
    owners = database.execute(
        "select (select datdba::regrole::text from pg_database where datname = 'postgres'),"
        " (select nspowner::regrole::text from pg_namespace where nspname = 'public')"
    ).fetchone()

    assert owners == ("postgres", "postgres")


@pytest.mark.parametrize("role", API_ROLES)
def test_new_tables_are_out_of_reach_of_the_api_and_functions_are_not(
    transaction: psycopg.Connection, role: str
) -> None:
    transaction.execute("create table public.fresh (id serial)")
    transaction.execute("create function public.fresh() returns int language sql as 'select 1'")
    transaction.execute(f"set local role {role}".encode())

    assert value(transaction, "select public.fresh()") == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table fresh"):
        transaction.execute("select * from public.fresh")


@pytest.mark.parametrize("role", API_ROLES)
def test_the_api_creates_nothing_in_public(transaction: psycopg.Connection, role: str) -> None:
    transaction.execute(f"set local role {role}".encode())

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema public"):
        transaction.execute("create table public.mine (id int)")


@pytest.mark.parametrize("role", [*API_ROLES, "postgres"])
def test_auth_helpers_read_the_claims(transaction: psycopg.Connection, role: str) -> None:
    user = "7b0fd2b5-5d4c-4d4b-8a8c-0d3f5b0c1a11"
    transaction.execute(f"set local role {role}".encode())
    read = "select auth.uid()::text, auth.role(), auth.jwt() ->> 'email'"
    assert transaction.execute(read).fetchone() == (None, None, None)

    claims = f'{{"sub": "{user}", "role": "authenticated", "email": "a@b.c"}}'
    transaction.execute("select set_config('request.jwt.claims', %s, true)", [claims])

    assert transaction.execute(read).fetchone() == (user, "authenticated", "a@b.c")


def test_pgmq_belongs_to_postgres_and_works(transaction: psycopg.Connection) -> None:
    foreign = value(
        transaction,
        "select count(*) from pg_proc join pg_namespace n on n.oid = pronamespace"
        " where nspname = 'pgmq' and proowner <> 'postgres'::regrole",
    )
    transaction.execute("select pgmq.create('jobs')")
    sent = value(transaction, """select pgmq.send('jobs', '{"a": 1}')""")
    read = value(transaction, "select message ->> 'a' from pgmq.read('jobs', 30, 1)")

    assert (foreign, sent, read) == (0, 1, "1")


@pytest.mark.parametrize("role", API_ROLES)
def test_pgmq_is_out_of_reach_of_the_api(transaction: psycopg.Connection, role: str) -> None:
    # The recorded database gave this role the schema, for the case of a missing table.
    transaction.execute("revoke usage on schema pgmq from service_role")
    transaction.execute(f"set local role {role}".encode())

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema pgmq"):
        transaction.execute("select pgmq.create('jobs')")


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("create function public.f() returns int language sql as 'select 1'", "drop function f()"),
        ("create table public.t (id int)", "drop table public.t"),
        ("create view public.v as select 1 as a", "drop view public.v"),
        ("create type public.mood as enum ('good')", "drop type public.mood"),
        ("create schema fresh", "drop schema fresh"),
        ("comment on schema public is 'x'", "comment on schema public is null"),
        ("alter table public.notes add more int", "alter table public.notes drop more"),
    ],
)
def test_a_change_of_the_schema_is_told_to_the_api(
    stack: LocalStack, database: psycopg.Connection, change: str, undo: str
) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as listener:
        listener.execute("listen pgrst")

        database.execute(change.encode())
        changed = next(listener.notifies(timeout=10, stop_after=1)).payload
        database.execute(undo.encode())
        undone = next(listener.notifies(timeout=10, stop_after=1)).payload

    assert (changed, undone) == ("reload schema", "reload schema")


def test_a_temporary_table_is_not_told(stack: LocalStack, database: psycopg.Connection) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as listener:
        listener.execute("listen pgrst")

        database.execute("create temporary table passing (id int)")
        database.execute("drop table passing")
        database.execute("notify pgrst, 'the end'")

        told = next(listener.notifies(timeout=10, stop_after=1)).payload
    assert told == "the end"


def test_bootstrapping_twice_changes_nothing(stack: LocalStack) -> None:
    count = "select count(*) from pg_roles"
    with psycopg.connect(stack.admin_database_url) as connection:
        before = value(connection, count)

        bootstrap(stack.admin_database_url)

        assert value(connection, count) == before
