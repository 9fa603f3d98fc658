"""Who gets in: each role against everything that the migrations create, by rights and by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.security import catalogue, entries
from tests.security.catalogue import WITH_RIGHTS, Catalogue, Thing

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.security.http import Http

DENIED = "42501"


@pytest.fixture(scope="module")
def created(before: Catalogue, admin: psycopg.Connection) -> Catalogue:
    """Everything that the migrations created."""
    return {thing: oid for thing, oid in catalogue.read(admin).items() if before.get(thing) != oid}


def entry_of(thing: Thing) -> str:
    """Return under which name a thing is entered."""
    return str(thing).partition("(")[0]


def not_entered(things: Collection[Thing]) -> set[str]:
    """Return the things that have no entry; the types of rows come with their tables."""
    relations = {thing.name for thing in things if thing.kind in {"table", "view"}}
    return {
        entry_of(thing)
        for thing in things
        if not (
            thing.kind in {"row type", "array of rows"}
            and thing.name.removesuffix("[]") in relations
        )
    } - entries.entered()


def test_the_project_grants_whatever_is_new_to_the_api(undone: psycopg.Connection) -> None:
    undone.execute("set local role postgres")
    undone.execute("create table public.new (id serial)")
    undone.execute("create function public.new() returns int language sql as 'select 1'")
    undone.execute("set local role anon")

    assert undone.execute("insert into public.new default values returning id").fetchone() == (1,)
    assert undone.execute("select public.new()").fetchone() == (1,)


def test_everything_that_the_migrations_create_is_entered(created: Catalogue) -> None:
    assert not_entered(created) == set()
    assert {entry_of(thing) for thing in created} >= entries.entered()


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("create table meshhook.new (id int)", "table meshhook.new"),
        ("create view public.new as select 1 as a", "view public.new"),
        ("create function public.meshhook_new() returns int language sql as 'select 1'", None),
        ("create function meshhook.new() returns int language sql as 'select 1'", None),
        ("create sequence public.new", "sequence public.new"),
        ("create type public.new as enum ('a')", "type public.new"),
        ("create type meshhook.new as (a int)", "row type meshhook.new"),
        ("create domain meshhook.new as text", "type meshhook.new"),
        ("create materialized view public.new as select 1 as a", "relation of kind m public.new"),
        ("create schema new", "schema new"),
        ("create role new", "role new"),
        ("grant fresh to anon", "membership fresh to anon"),
        ("alter role anon set work_mem = '64MB'", None),
        ("create publication new", "publication new"),
        ("create policy new on meshhook.jobs using (true)", "policy meshhook.jobs new"),
        ("alter default privileges in schema meshhook grant all on tables to anon", None),
    ],
)
def test_a_new_thing_without_an_entry_is_found(
    before: Catalogue, undone: psycopg.Connection, statement: str, entry: str | None
) -> None:
    undone.execute(statement.encode())

    things = catalogue.read(undone)
    found = not_entered([thing for thing in things if thing not in before])

    assert found
    assert entry is None or entry in found


def test_the_migrations_change_nothing_that_was_there(
    before: Catalogue, admin: psycopg.Connection
) -> None:
    after = catalogue.read(admin)

    assert {thing for thing in before if after.get(thing) != before[thing]} == set()


@pytest.mark.parametrize("role", entries.ROLES)
def test_no_role_has_a_right_that_is_not_entered(
    admin: psycopg.Connection, created: Catalogue, role: str
) -> None:
    things = {thing: oid for thing, oid in created.items() if thing.kind in WITH_RIGHTS}

    found = {
        str(thing): catalogue.rights(admin, thing.kind, oid, role) for thing, oid in things.items()
    }

    assert found == {str(thing): entries.allowed(entry_of(thing), role) for thing in things}
    assert len(found) > 100


@pytest.mark.parametrize("role", entries.ROLES)
def test_no_role_has_a_right_to_a_column(admin: psycopg.Connection, role: str) -> None:
    rows = admin.execute(
        "select c.oid::regclass, a.attname"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace in ('meshhook'::regnamespace, 'pgmq'::regnamespace)"
        " and c.relkind in ('r', 'v') and a.attnum > 0 and a.attacl is not null"
        " and has_column_privilege(%s, c.oid, a.attnum, 'select, insert, update, references')",
        [role],
    ).fetchall()

    assert rows == []


def test_nobody_but_its_owner_may_grant_a_right_on(
    admin: psycopg.Connection, created: Catalogue
) -> None:
    grantable = admin.execute(
        "select a.grantee::regrole::text, o.oid from ("
        " select oid, relacl as acl, relowner as owner from pg_class union all"
        " select oid, proacl, proowner from pg_proc union all"
        " select oid, nspacl, nspowner from pg_namespace"
        ") o, aclexplode(o.acl) a"
        " where o.oid = any (%s::oid[]) and a.is_grantable and a.grantee <> o.owner",
        [list(created.values())],
    ).fetchall()

    assert grantable == []


def attempts(connection: psycopg.Connection, thing: Thing, oid: int) -> dict[str, str]:
    """Return a statement for each right to a thing that can be tried."""
    if thing.kind == "view":
        return {"SELECT": f"select * from {thing.name}"}
    if thing.kind == "table":
        relation = thing.name
        columns = connection.execute(
            "select string_agg(quote_ident(attname), ',') from pg_attribute"
            " where attrelid = %s and attnum = 1",
            [oid],
        ).fetchone()
        assert columns is not None
        return {
            "SELECT": f"select * from {relation}",
            "INSERT": f"insert into {relation} default values",
            "UPDATE": f"update {relation} set {columns[0]} = null where true",
            "DELETE": f"delete from {relation} where true",
            "TRUNCATE": f"truncate {relation}",
        }
    if thing.kind == "sequence":
        return {"USAGE": f"select nextval('{thing.name}')", "SELECT": f"table {thing.name}"}
    if thing.kind == "schema":
        return {"CREATE": f"create table {thing.name}.mine ()"}
    name, _, arguments = thing.name.partition("(")
    given = connection.execute(
        "select string_agg('null::' || format_type(t, null), ', ')"
        " from pg_proc p, unnest(p.proargtypes) t where p.oid = %s",
        [oid],
    ).fetchone()
    assert given is not None
    assert bool(given[0]) == (arguments != ")")
    return {"EXECUTE": f"select {name}({given[0] or ''})"}


def become(connection: psycopg.Connection, role: str) -> None:
    """Act as a role: those of the API as the API does, all others as if they had logged in."""
    of_the_api = role in {"anon", "authenticated", "service_role"}
    login = "authenticator" if of_the_api else role
    connection.execute(f"set local session authorization {login}".encode())
    if of_the_api:
        connection.execute(f"set local role {role}".encode())


@pytest.mark.parametrize("role", entries.ROLES)
def test_who_tries_gets_as_far_as_the_entries_say(
    admin: psycopg.Connection, created: Catalogue, role: str
) -> None:
    tried = {
        (thing, right): statement
        for thing, oid in created.items()
        if thing.kind in WITH_RIGHTS
        for right, statement in attempts(admin, thing, oid).items()
    }
    let_in = set()
    for (thing, right), statement in tried.items():
        with admin.transaction(force_rollback=True):
            become(admin, role)
            try:
                admin.execute(statement.encode())
                let_in.add((str(thing), right))
            except psycopg.Error as error:
                if error.sqlstate != DENIED:
                    let_in.add((str(thing), right))

    expected = {
        (str(thing), right)
        for thing, right in tried
        # The private schema is closed, whatever the rights to what is in it.
        if right in entries.allowed(entry_of(thing), role) and "meshhook." not in thing.name
    }
    assert let_in == expected
    assert len(tried) > 150


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_over_http_no_view_and_no_table_is_open(http: Http, role: str) -> None:
    token = http.stack.token(role)
    answers = {
        relation: http.read(relation.partition(".")[2], token).code
        for relation in [*entries.VIEWS, *entries.TABLES]
    }

    # PostgREST does not know what is in a schema that is not exposed.
    assert set(answers.values()) == {DENIED, "PGRST205"}
    assert {view: answers[view] for view in entries.VIEWS} == dict.fromkeys(entries.VIEWS, DENIED)
