"""The SQL that has the database call a drain endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook import InvalidInputError
from meshhook.serverless import kick_sql
from tests.jobs import job_data

# Doubles of what Supabase has: enough of pg_cron, pg_net and the Vault to run what is scheduled.
DOUBLES = """
create schema cron; create schema net; create schema vault;
create table cron.job (name text primary key, schedule text, command text);
create function cron.schedule(text, text, text) returns void language sql as
  $$ insert into cron.job values ($1, $2, $3) $$;
create table net.called (url text, headers jsonb, body jsonb, timeout_ms int);
create function net.http_post(url text, headers jsonb, body jsonb, timeout_milliseconds int)
  returns void language sql as $$ insert into net.called values ($1, $2, $3, $4) $$;
create table vault.decrypted_secrets (name text, decrypted_secret text);
insert into vault.decrypted_secrets values ('meshhook_drain_secret', 's3cret'), ('other', 'no');
"""


@pytest.fixture
def database(admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    admin.execute(DOUBLES)
    yield admin
    admin.execute("drop schema cron cascade; drop schema net cascade; drop schema vault cascade")


def run_schedule(database: psycopg.Connection) -> list[tuple[Any, ...]]:
    row = database.execute("select command from cron.job").fetchone()
    assert row is not None
    database.execute(row[0])
    return database.execute("select * from net.called").fetchall()


def test_the_endpoint_is_called_only_while_jobs_are_due(
    database: psycopg.Connection, queue_name: str
) -> None:
    database.execute(kick_sql("https://example.com/drain?a=1&b=2", queue_name).encode())

    assert run_schedule(database) == []
    enqueue = "select public.meshhook_enqueue(%s, %s, %s)"
    database.execute(enqueue, [queue_name, Jsonb([job_data()]), 60])
    assert run_schedule(database) == []
    database.execute(enqueue, [queue_name, Jsonb([job_data()]), 0])
    (call,) = run_schedule(database)

    assert call == (
        "https://example.com/drain?a=1&b=2",
        {"Content-Type": "application/json", "Authorization": "Bearer s3cret"},
        {},
        60_000,
    )


def test_the_schedule_can_be_chosen(database: psycopg.Connection, queue_name: str) -> None:
    sql = kick_sql("https://example.com", queue_name, schedule="*/5 * * * *", timeout_seconds=1.5)
    database.execute(sql.encode())

    row = database.execute("select name, schedule from cron.job").fetchone()
    assert row == (f"meshhook kick {queue_name}", "*/5 * * * *")
    assert "timeout_milliseconds := 1500" in sql


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"url": "https://example.com/'; drop table x; --"}, "url"),
        ({"url": "https://example.com/$kick$"}, "url"),
        ({"url": "ftp://example.com"}, "url"),
        ({"queue_name": "q'; drop"}, "queue_name"),
        ({"schedule": "10 seconds'); drop"}, "schedule"),
        ({"schedule": "90 seconds"}, "schedule"),
        ({"secret_name": "x' or true --"}, "secret_name"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_nothing_gets_into_the_sql_that_does_not_belong_there(
    arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError, match=field):
        kick_sql(**{"url": "https://example.com", **arguments})
