"""`meshhook doctor`: each problem that it can find is made, found, and repaired."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from meshhook import SyncQueueService
from meshhook.cli.doctor import diagnosis
from meshhook.cli.doctor.expected import expected
from meshhook.local import LocalStack
from meshhook.migrations import migration_file
from tests.cli.conftest import Ended, Shell, job_lines
from tests.cli.doctor.conftest import QUEUE
from tests.clock import Clock
from tests.jobs import job_data

if TYPE_CHECKING:
    from datetime import datetime


@pytest.fixture
def doctored(shell: Shell) -> Doctored:
    return Doctored(shell)


class Doctored:
    """Runs the doctor and reads what it found."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def look(self, *argv: str) -> Ended:
        return self.shell.run("doctor", "--json", "--sample-seconds", "0", *argv)

    def bad(self, *argv: str) -> dict[str, dict[str, Any]]:
        """Return what is not well, by what was looked at."""
        findings = self.look(*argv).json["findings"]
        return {one["check"]: one for one in findings if one["status"] != "ok"}

    def one(self, check: str, *argv: str) -> dict[str, Any]:
        """Return the one thing that is not well, and which it must be."""
        bad = self.bad(*argv)
        assert list(bad) == [check]
        return bad[check]


def test_a_project_that_is_well(doctored: Doctored) -> None:
    ended = doctored.look()

    assert (ended.code, ended.err) == (0, "")
    assert ended.json["ok"] is True
    assert doctored.bad() == {}
    assert [one["check"] for one in ended.json["findings"]][:8] == [
        "settings", "key", "connection", "clock", "functions", "pgmq", "rights",
        "statement timeout",
    ]  # fmt: skip


def test_people_get_a_line_for_each_finding_and_one_for_each_fix(shell: Shell) -> None:
    ended = shell.run("doctor", "--sample-seconds", "0", "--queue", "nowhere")

    assert ended.code == 1
    assert "ok      pgmq: installed as plain SQL\n" in ended.out
    assert (
        "problem queue nowhere: there is no such queue\n"
        "        fix: meshhook queues create nowhere\n"
    ) in ended.out


def test_a_database_that_is_down(bare_shell: Shell) -> None:
    with LocalStack() as stack:
        stack.stop_database()
        found = Doctored(bare_shell).one(
            "connection", "--url", stack.url, "--key", stack.secret_key
        )

    assert found["status"] == "problem"
    assert "paused" in found["fix"]


def test_a_legacy_key_is_well(stack: LocalStack, doctored: Doctored) -> None:
    assert doctored.bad("--key", stack.service_role_key) == {}


def source_of(admin: psycopg.Connection, function: str) -> str:
    row = admin.execute("select pg_get_functiondef(%s::regprocedure)", [function]).fetchone()
    assert row
    return str(row[0])


def test_a_function_that_is_missing_or_of_another_version(
    doctored: Doctored, admin: psycopg.Connection
) -> None:
    definition = source_of(admin, "meshhook._dlq_name(text)")
    admin.execute("alter function meshhook._dlq_name(text) rename to _was_dlq_name")
    mixed = doctored.one("functions")
    admin.execute("alter function meshhook._was_dlq_name(text) rename to _dlq_name")
    admin.execute(
        "create or replace function meshhook._dlq_name(p_queue_name text) returns text"
        " language sql immutable set search_path = '' as 'select p_queue_name'"
    )
    changed = doctored.one("functions")
    admin.execute(definition.encode())

    assert "of another version than this meshhook" in mixed["message"]
    assert changed["message"] == "changed, or of another version: meshhook._dlq_name"
    assert doctored.bad() == {}


def test_a_database_that_is_newer_than_the_sdk(
    doctored: Doctored, admin: psycopg.Connection
) -> None:
    admin.execute("create function meshhook._newer() returns integer language sql as 'select 1'")
    found = doctored.one("functions")
    admin.execute("drop function meshhook._newer()")

    assert found["status"] == "warning"
    assert "pip install --upgrade meshhook" in found["fix"]


def test_the_functions_that_are_expected_are_those_that_the_migrations_make(
    admin: psycopg.Connection,
) -> None:
    rows = admin.execute("select * from jsonb_each_text(meshhook._doctor_functions())").fetchall()

    assert dict(rows) == expected(migration_file()).functions
    assert len(rows) > 80


