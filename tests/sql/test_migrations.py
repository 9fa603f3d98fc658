"""Migrations: on which databases they apply, what they leave there, and what they leave alone."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from meshhook.migrations import migration_file
from tests.sql.client import Api, JobQueue, Json
from tests.sql.databases import Database, Server
from tests.sql.pgmq_versions import OLDER, PLAIN, plain_sql, wheel_version

EXTENSIONS = [*OLDER, wheel_version()]
EVERY_PGMQ = [PLAIN, *EXTENSIONS]


class Blank:
    """Databases without MeshHook, which are dropped at the end of the test."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: list[Database] = []

    def create(self, pgmq: str | None = PLAIN, *, is_installed: bool = True) -> Database:
        """Make one."""
        database = self._server.create(pgmq, is_installed=is_installed)
        self._made.append(database)
        return database

    def drop_all(self) -> None:
        """Drop them all."""
        for database in self._made:
            self._server.drop(database)


@pytest.fixture
def blank(server: Server) -> Iterator[Blank]:
    """A maker of databases."""
    blank = Blank(server)
    yield blank
    blank.drop_all()


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.admin() as connection:
        return connection.execute(query.encode()).fetchall()


def schema_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Describe whatever the migrations create."""
    ours = (
        "(n.nspname in ('meshhook', 'pgmq') or c.relname in ('queue_monitoring', 'job_statistics'))"
    )
    return {
        "relations": rows(
            database,
            "select n.nspname, c.relname, c.relkind, c.relacl::text, c.reloptions::text,"
            " c.relrowsecurity, pg_get_userbyid(c.relowner), obj_description(c.oid)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            f" where {ours} order by 1, 2",
        ),
        "columns": rows(
            database,
            "select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),"
            " a.attnotnull, pg_get_expr(d.adbin, d.adrelid)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
            " left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum"
            f" where {ours} order by 1, 2, a.attnum",
        ),
        "constraints": rows(
            database,
            "select conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " from pg_constraint where connamespace = 'meshhook'::regnamespace order by 1, 2",
        ),
        "functions": rows(
            database,
            "select p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text,"
            " pg_get_userbyid(p.proowner), obj_description(p.oid)"
            " from pg_proc p where pronamespace = 'meshhook'::regnamespace"
            " or (pronamespace = 'public'::regnamespace and proname like 'meshhook%') order by 1",
        ),
        "queues": rows(
            database, "select queue_id, queue_name, dlq_name, created_at from meshhook.queues"
        ),
    }


def send_a_job_through_its_life(database: Database) -> None:
    run_id = uuid.uuid4().hex
    with database.admin() as connection:
        queue = JobQueue(Api(connection), "workflow_jobs")
        queue.send({"run_id": run_id})
        queue.retry(queue.claim_one(), error_message="boom")
        queue.dead_letter(queue.claim_one(), error_message="bang")
        (answer,) = queue.dlq.replay(queue.dlq.one()["msg_id"])
        assert queue.archive(job := queue.claim_one()) == ["ok"]
        assert job["msg_id"] == answer["new_msg_id"]
        assert [found["state"] for found in queue.find_jobs(run_id)] == ["replayed", "archived"]


@pytest.mark.parametrize("pgmq", EVERY_PGMQ)
def test_a_database_with_pgmq_is_all_they_need(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq)

    database.migrate()

    send_a_job_through_its_life(database)


@pytest.mark.parametrize("pgmq", EXTENSIONS)
def test_an_extension_that_is_there_to_be_created_is_created(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq, is_installed=False)

    database.migrate()

    created = rows(
        database,
        "select e.extversion, n.nspname, pg_get_userbyid(n.nspowner)"
        " from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'pgmq'",
    )
    assert created == [(pgmq, "pgmq", "postgres")]
    send_a_job_through_its_life(database)


@pytest.mark.parametrize("pgmq", [PLAIN, *OLDER])
def test_applied_a_second_time_they_change_nothing(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq)
    database.migrate()
    send_a_job_through_its_life(database)
    before = (schema_of(database), contents(database))

    database.migrate()

    assert (schema_of(database), contents(database)) == before
    send_a_job_through_its_life(database)


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    tables = rows(
        database,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname in ('pgmq', 'meshhook') order by 1",
    )
    return {
        table: rows(database, f"select t::text from {table} t order by 1") for (table,) in tables
    }


def in_use(database: Database) -> None:
    """Let the original MeshHook have worked: jobs that wait, run, are delayed, and are done."""
    with database.owner() as connection:
        for name in ("workflow_jobs", "workflow_jobs_dlq", "users_own", "MixedCase"):
            connection.execute("select pgmq.create(%s)", [name])
        send = "select pgmq.send(%s, %s::jsonb, %s)"
        message = '{"run_id": "r%s", "workflow_id": "w", "attempt": 1, "max_attempts": 5}'
        for number, delay in ((1, 0), (2, 0), (3, 0), (4, 3600)):
            connection.execute(send, ["workflow_jobs", message % number, delay])
        connection.execute("select pgmq.read('workflow_jobs', 3600, 2)")
        connection.execute("select pgmq.archive('workflow_jobs', array[1]::bigint[])")
        connection.execute(send, ["workflow_jobs_dlq", '{"run_id": "r0", "error_message": "x"}', 0])
        connection.execute(send, ["users_own", '"anything"', 0])
        connection.execute(send, ["MixedCase", "[1]", 0])


@pytest.mark.parametrize("pgmq", EVERY_PGMQ)
def test_queues_that_are_in_use_lose_nothing_and_are_worked_on(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq)
    in_use(database)
    before = contents(database)

    database.migrate()

    after = contents(database)
    assert {table: after[table] for table in before} == before
    with database.admin() as connection:
        queue = JobQueue(Api(connection), "workflow_jobs")
        assert [job["message"]["run_id"] for job in queue.claim_all()] == ["r3"]
        assert queue.get_job(2)["state"] == "leased"
        assert queue.get_job(4)["state"] == "scheduled"
        queue.pass_time(3601)
        again = {job["message"]["run_id"]: job["attempt"] for job in queue.claim_all()}
        assert again == {"r2": 2, "r3": 2, "r4": 1}
        assert queue.dlq.replay(1)[0]["target_queue"] == "workflow_jobs"
        assert JobQueue(queue.api, "users_own").dequeue()["dead_lettered"]
        monitored = {
            row["queue_name"] for row in queue.api.look("select * from public.queue_monitoring")
        }
        assert {"users_own", "MixedCase"} <= monitored


def test_the_views_of_the_original_are_replaced(blank: Blank) -> None:
    """They have the same names, and columns of other types and in another order."""
    database = blank.create()
    in_use(database)
    with database.owner() as connection:
        connection.execute(
            "create view public.queue_monitoring as select 'workflow_jobs'::text as queue_name,"
            " count(*) as pending_jobs, 0::bigint as invisible_jobs, 0::bigint as visible_jobs,"
            " min(enqueued_at) as oldest_job_time, max(enqueued_at) as newest_job_time,"
            " extract(epoch from now() - min(enqueued_at)) as oldest_job_age_seconds"
            " from pgmq.q_workflow_jobs"
        )
        connection.execute(
            "create view public.job_statistics as select 0::bigint as total_jobs,"
            " 0::bigint as completed_jobs, 0::bigint as failed_jobs, 0::bigint as dlq_jobs,"
            " count(*) as pending_jobs, 0::numeric as avg_processing_time_seconds,"
            " 0::numeric as avg_attempts, 0 as max_attempts_seen from pgmq.q_workflow_jobs"
        )
        connection.execute("grant select on public.job_statistics to anon")

    database.migrate()

    with database.admin() as connection:
        assert JobQueue(Api(connection), "workflow_jobs").totals()["pending_jobs"] == 3
        assert connection.execute(
            "select has_table_privilege('anon', 'public.job_statistics', 'select')"
        ).fetchone() == (False,)


def test_without_pgmq_they_say_what_to_enable_and_create_nothing(blank: Blank) -> None:
    database = blank.create(None)
    schemas = "select nspname from pg_namespace order by 1"
    before = rows(database, schemas)

    with pytest.raises(psycopg.Error) as caught:
        database.migrate()

    assert caught.value.sqlstate == "MH003"
    assert "PGMQ" in (caught.value.diag.message_primary or "")
    assert "Integrations > Queues" in (caught.value.diag.message_hint or "")
    assert "create extension pgmq" in (caught.value.diag.message_hint or "")
    assert rows(database, schemas) == before


def test_a_schema_of_the_name_alone_is_not_taken_for_pgmq(blank: Blank) -> None:
    database = blank.create(None)
    with database.owner() as connection:
        connection.execute("create schema pgmq")

    with pytest.raises(psycopg.Error) as caught:
        database.migrate()

    assert caught.value.sqlstate == "MH003"


def test_pgmq_that_comes_after_a_failure_is_enough_to_go_on(blank: Blank) -> None:
    database = blank.create(EXTENSIONS[0], is_installed=False)
    with database.admin() as connection:
        connection.execute(f"alter database {database.name} reset extension_control_path")
    with pytest.raises(psycopg.Error, match="needs PGMQ"):
        database.migrate()

    with database.owner() as connection:
        connection.execute(plain_sql())
    database.migrate()

    send_a_job_through_its_life(database)


def test_it_can_be_pasted_into_the_sql_editor(blank: Blank) -> None:
    database = blank.create()
    script = migration_file().read_text()

    with database.owner(autocommit=False) as connection:
        connection.execute("set search_path = ''")  # as pg_dump sets it
        connection.execute(script)
        connection.execute(script)

    send_a_job_through_its_life(database)


@pytest.mark.parametrize("pgmq", [PLAIN, "1.4.4"])
def test_two_who_apply_them_at_once_both_succeed(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq, is_installed=pgmq == PLAIN)
    together = threading.Barrier(2)

    def migrate() -> None:
        together.wait(timeout=10)
        database.migrate()

    with ThreadPoolExecutor(2) as threads:
        for migration in [threads.submit(migrate) for _ in range(2)]:
            migration.result()

    send_a_job_through_its_life(database)


@pytest.mark.parametrize("pgmq", [PLAIN, "1.5.1"])
def test_of_two_who_apply_them_at_once_none_leaves_half_a_state(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq)
    together = threading.Barrier(2)

    def migrate() -> str | None:
        together.wait(timeout=10)
        try:
            database.migrate()
        except psycopg.Error as error:
            return error.sqlstate
        return None

    with ThreadPoolExecutor(2) as threads:
        codes = [future.result() for future in [threads.submit(migrate) for _ in range(2)]]

    assert "40P01" not in codes
    database.migrate()
    other = blank.create(pgmq)
    other.migrate()
    assert without_times(schema_of(database)) == without_times(schema_of(other))


def without_times(schema: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {**schema, "queues": [row[1:3] for row in schema["queues"]]}


def test_they_may_be_applied_while_workers_work(blank: Blank) -> None:
    database = blank.create()
    database.migrate()
    stop = threading.Event()

    def work() -> int:
        done = 0
        with database.admin() as connection:
            queue = JobQueue(Api(connection), "workflow_jobs")
            while not stop.is_set():
                queue.send({}, {})
                first, second = queue.claim(2)
                queue.retry(second)
                queue.acknowledge(first, second["msg_id"])
                done += 2
        return done

    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(work) for _ in range(1)]
        try:
            for _ in range(3):
                database.migrate()
        finally:
            stop.set()
        done = sum(worker.result() for worker in workers)

    with database.admin() as connection:
        assert JobQueue(Api(connection), "workflow_jobs").totals()["completed_jobs"] == done


@pytest.fixture(scope="module")
def migrated(server: Server) -> Iterator[Database]:
    """A database in which everybody may have everything that is new, as old projects have it."""
    database = server.create()
    with database.owner() as connection:
        for kind in ("tables", "functions", "sequences"):
            for scope in ("", "in schema public"):
                connection.execute(
                    f"alter default privileges {scope} grant all on {kind}"
                    " to anon, authenticated, service_role"
                )
    database.migrate()
    yield database
    server.drop(database)


OURS = """
  select 'table' as kind, c.oid, c.relname as name, c.relowner as owner, 'pg_class' as catalog
  from pg_class c
  where c.relkind in ('r', 'v')
    and (c.relnamespace = 'meshhook'::regnamespace
      or (c.relnamespace = 'public'::regnamespace and c.relkind = 'v'))
  union all
  select 'function', p.oid, p.proname, p.proowner, 'pg_proc'
  from pg_proc p
  where p.pronamespace = 'meshhook'::regnamespace
    or (p.pronamespace = 'public'::regnamespace and p.proname like 'meshhook%')
  union all
  select 'schema', n.oid, n.nspname, n.nspowner, 'pg_namespace'
  from pg_namespace n
  where n.nspname = 'meshhook'
