"""Hostile JSON and planted objects: what comes in is data, and what lies about is not looked at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from meshhook.migrations import migration_file
from tests.sql.client import Api, JobQueue, Json
from tests.sql.pgmq_versions import plain_sql
from tests.sql.test_hostile_names import HOSTILE, everything_else

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.local import LocalStack

USER = "0a11ce00-0000-4000-8000-000000000001"

# What each argument of JSON is known to look at; hostile texts stand in every one of these places.
KNOWN_KEYS = {
    "messages": ["run_id", "attempt", "max_attempts", "enqueued_at", "_meshhook", "last_error"],
    "message": ["run_id", "metadata"],
    "outcomes": [
        *("outcome", "msg_id", "read_ct", "seconds", "delay_seconds", "undelivered"),
        *("error_type", "error_message", "error_stack", "worker", "dlq_name", "queue_name"),
    ],
    "worker": [
        *("worker_id", "name", "queue_names", "host", "pid", "version", "concurrency", "running"),
        *("interval_seconds", "started_at", "seen_at"),
    ],
}
# Those of the hostile texts that could mean something to SQL.
IN_JSON = [
    *("a quote", "a double quote", "a command", "a quoted command", "a call", "a dollar quote"),
    *("another dollar quote", "a comment", "a backslash", "an escaped quote", "a placeholder"),
    *("a line", "json", "10,000 quotes"),
]

GIVEN: Json = {
    "queue_name": "hostile",
    "messages": [{}],
    "message": {},
    "outcomes": [],
    "quantity": 1,
    "msg_ids": [],
}


@pytest.fixture
def api(undone: psycopg.Connection) -> Api:
    """MeshHook's functions, with a queue that has a job, a table to drop and a function to call."""
    api = Api(undone)
    JobQueue(api, "hostile").create()
    api.call("meshhook_allow_user_enqueue", queue_name="hostile", quota=1000)
    JobQueue(api, "hostile").send({}, {})
    undone.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": USER})])
    undone.execute(
        "create table public.canary ();"
        "create function public.sting() returns text language plpgsql as"
        " $$ begin drop table public.canary; return 'stung'; end $$"
    )
    return api


def json_arguments(api: Api) -> list[tuple[str, str]]:
    """Return every argument of JSON of every public function."""
    functions = api.look(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%%' order by 1"
    )
    return [
        (function["proname"], argument)
        for function in functions
        for argument, kind in api.arguments(function["proname"]).items()
        if kind in {"json", "jsonb"}
    ]


def shapes(argument: str, text: str) -> Iterator[Any]:
    """Give JSON that holds a text wherever a text can stand."""
    yield text
    yield [text]
    yield {text: text}
    yield [{text: text}]
    yield [{text: {text: [text, {text: text}]}}]
    is_list = argument in {"messages", "outcomes"}
    for key in KNOWN_KEYS[argument]:
        for value in (text, {text: [text]}):
            yield [{key: value}] if is_list else {key: value}
    every_key = dict.fromkeys(KNOWN_KEYS[argument], text)
    yield [every_key] if is_list else every_key
    if argument == "outcomes":
        receipt = {"outcome": "retry", "msg_id": 1}
        yield [{**receipt, key: text} for key in ("error_type", "error_message", "worker")]
        yield [{**receipt, "outcome": "dead_letter", "msg_id": 2, "error_message": text}]


def test_the_places_for_hostile_texts_are_known_for_every_argument(api: Api) -> None:
    arguments = json_arguments(api)

    assert {argument for _, argument in arguments} == set(KNOWN_KEYS)
    assert len(arguments) >= 6


@pytest.mark.parametrize("name", IN_JSON)
def test_json_is_data_or_refused_by_an_error_of_ours(api: Api, name: str) -> None:
    text = HOSTILE[name]
    before = everything_else(api)
    answers: dict[str, set[str]] = {}

    for function, argument in json_arguments(api):
        given = {name: GIVEN[name] for name in api.arguments(function) if name in GIVEN}
        for value in shapes(argument, text):
            try:
                api.call(function, **{**given, argument: value})
                code = "ok"
            except psycopg.Error as error:
                code = error.sqlstate or "none"
            answers.setdefault(code, set()).add(f"{function}({argument} => {str(value)[:200]})")
        assert everything_else(api) == before, function

    assert {code: calls for code, calls in answers.items() if code not in {"ok", "MH002"}} == {}
    assert set(answers) == {"ok", "MH002"}


SYSTEM_TYPES = [
    *("bool", "bytea", "float8", "int2", "int4", "int8", "interval", "name", "numeric", "oid"),
    *("regclass", "regprocedure", "timestamp", "uuid", "varchar", "xid8"),
    *("json", "jsonb", "text", "timestamptz"),
]

