"""P8: nobody but the service role gets in, by any function or view that the migrations create."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from meshhook.local import LocalStack

ROLES = ["anon", "authenticated"]


def created_functions(connection: psycopg.Connection) -> list[tuple[str, str, list[str]]]:
    """Every function of MeshHook's: schema, name, and the names of the arguments it needs."""
    rows = connection.execute(
        """
        select n.nspname, p.proname,
          coalesce(p.proargnames[1:p.pronargs - p.pronargdefaults], '{}')
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'meshhook' or (n.nspname = 'public' and p.proname like 'meshhook%')
        order by 1, 2
        """
    )
    return [(schema, name, arguments) for schema, name, arguments in rows]


def post(stack: LocalStack, path: str, token: str | None, body: object = None) -> httpx.Response:
    headers = {"apikey": stack.anon_key}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.post(f"{stack.rest_url}{path}", headers=headers, json=body)


@pytest.mark.parametrize("role", ROLES)
def test_no_function_can_be_called(stack: LocalStack, admin: psycopg.Connection, role: str) -> None:
    token = None if role == "anon" else stack.token(role)
    public = [f for f in created_functions(admin) if f[0] == "public"]
    assert len(public) >= 20

    answers = {
        name: post(stack, f"/rpc/{name}", token, dict.fromkeys(arguments))
        for _, name, arguments in public
    }

    refused = {name: (a.status_code, a.json()["code"]) for name, a in answers.items()}
    expected = (401, "42501") if role == "anon" else (403, "42501")
    assert refused == dict.fromkeys(answers, expected)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("view", ["queue_monitoring", "job_statistics"])
def test_no_view_can_be_read(stack: LocalStack, role: str, view: str) -> None:
    headers = {"apikey": stack.anon_key}
    if role != "anon":
        headers["Authorization"] = f"Bearer {stack.token(role)}"

    answer = httpx.get(f"{stack.rest_url}/{view}", headers=headers)

    assert answer.json()["code"] == "42501"


@pytest.mark.parametrize("role", [*ROLES, "service_role", "authenticator"])
def test_no_table_and_no_helper_is_open_to_an_api_role(
    admin: psycopg.Connection, role: str
) -> None:
    tables = admin.execute(
        """
        select c.relname
        from pg_class c
        where c.relnamespace = 'meshhook'::regnamespace and c.relkind in ('r', 'S', 'v')
          and has_table_privilege(%(role)s, c.oid, 'select, insert, update, delete, truncate')
        """,
        {"role": role},
    ).fetchall()
    functions = admin.execute(
        """
        select p.proname
        from pg_proc p
        where p.pronamespace = 'meshhook'::regnamespace
          and has_function_privilege(%(role)s, p.oid, 'execute')
        order by 1
        """,
        {"role": role},
    ).fetchall()
    schema = admin.execute(
        "select has_schema_privilege(%s, 'meshhook', 'usage')", [role]
    ).fetchone()

    # What a view calls, its reader must be allowed to execute.
    views = [("_job_statistics",), ("_queue_monitoring",)] if role == "service_role" else []
    assert (tables, functions, schema) == ([], views, (False,))


def test_the_service_role_may_call_every_public_function(
    stack: LocalStack, admin: psycopg.Connection
) -> None:
    for schema, name, _ in created_functions(admin):
        if schema == "public":
            row = admin.execute(
                "select bool_and(has_function_privilege('service_role', oid, 'execute'))"
                " from pg_proc where proname = %s",
                [name],
            ).fetchone()
            assert row == (True,), name
    headers = {"apikey": stack.secret_key}
    for view in ("queue_monitoring", "job_statistics"):
        assert httpx.get(f"{stack.rest_url}/{view}", headers=headers).status_code == 200


def test_every_function_pins_its_search_path_and_explains_itself(
    admin: psycopg.Connection,
) -> None:
    careless = admin.execute(
        """
        select n.nspname || '.' || p.proname
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where (n.nspname = 'meshhook' or (n.nspname = 'public' and p.proname like 'meshhook%'))
          and not (
            'search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}'))
            and obj_description(p.oid, 'pg_proc') is not null
          )
        """
    ).fetchall()

    assert careless == []


def test_no_exposed_function_has_overloads_or_returns_a_set(admin: psycopg.Connection) -> None:
    # PostgREST cannot choose between overloads, and cuts sets at its row limit without a word.
    bad = admin.execute(
        """
        select p.proname, count(*), bool_or(p.proretset)
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname like 'meshhook%'
        group by p.proname
        having count(*) > 1 or bool_or(p.proretset)
        """
    ).fetchall()

    assert bad == []
