"""Hostile input: text is data. tests/security/test_injection.py has JSON and planted objects."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.sql.client import Api, JobQueue, Json, outcome

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