"""


def test_everything_belongs_to_postgres_who_is_no_superuser(migrated: Database) -> None:
    owners = rows(
        migrated,
        f"select distinct r.rolname, r.rolsuper from ({OURS}) o join pg_roles r on r.oid = o.owner",
    )

    assert owners == [("postgres", False)]


def test_everything_explains_itself(migrated: Database) -> None:
    silent = rows(
        migrated,
        f"select kind, name from ({OURS}) o where obj_description(o.oid, o.catalog) is null",
    )

    assert silent == []
    assert len(rows(migrated, OURS)) > 60


def test_every_function_pins_its_search_path(migrated: Database) -> None:
    loose = rows(
        migrated,
        f"select o.name, p.proconfig::text from ({OURS}) o join pg_proc p on p.oid = o.oid"
        " where 'search_path=pg_catalog, pg_temp' <> all (coalesce(p.proconfig, '{}'))",
    )

    assert loose == []


def test_every_definer_is_a_function_of_the_api_or_of_a_view(migrated: Database) -> None:
    definers = rows(
        migrated,
        f"select o.name from ({OURS}) o join pg_proc p on p.oid = o.oid where p.prosecdef"
        " and p.pronamespace = 'meshhook'::regnamespace order by 1",
    )
    invokers = rows(
        migrated,
        f"select o.name from ({OURS}) o join pg_proc p on p.oid = o.oid where not p.prosecdef"
        " and p.pronamespace = 'public'::regnamespace",
    )

    assert (definers, invokers) == ([("_job_statistics",), ("_queue_monitoring",)], [])


def test_constraints_have_names_that_say_their_rule(migrated: Database) -> None:
    names = rows(
        migrated,
        "select conname from pg_constraint where connamespace = 'meshhook'::regnamespace"
        " and contype in ('c', 'u', 'p') order by 1",
    )

    assert not [name for (name,) in names if re.search(r"_(check|key)\d*$", name)]


def test_the_version_is_told(migrated: Database) -> None:
    with migrated.admin() as connection:
        answer: Json = Api(connection).call("meshhook_version")

    assert set(answer) == {"schema_version", "pgmq_version", "postgres_version"}
    assert (answer["schema_version"], answer["pgmq_version"]) == (1, None)


@pytest.mark.parametrize("pgmq", EXTENSIONS)
def test_the_version_of_the_extension_is_told(blank: Blank, pgmq: str) -> None:
    database = blank.create(pgmq)
    database.migrate()

    with database.admin() as connection:
        assert Api(connection).call("meshhook_version")["pgmq_version"] == pgmq
