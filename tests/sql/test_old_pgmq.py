"""Older versions of PGMQ as extensions: what only they have, and what happens to them on Supabase.

Most tests of the functions run on 1.4.4 and 1.5.1, too; here is what is special.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from meshhook_local.binaries import find_binaries
from tests.sql.client import Api, JobQueue, ids, outcome
from tests.sql.databases import Database, Server, on_older
from tests.sql.pgmq_versions import HOSTED, OLDER, wheel_version

EXTENSIONS = [*OLDER, wheel_version()]


def as_owner(queue: JobQueue, statement: str) -> None:
    """Run a statement as `postgres`."""
    connection = queue.api.connection
    with connection.transaction():
        connection.execute("set local role postgres")
        connection.execute(statement.encode())
        connection.execute("reset role")


def members(queue: JobQueue) -> dict[str, str]:
    """Return the tables and sequences that belong to the extension, with their kinds."""
    relations = queue.api.look(
        "select c.relname, case c.relkind when 'S' then 'sequence' else 'table' end as kind"
        " from pg_depend d join pg_extension e on e.oid = d.refobjid"
        " join pg_class c on c.oid = d.objid and d.classid = 'pg_class'::regclass"
        " where e.extname = 'pgmq' and d.deptype = 'e' and c.relkind in ('r', 'S')"
    )
    return {relation["relname"]: relation["kind"] for relation in relations}


def detach(queue: JobQueue, *names: str) -> None:
    """Let tables and sequences be no members of the extension any more."""
    for name, kind in members(queue).items():
        if name in names:
            as_owner(queue, f"alter extension pgmq drop {kind} pgmq.{name}")


def columns(queue: JobQueue, table: str) -> list[str]:
    rows = queue.api.look(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
        " order by attnum",
        table,
    )
    return [row["attname"] for row in rows]


@on_older
def test_the_stand_ins_have_the_shape_of_their_versions(
    queue: JobQueue, database: Database
) -> None:
    headers = ["headers"] if database.has_headers else []

    assert columns(queue, "pgmq.q_orders") == [
        *["msg_id", "read_ct", "enqueued_at", "vt", "message"],
        *headers,
    ]
    assert columns(queue, "pgmq.a_orders") == [
        *["msg_id", "read_ct", "enqueued_at", "archived_at", "vt", "message"],
        *headers,
    ]
    tables = {"q_orders", "a_orders", "q_orders_dlq", "a_orders_dlq", "meta"}
    assert tables <= members(queue).keys()
    assert ("q_orders_msg_id_seq" in members(queue)) == (database.pgmq == "1.5.1")


@on_older
def test_meshhook_adds_nothing_that_breaks_pgmqs_own_functions(queue: JobQueue) -> None:
    """Those of old versions return every column of a table as a record of fixed columns."""
    queue.send({"n": 1}, {"n": 2}, {"n": 3})
    api = queue.api

    assert api.look("select * from pgmq.read('orders', 30, 1)")[0]["message"]["n"] == 1
    assert api.look("select * from pgmq.set_vt('orders', 1, 0)")[0]["msg_id"] == 1
    assert api.look("select * from pgmq.pop('orders')")[0]["msg_id"] == 1
    assert api.value("select pgmq.archive('orders', 2::bigint)") is True
    assert api.value("select pgmq.delete('orders', 3::bigint)") is True
    assert api.look("select * from pgmq.metrics('orders')")[0]["queue_length"] == 0
    assert "orders" in {row["queue_name"] for row in api.look("select * from pgmq.list_queues()")}


@on_older
def test_a_message_of_pgmqs_own_send_lives_the_whole_life_of_a_job(queue: JobQueue) -> None:
    for delay in (0, 0, 3600):
        queue.api.value("select pgmq.send('orders', '{\"run_id\": \"r\"}'::jsonb, %s)", delay)

    first, second = queue.claim_all()
    queue.settle([outcome("retry", first, error_message="boom"), outcome("release", second)])
    again = {job["msg_id"]: job for job in queue.claim_all()}
    queue.settle([outcome("dead_letter", again[1]), outcome("archive", again[2])])
    queue.dlq.replay(1)

    assert queue.acknowledge(queue.claim_one()) == ["ok"]
    assert {job["msg_id"]: (job["state"], job["attempt"]) for job in queue.find_jobs("r")} == {
        1: ("replayed", 2),
        2: ("archived", 1),
        3: ("scheduled", 1),
        4: ("completed", 1),
    }
    assert len(queue.archived()) == 1


@on_older
def test_a_purge_does_not_go_through_the_careless_delete_of_1_4_4(queue: JobQueue) -> None:
    queue.send({}, {})
    as_owner(
        queue,
        "create or replace function pgmq.purge_queue(queue_name text) returns bigint"
        " language plpgsql as $$ begin raise exception 'safeupdate would refuse this'; end $$",
    )

    assert queue.purge() == 2


@on_older
def test_a_dropped_queue_is_dropped_from_the_extension_too(queue: JobQueue) -> None:
    queue.drop(drop_dlq=True)

    assert not {name for name in members(queue) if "orders" in name}
    assert queue.api.value("select to_regclass('pgmq.q_orders') is null")


@on_older
@pytest.mark.parametrize(
    "detached",
    [
        ("q_orders", "q_orders_msg_id_seq", "a_orders"),
        ("q_orders", "a_orders"),
        ("q_orders",),
        ("a_orders",),
        ("q_orders_msg_id_seq",),
    ],
    ids=" and ".join,
)
def test_a_queue_whose_tables_are_no_members_any_more_can_be_dropped(
    queue: JobQueue, detached: tuple[str, ...]
) -> None:
    """So they are after a project was paused; and detach_archive() does so to one of the two."""
    detach(queue, *detached)

    assert queue.drop()

    assert queue.api.value("select to_regclass('pgmq.q_orders') is null")
    assert queue.api.value("select to_regclass('pgmq.a_orders') is null")
    assert queue.api.value("select count(*) from pgmq.meta where queue_name = 'orders'") == 0
    assert queue.create()["created"]


@on_older
def test_a_queue_whose_ids_come_from_a_plain_sequence_works(queue: JobQueue) -> None:
    """So they do after a project was paused."""
    queue.send({}, {})
    detach(queue, "q_orders_msg_id_seq")
    as_owner(
        queue,
        "alter table pgmq.q_orders alter msg_id drop identity;"
        " create sequence pgmq.plain start 3;"
        " alter table pgmq.q_orders alter msg_id set default nextval('pgmq.plain')",
    )

    assert queue.send({}, {}) == [3, 4]
    queue.dead_letter(*queue.claim_all())
    assert [answer["new_msg_id"] for answer in queue.dlq.replay(1, 2)] == [5, 6]


@on_older
def test_headers_survive_where_there_are_any_and_are_missed_where_there_are_none(
    queue: JobQueue, database: Database
) -> None:
    if database.has_headers:
        queue.api.value("""select pgmq.send('orders', '{}'::jsonb, '{"h": 1}'::jsonb)""")
    else:
        queue.api.value("select pgmq.send('orders', '{}'::jsonb)")

    queue.dead_letter(queue.claim_one())
    queue.dlq.replay(1)
    queue.archive(queue.claim_one())

    assert [row.get("headers") for row in queue.archived()] == [
        {"h": 1} if database.has_headers else None
    ]


@pytest.fixture(params=[OLDER] if OLDER == HOSTED else [], ids=" to ".join)
def updated(request: pytest.FixtureRequest, server: Server) -> Iterator[JobQueue]:
    """A queue of 1.4.4 with jobs in every state, for which there is an update to 1.5.1."""
    database = server.create(request.param[0])
    database.migrate()
    with database.admin() as connection:
        queue = JobQueue(Api(connection), "orders")
        queue.create()
        queue.send(*[{"n": n} for n in range(4)])
        first, second, third = queue.claim(3)
        queue.archive(first)
        queue.dead_letter(second)
        queue.retry(third, delay_seconds=60)
        yield queue
    server.drop(database)


def test_an_update_of_the_extension_loses_no_job_and_gains_headers(updated: JobQueue) -> None:
    queue = updated

    as_owner(queue, "alter extension pgmq update to '1.5.1'")

    assert queue.api.call("meshhook_version")["pgmq_version"] == "1.5.1"
    assert ids(queue.claim_all()) == [4]
    queue.pass_time(61)
    assert [job["attempt"] for job in queue.claim_all()] == [2, 2]
    queue.api.value("""select pgmq.send('orders', '{}'::jsonb, '{"h": 1}'::jsonb)""")
    queue.dead_letter(queue.claim_one())
    queue.dlq.replay(*ids(queue.dlq.letters()))
    assert [row["headers"] for row in queue.rows()] == [None, None, None, {"h": 1}]
    assert queue.archive(*ids(queue.rows())) == ["ok"] * 4


@on_older
def test_a_letter_loses_no_job_when_only_its_queue_has_headers(
    queue: JobQueue, database: Database
) -> None:
    """Half of an update: a dead letter queue that was detached did not get the column."""
    if not database.has_headers:
        as_owner(queue, "alter table pgmq.q_orders add column headers jsonb")
    else:
        as_owner(queue, "alter table pgmq.q_orders_dlq drop column headers")
    queue.send({"n": 1})

    queue.dead_letter(queue.claim_one())
    queue.dlq.replay(1)

    assert queue.row()["message"]["n"] == 1


@pytest.mark.parametrize("pgmq", ["plain", *EXTENSIONS])
def test_a_project_that_was_paused_goes_on_where_it_was(server: Server, pgmq: str) -> None:
    """Supabase dumps a project that it pauses, with its queues, and restores it into a new one."""
    first = server.create(pgmq)
    first.migrate()
    with first.admin() as connection:
        queue = JobQueue(Api(connection), "orders")
        queue.create(max_attempts=3)
        queue.send(*[{"run_id": f"r{n}"} for n in range(3)], request_id="key")
        failed, done, _ = queue.claim(3)
        queue.settle(
            [outcome("dead_letter", failed, error_message="boom"), outcome("complete", done)]
        )
        totals, history = queue.totals(), queue.history()
        held = queue.row()
        if pgmq in OLDER:  # A dump leaves out what belongs to an extension.
            detach(queue, *(members(queue).keys() - {"meta"}))
    second = server.create(None if pgmq == "plain" else pgmq, is_installed=False)

    restore(first, second)

    with second.admin() as connection:
        queue = JobQueue(Api(connection), "orders")
        assert (queue.totals(), queue.history()) == (totals, history)
        assert queue.acknowledge(held) == ["ok"]
        assert queue.dlq.get(1)["attempts"][0]["error_message"] == "boom"
        assert queue.dlq.replay(1)[0]["new_msg_id"] == 4
        assert queue.enqueue([{}], request_id="key")["duplicate"]
        assert queue.claim_one()["max_attempts"] == 3
        assert queue.drop(drop_dlq=True)
    server.drop(first)
    server.drop(second)


def restore(source: Database, target: Database) -> None:
    """Dump a database and restore it into another, as its owner."""
    programs: Path = find_binaries().folder
    dump = subprocess.run(
        [programs / "pg_dump", "--dbname", source.owner_url, "--no-publications"],
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(
        [programs / "psql", "--quiet", "--no-psqlrc", "--dbname", target.owner_url],
        input=dump,
        capture_output=True,
        check=True,
    )


@on_older
def test_a_role_without_the_right_to_schema_pgmq_works_through_the_functions(
    queue: JobQueue,
) -> None:
    connection = queue.api.connection
    with connection.transaction(force_rollback=True):
        connection.execute("set local role service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select pgmq.send('orders', '{}'::jsonb)")

    queue.send({})
    assert queue.acknowledge(queue.claim_one()) == ["ok"]