A_LIFE = [
    "create_queue('life')",
    "enqueue('life', '[{}, {\"_meshhook\": {}}]', delays => '{0, 0}', request_id => 'r')",
    "dequeue('life', 2, request_id => 'r')",
    "dequeue('life', 2, request_id => 'r')",
    "extend('life', '{1, 2}', '{1, 1}')",
    """settle('life', '[{"outcome": "retry", "msg_id": 1, "read_ct": 1, "error_message": "e"},
        {"outcome": "release", "msg_id": 2, "read_ct": 1},
        {"outcome": "complete", "msg_id": 9}]')""",
    """settle_and_dequeue('life', '[{"outcome": "complete", "msg_id": 9}]', 2,
        request_id => 's')""",
    "retry('life', '{1}', '{2}', error_message => 'e')",
    "release('life', '{2}', '{2}')",
    "dead_letter('life', '{1, 2}', error_message => 'e')",
    "list_dead_letters('life_dlq')",
    "get_dead_letter('life_dlq', 1)",
    "group_dead_letters('life_dlq')",
    "count_dead_letters('life_dlq')",
    "replay('life_dlq', '{1, 2}')",
    "get_job('life', 1)",
    "get_job('life', 3)",
    "find_jobs('life', 'r')",
    "archive('life', '{3}')",
    "acknowledge('life', '{4}', seconds => '{1}')",
    "delete('life', '{5}')",
    "queue_metrics('life')",
    "dlq_metrics('life_dlq')",
    "list_queues()",
    "version()",
    "doctor()",
    "purge('life')",
    "prune(0)",
    "drop_queue('life', true)",
]

MORE_LIFE = [
    "allow_user_enqueue('life')",
    "user_enqueue('life', '{\"a\": 1}', 0, 'u')",
    "user_enqueue('life', '{\"a\": 1}', 0, 'u')",
    "disallow_user_enqueue('life')",
    "pause_queue('life')",
    "resume_queue('life')",
    "configure_queue('life', vt_seconds => 10)",
    "list_jobs('life')",
    "list_jobs('life', 'completed')",
    "list_workers()",
    "cancel('life', '{6}')",
    "doctor()",
]

LIFE = [*A_LIFE[:-3], *MORE_LIFE, *A_LIFE[-3:]]


@pytest.fixture
def intruder(hosted: LocalStack) -> Iterator[psycopg.Connection]:
    """A session in which nothing has been compiled yet."""
    with psycopg.connect(hosted.admin_database_url, autocommit=True) as connection:
        yield connection


def live(connection: psycopg.Connection) -> Iterator[str]:
    """Call every public function as the service role, and give each call."""
    connection.execute(
        "select pg_catalog.set_config('request.jwt.claims', %s, true)",
        [json.dumps({"sub": USER})],
    )
    for call in LIFE:
        connection.execute(f"select public.meshhook_{call}".encode())
        yield call


def test_the_life_calls_every_function(intruder: psycopg.Connection) -> None:
    functions = Api(intruder).look(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%%'"
    )

    called = {f"meshhook_{call.partition('(')[0]}" for call in LIFE}

    assert {row["proname"] for row in functions} - called == set()


@pytest.mark.parametrize("name", SYSTEM_TYPES)
def test_a_temporary_type_does_not_run_its_checks_as_the_owner(
    intruder: psycopg.Connection, name: str
) -> None:
    """A type without a schema is searched for among temporary ones first, unless they come last."""
    who: list[str] = []
    intruder.add_notice_handler(lambda diagnosis: who.append(diagnosis.message_primary or ""))
    with intruder.transaction(force_rollback=True):
        intruder.execute("set local role service_role")
        intruder.execute(
            "create function pg_temp.sting() returns boolean language plpgsql as"
            " $$ begin raise notice '%', current_user; return true; end $$"
        )
        intruder.execute(
            sql.SQL("create domain pg_temp.{0} as pg_catalog.{0} check (pg_temp.sting())").format(
                sql.Identifier(name)
            )
        )
        stung = [call for call in live(intruder) if "postgres" in who]

    assert stung == []


OPERATORS = [
    *(("=", kind, kind) for kind in ("text", "bigint", "integer", "jsonb", "timestamptz", "name")),
    *(("<>", kind, kind) for kind in ("text", "jsonb", "timestamptz")),
    *(("<=", kind, kind) for kind in ("bigint", "integer", "timestamptz", "double precision")),
    *((">", kind, kind) for kind in ("bigint", "integer", "timestamptz")),
    *(("->", "jsonb", "text"), ("->>", "jsonb", "text"), ("->", "jsonb", "integer")),
    *(("||", "jsonb", "jsonb"), ("||", "text", "text"), ("?", "jsonb", "text")),
    *(("-", "jsonb", "text"), ("@>", "jsonb", "jsonb"), ("~", "text", "text")),
    *(("+", "timestamptz", "interval"), ("-", "timestamptz", "timestamptz")),
]