def test_the_tables_indexes_and_views_that_are_expected_are_those_that_are_made(
    admin: psycopg.Connection,
) -> None:
    """But for the indexes of constraints, which come and go with their tables."""
    row = admin.execute("select meshhook._doctor_relations()").fetchone()

    assert row
    there = {name for name in row[0] if not name.endswith(("_pkey", "_are_unique"))}
    assert there == expected(migration_file()).relations
    assert {"meshhook.jobs", "meshhook.jobs_by_age", "public.job_statistics"} <= there


@pytest.mark.parametrize("role", ["anon", "authenticated", "public"])
@pytest.mark.parametrize(
    ("kind", "name", "right"),
    [
        ("function", "public.meshhook_purge(text,text)", "execute"),
        ("schema", "meshhook", "usage"),
        ("table", "public.queue_monitoring", "select"),
        ("table", "meshhook.queues", "update"),
    ],
)
def test_rights_that_are_too_wide(
    doctored: Doctored, admin: psycopg.Connection, role: str, kind: str, name: str, right: str
) -> None:
    admin.execute(f"grant {right} on {kind} {name} to {role}".encode())
    findings = doctored.look().json["findings"]
    open_to = {one["message"] for one in findings if one["check"] == "rights"}
    fixes = [one["fix"] for one in findings if one["check"] == "rights"]
    for fix in fixes:
        admin.execute(fix.encode())

    roles = ["anon", "authenticated"] if role == "public" else [role]
    assert open_to == {f"the {kind} {name} is open to {one}" for one in roles}
    assert doctored.bad() == {}


def test_a_queue_that_is_exposed_with_row_level_security_is_well(
    doctored: Doctored, admin: psycopg.Connection
) -> None:
    admin.execute("grant usage on schema pgmq to anon; grant select on pgmq.q_orders to anon")
    bad = doctored.bad()
    admin.execute("revoke usage on schema pgmq from anon; revoke select on pgmq.q_orders from anon")

    assert bad == {}


def test_users_who_were_let_in_may_come_in(doctored: Doctored, admin: psycopg.Connection) -> None:
    admin.execute("select public.meshhook_allow_user_enqueue('orders')")
    allowed = doctored.bad()
    admin.execute(
        "grant execute on function"
        " public.meshhook_user_enqueue(text, jsonb, double precision, text, timestamptz) to anon"
    )
    found = doctored.one("rights")
    admin.execute(found["fix"].encode())
    admin.execute("select public.meshhook_disallow_user_enqueue('orders')")

    assert allowed == {}
    assert found["message"].endswith("is open to anon")


@pytest.mark.parametrize(("seconds", "status"), [(30, "warning"), (-600, "problem")])
def test_a_clock_that_is_off(
    doctored: Doctored, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str
) -> None:
    real = diagnosis._now

    def off() -> datetime:
        return real() + timedelta(seconds=seconds)

    monkeypatch.setattr(diagnosis, "_now", off)

    found = doctored.one("clock")

    assert found["status"] == status
    assert ("behind" if seconds > 0 else "ahead") in found["message"]
    assert "NTP" in found["fix"]


def test_no_dead_letter_queue_is_missed_where_none_is_wanted(
    doctored: Doctored, admin: psycopg.Connection
) -> None:
    doctored.shell.run("queues", "configure", QUEUE, "--no-dead-letters")
    admin.execute("select pgmq.drop_queue('orders_dlq')")

    assert doctored.bad() == {}


def test_a_paused_queue(doctored: Doctored, shell: Shell) -> None:
    shell.run("enqueue", stdin=job_lines(2))
    shell.run("queues", "pause", QUEUE)
    found = doctored.one("queue orders")
    shell.run(*found["fix"].split()[1:])

    assert found["status"] == "warning"
    assert found["message"].endswith("with 2 jobs due")
    assert doctored.bad() == {}


def test_no_worker(doctored: Doctored, admin: psycopg.Connection, clock: Clock) -> None:
    admin.execute("update meshhook.workers set seen_at = now() - interval '1 hour' where true")
    idle = doctored.one("workers orders")
    doctored.shell.run("enqueue", stdin=job_lines(1))
    clock.advance(120)
    waiting = doctored.one("workers orders")

    assert (idle["status"], idle["message"]) == ("warning", "none is alive")
    assert waiting["status"] == "problem"
    assert waiting["message"].startswith("none is alive, and 1 job is due, the first since 2 m")
    assert "meshhook worker module:handler --queue orders" in waiting["fix"]


