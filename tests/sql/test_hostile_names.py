"""Hostile input: text is data, and what lies around in other schemas is not looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.sql.client import Api, JobQueue, Json, outcome
from tests.sql.databases import Database

HOSTILE = {
    "nothing": "",
    "a quote": "'",
    "a double quote": '"',
    "a command": "orders'; drop table public.canary; --",
    "a quoted command": 'orders"; drop table public.canary; --',
    "a call": "orders') union select public.sting() --",
    "a dollar quote": "$sql$; drop table public.canary; $sql$",
    "another dollar quote": "$$; select public.sting(); $$",
    "a comment": "orders--",
    "an open comment": "orders/*",
    "a backslash": "\\",
    "an escaped quote": "\\'; drop table public.canary; --",
    "a placeholder": "%I %L %s %1$I $1 {} :a",
    "a wildcard": "%_",
    "another schema": "public.canary",
    "another table": "../canary",
    "letters that look alike": "\u2c9frd\u0435rs",
    "a letter that grows": "İ" * 20,
    "bidirectional marks": "\u202eorders\u202c\u2028",
    "no characters at all": "\ufffe\uffff",
    "an elephant": "🐘" * 47,
    "a space": " orders",
    "a line": "orders\n",
    "a tab and a bell": "\t\a\x1b[2J",
    "10,000 characters": "o" * 10_000,
    "10,000 quotes": "'" * 10_000,
    "a number": "1e400",
    "json": '{"queue_name": "orders"}',
    "a cast": "orders'::regclass::text",
    "a role": "postgres",
    "null": "null",
}

BASELINE: Json = {
    "queue_name": "orders",
    "dlq_name": "orders_dlq",
    "target_queue": "orders",
    "messages": [{}],
    "message": {},
    "outcomes": [],
    "quantity": 1,
    "msg_ids": [1],
    "msg_id": 1,
    "run_id": "r",
    "older_than_days": 1,
    "request_id": None,
    "error_message": None,
    "error_stack": None,
}


def text_arguments(api: Api) -> list[tuple[str, str]]:
    """Return every text argument of every public function."""
    functions = api.look(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%%' order by 1"
    )
    return [
        (function["proname"], argument)
        for function in functions
        for argument, type_name in api.arguments(function["proname"]).items()
        if type_name == "text"
    ]


def everything_else(api: Api) -> Json:
    """Return how much there is outside of pgmq and meshhook."""
    (row,) = api.look(
        "select"
        " (select count(*) from pg_class where relnamespace not in ('pgmq'::regnamespace,"
        "   'meshhook'::regnamespace, 'pg_toast'::regnamespace)) as relations,"
        " (select count(*) from pg_proc) as functions,"
        " (select count(*) from pg_namespace) as schemas,"
        " (select string_agg(rolname || rolsuper, ' ' order by 1) from pg_roles) as roles,"
        " to_regclass('public.canary') is not null as canary"
    )
    return row


@pytest.fixture
def canary(api: Api) -> None:
    """A table to drop, and a function to call."""
    api.connection.execute("create table public.canary ()")
    api.connection.execute(
        "create function public.sting() returns text language plpgsql as"
        " $$ begin drop table public.canary; return 'stung'; end $$"
    )


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_text_argument_is_data_or_refused_by_an_error_of_ours(
    api: Api, queue: JobQueue, text: str
) -> None:
    queue.send({})
    queue.dead_letter(queue.claim_one())
    queue.send({})
    before = everything_else(api)
    arguments = text_arguments(api)
    assert len(arguments) > 40

    answers: dict[tuple[str, str], str] = {}
    for function, argument in arguments:
        given = {name: BASELINE[name] for name in api.arguments(function) if name in BASELINE}
        with api.connection.transaction(force_rollback=True):
            try:
                api.call(function, **{**given, argument: text})
                answers[function, argument] = "ok"
            except psycopg.Error as error:
                answers[function, argument] = error.sqlstate or "none"
            assert everything_else(api) == before

    foreign = {
        where: code
        for where, code in answers.items()
        if code not in {"ok", "MH001", "MH002", "PGRST"}
    }
    assert foreign == {}
    names = {"queue_name", "dlq_name", "target_queue"}
    usable = {"a role", "null", "a number"}  # as names, these are like any other
    if text not in {HOSTILE[name] for name in usable}:
        assert {code for (_, name), code in answers.items() if name in names} == {"MH002"}


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_in_messages_and_outcomes_are_data(api: Api, queue: JobQueue, text: str) -> None:
    before = everything_else(api)
    state = {
        "queue": text,
        "reads": text,
        "original": text,
        "default_max_attempts": text,
        text: text,
    }
    message = {text: text, "run_id": text, "last_error": text, "_meshhook": state}
    queue.send(message, message)
    retried, buried = queue.claim(2)
    texts = {"error_type": text, "error_message": text, "error_stack": text, "worker": text}

    statuses = queue.settle(
        [outcome("retry", retried, **texts), outcome("dead_letter", buried, **texts)]
    )

    assert statuses == ["ok", "ok"]
    assert queue.row()["message"]["run_id"] == text
    letter = queue.dlq.one()
    assert letter["message"]["error_message"] == text[:10_000]
    assert len(queue.find_jobs(text)) == 2
    queue.dlq.group()
    queue.api.value(
        "select pgmq.send('orders_dlq', %s::jsonb)", json.dumps({"_meshhook": {"queue": text}})
    )
    by_hand = queue.dlq.letters()[-1]["msg_id"]
    queue.dlq.get(by_hand)
    assert queue.dlq.replay(by_hand)[0]["status"] in {"failed", "replayed"}
    assert everything_else(api) == before


@pytest.mark.parametrize("code", ["MH001", "MH002"])
def test_what_an_error_says_of_a_long_value_is_short(api: Api, code: str) -> None:
    name = "q" * 47 if code == "MH001" else "q" * 10_000
    with pytest.raises(psycopg.Error) as caught:
        JobQueue(api, name).send({})

    assert caught.value.sqlstate == code
    assert len(caught.value.diag.message_detail or "") < 400
    assert len(caught.value.diag.message_primary or "") < 200


def work(queue: JobQueue) -> None:
    """Send a job through its life."""
    queue.send({"run_id": "r"}, request_id="r")
    job = queue.claim_one(request_id="c")
    queue.retry(job, error_message="boom")
    queue.dead_letter(queue.claim_one(), error_message="bang")
    letter = queue.dlq.one()
    assert len(queue.dlq.get(letter["msg_id"])["attempts"]) == 2
    queue.dlq.group()
    queue.dlq.replay(letter["msg_id"])
    queue.archive(queue.claim_one())
    assert len(queue.find_jobs("r")) == 2
    assert queue.metrics()["queue_length"] == 0
    assert queue.totals()["total_jobs"] == 2
    queue.prune(0)


def plant(connection: psycopg.Connection, schema: str) -> None:
    """Put into a schema what has the names of what MeshHook uses, and stings who uses it."""
    names = ["queues", "jobs", "attempts", "totals", "requests", "meta", "q_orders", "held", "due"]
    for name in names:
        connection.execute(
            sql.SQL("create table {} (queue_id text)").format(sql.Identifier(schema, name))
        )
    functions = {
        "clock_timestamp": ("", "timestamptz"),
        "now": ("", "timestamptz"),
        "jsonb_typeof": ("jsonb", "text"),
        "lower": ("text", "text"),
        "left": ("text, integer", "text"),
        "format": ("text, text", "text"),
        "to_regclass": ("text", "regclass"),
        "jsonb_array_length": ("jsonb", "integer"),
        "cardinality": ("anyarray", "integer"),
        "pg_advisory_xact_lock": ("bigint", "void"),
        "array_position": ("bigint[], bigint", "integer"),
        "_queue": ("text", "text"),
        "md5": ("text", "text"),
    }
    for name, (arguments, result) in functions.items():
        connection.execute(
            sql.SQL("create function {}({}) returns {} language plpgsql as {}").format(
                sql.Identifier(schema, name),
                sql.SQL(arguments),
                sql.SQL(result),
                sql.Literal("begin raise exception 'stung' using errcode = 'ZZ001'; end"),
            )
        )
    for operator, left, right in (
        ("->", "jsonb", "text"),
        ("||", "jsonb", "jsonb"),
        ("=", "text", "text"),
    ):
        function = sql.Identifier(schema, f"stinging_{ord(operator[0])}")
        connection.execute(
            sql.SQL(
                "create function {}({}, {}) returns boolean language plpgsql as"
                " $$ begin raise exception 'stung' using errcode = 'ZZ001'; end $$"
            ).format(function, sql.SQL(left), sql.SQL(right))
        )
        connection.execute(
            sql.SQL("create operator {}.{} (function = {}, leftarg = {}, rightarg = {})").format(
                sql.Identifier(schema), sql.SQL(operator), function, sql.SQL(left), sql.SQL(right)
            )
        )


@pytest.mark.parametrize("schema", ["public", "users"])
def test_what_is_planted_in_a_schema_of_the_search_path_is_not_looked_at(
    api: Api, queue: JobQueue, schema: str
) -> None:
    api.connection.execute("create schema users; grant usage on schema users to service_role")
    plant(api.connection, schema)
    api.search_path = f"{schema}, pg_catalog"
    with api.connection.transaction(force_rollback=True):
        api.connection.execute(f"set local search_path = {api.search_path}")
        with pytest.raises(psycopg.Error, match="stung"):
            api.connection.execute("select jsonb_typeof('{}')")

    work(queue)


def test_what_is_planted_among_temporary_tables_is_not_looked_at(api: Api, queue: JobQueue) -> None:
    for name in ("queues", "jobs", "attempts", "totals", "requests", "meta", "q_orders", "held"):
        api.connection.execute(
            sql.SQL("create table pg_temp.{} (queue_id text)").format(sql.Identifier(name))
        )

    work(queue)


@pytest.fixture
def intruder(database: Database) -> Iterator[psycopg.Connection]:
    """A session of the service role's own, in which nothing has been compiled yet."""
    with database.admin() as connection:
        yield connection


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


@pytest.mark.parametrize("name", ["jsonb", "json", "text", "timestamptz"])
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
        stung = []
        for call in A_LIFE:
            who.clear()
            intruder.execute(f"select public.meshhook_{call}")
            stung += [call] if "postgres" in who else []

    assert stung == []