FUNCTIONS = {
    "clock_timestamp": ("", "timestamptz"),
    "now": ("", "timestamptz"),
    "jsonb_typeof": ("jsonb", "text"),
    "jsonb_build_object": ("text, text", "jsonb"),
    "lower": ("text", "text"),
    "left": ("text, integer", "text"),
    "format": ("text, text", "text"),
    "to_regclass": ("text", "regclass"),
    "jsonb_array_length": ("jsonb", "integer"),
    "cardinality": ("anyarray", "integer"),
    "array_position": ("bigint[], bigint", "integer"),
    "pg_advisory_xact_lock": ("bigint", "void"),
    "hashtextextended": ("text, bigint", "bigint"),
    "current_setting": ("text, boolean", "text"),
    "set_config": ("text, text, boolean", "text"),
    "pg_has_role": ("text, oid, text", "boolean"),
    "octet_length": ("text", "integer"),
    "md5": ("text", "text"),
    "random": ("", "double precision"),
}


def plant(connection: psycopg.Connection, schema: str) -> None:
    """Put functions and operators into a schema that tell as whom they were run."""
    body = "begin raise notice '%', current_user; return null; end"
    for name, (arguments, result) in FUNCTIONS.items():
        connection.execute(
            sql.SQL("create function {}({}) returns {} language plpgsql as {}").format(
                sql.Identifier(schema, name),
                sql.SQL(arguments),
                sql.SQL(result),
                sql.Literal(body.replace("return null", "return") if result == "void" else body),
            )
        )
    for number, (operator, left, right) in enumerate(OPERATORS):
        function = sql.Identifier(schema, f"sting_{number}")
        connection.execute(
            sql.SQL("create function {}({}, {}) returns boolean language plpgsql as {}").format(
                function, sql.SQL(left), sql.SQL(right), sql.Literal(body)
            )
        )
        connection.execute(
            sql.SQL("create operator {}.{} (function = {}, leftarg = {}, rightarg = {})").format(
                sql.Identifier(schema), sql.SQL(operator), function, sql.SQL(left), sql.SQL(right)
            )
        )


@pytest.mark.parametrize("schema", ["public", "users"])
@pytest.mark.parametrize("path", ["{0}, pg_catalog, pg_temp", "pg_temp, {0}, pg_catalog"])
def test_planted_functions_and_operators_are_not_run(
    intruder: psycopg.Connection, schema: str, path: str
) -> None:
    who: list[str] = []
    intruder.add_notice_handler(lambda diagnosis: who.append(diagnosis.message_primary or ""))
    with intruder.transaction(force_rollback=True):
        intruder.execute(
            "create schema users; create role mallory;"
            "grant usage, create on schema users, public to mallory;"
            "grant usage on schema users to service_role; set local role mallory"
        )
        plant(intruder, schema)
        intruder.execute(
            f"reset role; set local role service_role; set local search_path = {path}".format(
                schema
            ).encode()
        )
        intruder.execute("select '{}'::jsonb -> 'a', clock_timestamp()")
        assert who  # what was planted is found by those who look for it
        who.clear()

        stung = [call for call in live(intruder) if who]

    assert stung == []


def test_planted_tables_and_views_are_not_read(intruder: psycopg.Connection) -> None:
    with intruder.transaction(force_rollback=True):
        intruder.execute("set local role service_role")
        names = ["queues", "jobs", "attempts", "totals", "requests", "workers", "grants"]
        names += ["user_queues", "user_sends", "meta", "q_life", "a_life", "pg_roles", "pg_proc"]
        for name in [*names, "pg_class", "pg_namespace", "pg_attribute", "pg_extension"]:
            intruder.execute(
                sql.SQL("create view pg_temp.{} as select 1 / (random() * 0)::int as x").format(
                    sql.Identifier(name)
                )
            )

        assert list(live(intruder)) == LIFE


def test_what_is_planted_in_public_does_not_run_when_the_migrations_are_applied(
    hosted: LocalStack,
) -> None:
    """They run as the owner of the database, whose search_path has `public` in it."""
    with psycopg.connect(hosted.admin_database_url, autocommit=True) as connection:
        connection.execute("create database planted owner postgres")
    url = psycopg.conninfo.make_conninfo(hosted.database_url, dbname="planted")
    who: list[str] = []
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("create role mallory; grant usage, create on schema public to mallory")
        owner.execute(plain_sql().encode())
        owner.execute("grant mallory to postgres with set true; set role mallory")
        plant(owner, "public")
        owner.execute("reset role")
        owner.add_notice_handler(lambda diagnosis: who.append(diagnosis.message_primary or ""))
        with owner.transaction():
            owner.execute(migration_file().read_text().encode())
    with psycopg.connect(hosted.admin_database_url, autocommit=True) as connection:
        connection.execute("drop database planted with (force)")
        connection.execute("drop role mallory")

    assert [text for text in who if text == "postgres"] == []