def test_a_worker_that_is_not_wanted_is_not_missed(doctored: Doctored) -> None:
    """The queue workflow_jobs has none, and nobody asked for it."""
    assert "workers workflow_jobs" not in doctored.bad()
    assert "workers workflow_jobs" in doctored.bad("-q", "workflow_jobs")


def test_jobs_that_wait_for_a_retry_are_not_stuck(
    doctored: Doctored, service: SyncQueueService, clock: Clock
) -> None:
    doctored.shell.run("enqueue", stdin=job_lines(1))
    job = service.dequeue()
    assert job
    service.retry(job, 0, "no")
    clock.advance(100)

    assert doctored.bad() == {}


def test_a_backlog_that_grows(
    shell: Shell, service: SyncQueueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("enqueue", stdin=job_lines(1))
    monkeypatch.setattr(
        "meshhook.cli.doctor.diagnosis.time.sleep",
        lambda _: service.enqueue_many([job_data() for _ in range(4)]),
    )

    ended = shell.run("doctor", "--json", "--sample-seconds", "3")

    found = ended.json["findings"][-1]
    assert (found["check"], found["status"]) == ("backlog orders", "warning")
    assert found["message"] == "the backlog grows: 4 more due jobs in 3 s, 5 in all"


def test_history_that_nobody_prunes(
    doctored: Doctored, service: SyncQueueService, clock: Clock, admin: psycopg.Connection
) -> None:
    doctored.shell.run("enqueue", stdin=job_lines(1))
    job = service.dequeue()
    assert job
    service.acknowledge(job)
    clock.advance(40 * 86_400)
    found = doctored.one("retention")
    doctored.shell.run("queues", "configure", QUEUE, "--retention-days", "30")
    with_retention = doctored.bad()
    admin.execute("select public.meshhook_drop_queue(%s)", [QUEUE])
    dropped = doctored.bad()["retention"]
    admin.execute("select public.meshhook_prune(30)")

    assert found["status"] == "warning"
    assert "the oldest for 40 d" in found["message"]
    assert found["fix"].startswith("meshhook queues configure orders --retention-days 30")
    assert with_retention == {}
    assert dropped["fix"] == "once: select public.meshhook_prune(30)"
    assert "retention" not in doctored.bad()


def test_a_table_full_of_dead_tuples(doctored: Doctored, admin: psycopg.Connection) -> None:
    admin.execute("alter table pgmq.q_orders set (autovacuum_enabled = off)")
    admin.execute(
        "insert into pgmq.q_orders (vt, message) select now(), '{}' from generate_series(1, 11000)"
    )
    admin.execute("delete from pgmq.q_orders where true")
    admin.execute("select pg_stat_force_next_flush()")
    found = doctored.one("bloat orders")
    admin.execute("vacuum pgmq.q_orders")

    assert found["message"] == "pgmq.q_orders has 11000 dead tuples and 0 live ones"
    assert found["fix"].startswith('vacuum (analyze) pgmq."q_orders"')


def test_strict_takes_warnings_for_problems(doctored: Doctored, shell: Shell) -> None:
    shell.run("queues", "pause", QUEUE)

    assert doctored.look().code == 0
    strict = doctored.look("--strict")

    assert (strict.code, strict.json["ok"]) == (1, False)


@pytest.mark.usefixtures("admin")
def test_the_doctor_changes_nothing(stack: LocalStack) -> None:
    with psycopg.connect(stack.admin_database_url) as connection:
        connection.read_only = True
        row = connection.execute("select public.meshhook_doctor()").fetchone()

    assert row
    assert row[0]["has_pgmq"] is True


def test_the_doctor_says_nothing_of_any_job(
    admin: psycopg.Connection, service: SyncQueueService
) -> None:
    service.enqueue(job_data(metadata={"secret": "of a customer"}))

    row = admin.execute("select public.meshhook_doctor()::text").fetchone()

    assert row
    assert "of a customer" not in row[0]
