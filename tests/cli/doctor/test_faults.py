"""Faults are planted, `meshhook doctor` finds each, its advice is followed, and it is gone."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import pytest

from meshhook.cli.doctor import diagnosis
from meshhook.cli.doctor.findings import INSTALL, REPAIR
from meshhook.local import LocalStack
from meshhook.migrations import migration_file
from meshhook_local.binaries import pgmq_sql
from meshhook_local.migrate import apply_migrations, migrations_in
from tests.cli.conftest import Shell, job_lines
from tests.cli.doctor.conftest import QUEUE, show_life
from tests.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONGER = "alter role service_role set statement_timeout = '8s'; notify pgrst, 'reload config'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of migrations that were applied: by the stack, under these versions."""
    folder = tmp_path_factory.mktemp("project") / "supabase" / "migrations"
    folder.mkdir(parents=True)
    shutil.copy(migration_file(), folder)
    return folder


@pytest.fixture
def project(stack: LocalStack, admin: psycopg.Connection, shell: Shell, folder: Path) -> Project:
    project = Project(stack, admin, shell, folder)
    project.show_life()
    return project


class Project:
    """A project that is broken and repaired as its owner would do it."""

    def __init__(
        self, stack: LocalStack, admin: psycopg.Connection, shell: Shell, folder: Path
    ) -> None:
        self.stack = stack
        self.admin = admin
        self.shell = shell
        self.folder = folder

    def show_life(self) -> None:
        """Show a sign of life of a worker of the queue."""
        show_life(self.admin, self.shell.env["MESHHOOK_QUEUE"])

    def bad(self, *argv: str) -> list[dict[str, Any]]:
        """Return what the doctor finds that is not well; it never fails itself."""
        ended = self.shell.run("doctor", "--json", "--sample-seconds", "0", *argv)
        findings = ended.json["findings"]
        assert ended.err == ""
        assert ended.code == int(any(one["status"] == "problem" for one in findings))
        return [one for one in findings if one["status"] != "ok"]

    def look_for(self, *patterns: Finding, argv: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Look until the API has noticed what was changed, and just that is found."""
        for _ in range(12):
            bad = self.bad(*argv)
            if len(bad) == len(patterns) and all(
                pattern.fits(one) for pattern, one in zip(patterns, bad, strict=True)
            ):
                break
        assert [pattern.shown(one) for pattern, one in zip(patterns, bad, strict=False)] == [
            attrs.astuple(pattern) for pattern in patterns
        ], bad
        assert len(bad) == len(patterns), bad
        return bad

    def heal(self, bad: list[dict[str, Any]], *argv: str) -> None:
        """Follow all advice until nothing is found; none is given twice."""
        followed: list[str] = []
        while bad:
            for fix in dict.fromkeys(one["fix"] for one in bad):
                assert fix not in followed, bad
                followed.append(fix)
                self.follow(fix)
            self.show_life()
            bad = self._look_again(followed, *argv)

    def _look_again(self, followed: list[str], *argv: str) -> list[dict[str, Any]]:
        for _ in range(12):
            bad = self.bad(*argv)
            if not {one["fix"] for one in bad} & set(followed):
                break
        return bad

    def follow(self, fix: str) -> None:
        """Do what an advice says."""
        assert "--yes" not in fix
        assert not re.search(r"\bdrop\b|\bpurge\b|\btruncate\b|\bdelete from\b", fix)
        if fix.startswith("enable it under Integrations > Queues"):
            # As it comes on Supabase: owned by the role that migrations run as.
            self.sql("set role postgres;" + pgmq_sql(), self.stack.admin_database_url)
            fix = fix.partition("apply the migrations: ")[2]
        if fix == REPAIR:
            self.repair()
        elif fix.startswith("meshhook "):
            ended = self.shell.run(*shlex.split(fix)[1:])
            assert ended.code == 0, ended
        elif role := re.match(r"as (\w+): ", fix):
            self.sql(f"set role {role[1]}; {fix[role.end() :]}", self.stack.admin_database_url)
        else:
            # The SQL editor is postgres, which is no superuser.
            self.sql(re.sub(r"^if calls fail, .*, or: ", "", fix), self.stack.database_url)

    def install(self) -> None:
        """Install the SQL, without applying it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        assert self.shell.run("migrations", "install", "--dir", str(self.folder)).code == 0

    def repair(self) -> None:
        """Install again, into a folder whose files were all applied, and push."""
        for file in sorted(self.folder.glob("*_meshhook_repair.sql"))[:-1]:
            file.unlink()  # the next version follows the newest
        ended = self.shell.run("migrations", "install", "--again", "--dir", str(self.folder))
        assert ended.code == 0, ended
        applied = apply_migrations(self.stack.database_url, migrations_in(self.folder))
        assert applied[-1].name.endswith("_meshhook_repair.sql")

    def sql(self, text: str, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(text.encode())


@attrs.frozen
class Finding:
    """What should be found; ``*`` stands for anything."""

    check: str
    status: str
    message: str
    fix: str

    def fits(self, found: dict[str, Any]) -> bool:
        return self.shown(found) == attrs.astuple(self)

    def shown(self, found: dict[str, Any]) -> tuple[str, ...]:
        """Return what was found, with this one's own text where that fits."""
        return tuple(
            wanted
            if re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), found[name])
            else found[name]
            for name, wanted in attrs.asdict(self).items()
        )


def problem(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "problem", message, fix)


def warning(check: str, message: str, fix: str) -> Finding:
    return Finding(check, "warning", message, fix)


@attrs.frozen
class Fault:
    """A fault."""

    name: str
    plant: str
    found: tuple[Finding, ...]
    undo: str = ""


def fault(name: str, plant: str, *found: Finding, undo: str = "") -> Any:
    return pytest.param(Fault(name, plant, found, undo), id=name)


def lost(what: str) -> Finding:
    return problem("rights", f"service_role has lost its right to the {what}", REPAIR)


def gone(tables: str, queue: str = QUEUE) -> Finding:
    message = f"pgmq.meta lists it, but {tables} gone"
    return problem(f"queue {queue}", message, f"meshhook queues create {QUEUE}")


CHANGED = "changed, or of another version: "

# What the SQL that MeshHook installs has and this project has not, or has differently.
REPAIRED: list[tuple[str, str, str]] = [
    (
        "drop function public.meshhook_pause_queue(text)",
        *("functions", "missing: public.meshhook_pause_queue"),
    ),
    ("drop function meshhook._age(timestamptz)", "functions", "missing: meshhook._age"),
    (
        "drop function meshhook._doctor_functions()",
        *("functions", "missing: function meshhook._doctor_functions() does not exist"),
    ),
    (
        (
            "create or replace function meshhook._dlq_name(p_queue_name text) returns text"
            " language sql immutable set search_path = '' as 'select p_queue_name'"
        ),
        *("functions", f"{CHANGED}meshhook._dlq_name"),
    ),
    (
        (
            "create or replace function public.meshhook_version() returns jsonb language sql"
            " as $$ select '[null]'::jsonb $$"
        ),
        *("functions", f"{CHANGED}public.meshhook_version"),
    ),
    ("drop view public.job_statistics", "tables", "missing: public.job_statistics"),
    (
        "drop table meshhook.requests",
        *("tables", "missing: meshhook.requests, meshhook.requests_by_expiry"),
    ),
    ("drop index meshhook.jobs_by_age", "tables", "missing: meshhook.jobs_by_age"),
]

LOST = {
    "execute on function public.meshhook_enqueue": "function public.meshhook_enqueue(*)",
    "execute on function public.meshhook_dequeue": "function public.meshhook_dequeue(*)",
    "execute on function public.meshhook_list_workers(text)": (
        "function public.meshhook_list_workers(text)"
    ),
    "select on public.queue_monitoring": "view public.queue_monitoring",
    "execute on function meshhook._job_statistics()": "function meshhook._job_statistics()",
}

FAULTS = [
    *(fault(sql, sql, problem(check, found, REPAIR)) for sql, check, found in REPAIRED),
    *(
        fault(f"revoke {right}", f"revoke {right} from service_role", lost(what))
        for right, what in LOST.items()
    ),
    fault(
        "the doctor dropped",
        "drop function public.meshhook_doctor()",
        problem(
            "functions",
            "those in this project are older (schema version 1), or meshhook_doctor was dropped",
            REPAIR,
        ),
    ),
    fault(
        "meshhook_doctor answers otherwise",
        "create or replace function public.meshhook_doctor() returns jsonb language sql"
        " as $$ select '[1]'::jsonb $$",
        problem(
            "functions",
            "meshhook_doctor does not answer as it should: the answer is a list, not an object",
            REPAIR,
        ),
    ),
    fault(
        "schema meshhook dropped",
        "drop schema meshhook cascade",
        problem(
            "functions",
            "the schema meshhook is gone; the jobs in the queues are still there",
            REPAIR,
        ),
    ),
    fault(
        "right to the doctor lost",
        "revoke execute on function public.meshhook_doctor() from service_role",
        problem(
            "rights",
            "service_role has lost its right to the function public.meshhook_doctor()",
            "grant execute on function public.meshhook_doctor() to service_role",
        ),
    ),
    fault(
        "right to the schema public lost",
        "revoke usage on schema public from public, service_role",
        problem(
            "rights",
            "service_role has lost its right to the schema public",
            "grant usage on schema public to service_role",
        ),
        undo="grant usage on schema public to public",
    ),
    fault(
        "PGMQ dropped",
        "drop schema pgmq cascade",
        problem(
            "pgmq",
            "PGMQ is not installed, or was dropped",
            "enable it under Integrations > Queues in the dashboard, and apply the migrations:"
            f" {REPAIR}",
        ),
        undo="select public.meshhook_create_queue('workflow_jobs')",
    ),
    fault(
        "queue dropped",
        "select pgmq.drop_queue('orders')",
        problem("queue orders", "there is no such queue", "meshhook queues create orders"),
    ),
    fault(
        "dead letter queue dropped",
        "select pgmq.drop_queue('orders_dlq')",
        problem(
            "queue orders",
            "its dead letter queue orders_dlq is missing",
            "meshhook queues create orders",
        ),
    ),
    fault("table of a queue dropped", "drop table pgmq.q_orders", gone("pgmq.q_orders is")),
    fault("archive of a queue dropped", "drop table pgmq.a_orders", gone("pgmq.a_orders is")),
    fault(
        "both tables of a queue dropped",
        "drop table pgmq.q_orders, pgmq.a_orders",
        gone("pgmq.q_orders and pgmq.a_orders are"),
    ),
    fault(
        "table of a dead letter queue dropped",
        "drop table pgmq.q_orders_dlq",
        gone("pgmq.q_orders_dlq is", "orders_dlq"),
    ),
    fault(
        "queue of another role",
        "alter table pgmq.q_orders owner to supabase_admin",
        problem(
            "queue orders",
            "postgres may not insert, update, delete in pgmq.q_orders, which belongs to"
            " supabase_admin",
            'as supabase_admin: grant insert, update, delete on pgmq."q_orders" to postgres',
        ),
        undo="alter table pgmq.q_orders owner to postgres",
    ),
    fault(
        "queue of another role that MeshHook has not used",
        "select pgmq.create('plain')",
        warning(
            "queue plain",
            "not MeshHook's, and it could not use it: postgres may not select, insert, update,"
            " delete in pgmq.q_plain, which belongs to supabase_admin; postgres may not select,"
            " insert, delete in pgmq.a_plain, which belongs to supabase_admin",
            'as supabase_admin: grant select, insert, update, delete on pgmq."q_plain" to postgres;'
            ' grant select, insert, delete on pgmq."a_plain" to postgres',
        ),
        undo="select pgmq.drop_queue('plain')",
    ),
    fault(
        "index on vt dropped",
        "drop index pgmq.q_orders_vt_idx",
        warning(
            "index orders",
            "pgmq.q_orders has no index on vt: each claim reads all of it",
            'create index concurrently on pgmq."q_orders" (vt)',
        ),
    ),
    fault(
        "index on vt is invalid",
        "update pg_index set indisvalid = false"
        " where indexrelid = 'pgmq.q_orders_vt_idx'::regclass",
        warning(
            "index orders",
            "the index q_orders_vt_idx of pgmq.q_orders is invalid: its creation failed",
            'reindex index concurrently pgmq."q_orders_vt_idx"',
        ),
    ),
    fault(
        "index of the archive dropped",
        "drop index pgmq.archived_at_idx_orders",
        warning(
            "index orders",
            "pgmq.a_orders has no index on archived_at: each prune reads all of it",
            'create index concurrently on pgmq."a_orders" (archived_at)',
        ),
    ),
    fault(
        "trigger of another owner",
        "create function public.boom() returns trigger language plpgsql"
        " as 'begin raise exception ''boom''; end';"
        "create trigger boom before insert on pgmq.q_orders execute function public.boom()",
        warning(
            "triggers orders",
            "the trigger boom on pgmq.q_orders runs public.boom() with MeshHook's calls, which"
            " fail where it raises",
            'if calls fail, correct that function, or: alter table pgmq."q_orders" disable trigger'
            ' "boom"',
        ),
        undo="drop function public.boom() cascade",
    ),
    fault(
        "unlogged table",
        "alter table pgmq.q_orders set unlogged",
        problem(
            "durability orders",
            "pgmq.q_orders is unlogged: a crash of the database empties it",
            'alter table pgmq."q_orders" set logged',
        ),
    ),
    fault(
        "function open to anon",
        "grant execute on function public.meshhook_purge(text,text) to anon",
        problem(
            "rights",
            "the function public.meshhook_purge(text,text) is open to anon",
            "revoke execute on function public.meshhook_purge(text,text) from public, anon",
        ),
    ),
    fault(
        "view open to anon",
        "grant select on public.job_statistics to anon",
        problem(
            "rights",
            "the table public.job_statistics is open to anon",
            "revoke all on table public.job_statistics from public, anon",
        ),
    ),
    fault(
        "queue open to anon",
        "grant usage on schema pgmq to anon; grant select on pgmq.q_orders to anon;"
        "alter table pgmq.q_orders disable row level security",
        problem(
            "rights",
            "the table pgmq.q_orders is open to anon",
            "revoke all on table pgmq.q_orders from public, anon",
        ),
        undo="revoke usage on schema pgmq from anon",
    ),
    *(
        fault(
            f"statement timeout of {milliseconds} ms",
            f"alter role service_role set statement_timeout = {milliseconds};"
            "notify pgrst, 'reload config'",
            warning("statement timeout", f"calls are cut off after {milliseconds} ms", LONGER),
            undo="alter role service_role reset statement_timeout; notify pgrst, 'reload config'",
        )
        for milliseconds in (800, 4999)
    ),
    fault(
        "statement timeout of 1 ms",
        "alter role service_role set statement_timeout = 1; notify pgrst, 'reload config'",
        problem(
            "statement timeout",
            "meshhook_doctor was cut off: the statement_timeout is too short",
            LONGER,
        ),
        undo="alter role service_role reset statement_timeout; notify pgrst, 'reload config'",
    ),
]


@pytest.mark.parametrize("planted", FAULTS)
def test_a_fault_is_found_and_the_advice_repairs_it(planted: Fault, project: Project) -> None:
    project.sql(planted.plant, project.stack.admin_database_url)
    bad = project.look_for(*planted.found)

    project.heal(bad)
    if planted.undo:
        project.sql(planted.undo, project.stack.admin_database_url)

    assert project.shell.run("enqueue", stdin=job_lines(1)).code == 0
    assert project.shell.run("stats").code == 0


def test_calls_work_again_where_a_right_was_missing(project: Project) -> None:
    """What the doctor names is what breaks them; the other way to repair it does it, too."""
    project.admin.execute("revoke execute on function public.meshhook_enqueue from service_role")
    refused = project.shell.run("enqueue", stdin=job_lines(1))
    (found,) = project.bad()
    _, command = re.split(r"or: ", found["fix"].rstrip(")"))
    printed = project.shell.run(*shlex.split(command.partition(" | psql ")[0])[1:])
    project.sql(printed.out, project.stack.database_url)

    assert project.bad() == []
    assert refused.code == 1
    assert "permission denied" in refused.err
    assert project.shell.run("enqueue", stdin=job_lines(1)).code == 0


SECRET = "take the secret key (sb_secret_...) of the dashboard's Project Settings > API Keys"
OF_THE_PROJECT = "take the secret key of the project that SUPABASE_URL names"
IN_ENVIRONMENT = "put SUPABASE_URL and SUPABASE_KEY into the environment or into .env"
API_URL = (
    "take the API URL of the dashboard's Project Settings > Data API: https://<project>.supabase.co"
)
NETWORK = "check SUPABASE_URL and the network; locally, start supabase or meshhook dev"


def setting(name: str, given: Callable[[LocalStack], dict[str, str]], *found: str) -> Any:
    return pytest.param(given, Finding(found[0], "problem", *found[1:]), id=name)


def key(made: Callable[[LocalStack], str]) -> Callable[[LocalStack], dict[str, str]]:
    return lambda stack: {"SUPABASE_KEY": made(stack)}


def url(text: str) -> Callable[[LocalStack], dict[str, str]]:
    return lambda stack: {"SUPABASE_URL": text.format(url=stack.url)}


def empty(name: str) -> Callable[[LocalStack], dict[str, str]]:
    return lambda _: {name: ""}


NOT_SECRET: dict[str, tuple[Callable[[LocalStack], str], str]] = {
    "key of anon": (
        lambda stack: stack.anon_key,
        "is a key of the role anon, not service_role",
    ),
    "key of authenticated": (
        lambda stack: stack.token("authenticated"),
        "is a key of the role authenticated, not service_role",
    ),
    "publishable key": (
        lambda stack: stack.publishable_key,
        "is a publishable key, which may call nothing",
    ),
    "garbage": (lambda _: "my-password", "is neither a secret key nor a token"),
    "key that has expired": (
        lambda stack: stack.token("service_role", exp=int(time.time()) - 60),
        "has expired at *",
    ),
}

SETTINGS = [
    *(
        setting(name, key(made), "key", f"SUPABASE_KEY {message}", SECRET)
        for name, (made, message) in NOT_SECRET.items()
    ),
    *(
        setting(name, key(made), "key", "*HTTP 401*", OF_THE_PROJECT)
        for name, made in {
            "token of another secret": lambda stack: stack.service_role_key[:-8] + "AAAAAAAA",
            "unknown secret key": lambda _: "sb_secret_of_another_project",
        }.items()
    ),
    *(
        setting(f"no {name}", empty(name), "settings", f"{name} is not set", IN_ENVIRONMENT)
        for name in ("SUPABASE_URL", "SUPABASE_KEY")
    ),
    *(
        setting(text, url(text), "connection", "meshhook_doctor: no connection *", NETWORK)
        for text in ("http://127.0.0.1:9", "http://nowhere.invalid")
    ),
    setting(
        "key of another project",
        lambda stack: {
            "SUPABASE_KEY": stack.token("service_role", ref="abcdef"),
            "SUPABASE_URL": "https://ghijkl.supabase.co",
        },
        "key",
        "SUPABASE_KEY is of the project abcdef, SUPABASE_URL of ghijkl",
        "take URL and key of one project",
    ),
    setting(
        "key in quotes",
        key(lambda stack: f'"{stack.secret_key}"'),
        "key",
        "SUPABASE_KEY has quotes as a part of its value",
        "drop the quotes around the value of SUPABASE_KEY",
    ),
    setting(
        "URL in quotes",
        url("'{url}'"),
        "settings",
        "SUPABASE_URL has quotes as a part of its value",
        "drop the quotes around the value of SUPABASE_URL",
    ),
    setting(
        "URL without a scheme",
        url("127.0.0.1:54321"),
        "settings",
        "SUPABASE_URL must be a URL such as https://<project>.supabase.co or http://127.0.0.1:54321.",
        "correct SUPABASE_URL and SUPABASE_KEY",
    ),
    setting(
        "URL of the database",
        url("postgresql://postgres:secret@db.abcdef.supabase.co:5432/postgres"),
        *("settings", "SUPABASE_URL is the URL of the database, not of the API", API_URL),
    ),
    setting(
        "host of the database",
        url("https://db.abcdef.supabase.co"),
        "settings",
        "SUPABASE_URL names the host of the database, db.abcdef.supabase.co",
        "drop the db.: https://abcdef.supabase.co",
    ),
    setting(
        "URL of the dashboard",
        url("https://supabase.com/dashboard/project/abcdef/settings"),
        *(
            "settings",
            "SUPABASE_URL is the URL of the dashboard",
            "take https://abcdef.supabase.co",
        ),
    ),
    setting(
        "URL with the path of the API",
        url("{url}/rest/v1"),
        *("settings", "SUPABASE_URL ends in /rest/v1, which is added to it", "drop it: *"),
    ),
]


@pytest.mark.parametrize(("given", "found"), SETTINGS)
def test_a_setting_that_is_wrong_is_found(
    given: Callable[[LocalStack], dict[str, str]], found: Finding, project: Project
) -> None:
    right = dict(project.shell.env)
    project.shell.env.update(given(project.stack))

    project.look_for(found)
    project.shell.env.update(right)

    assert project.bad() == []


def test_the_advice_for_a_url_with_the_path_of_the_api_is_the_right_url(project: Project) -> None:
    right = project.stack.url
    project.shell.env["SUPABASE_URL"] = f"{right}/rest/v1/"

    (found,) = project.bad()

    assert found["fix"] == f"drop it: {right}"


def test_no_part_of_the_url_of_a_database_is_quoted(project: Project) -> None:
    project.shell.env["SUPABASE_URL"] = "postgresql://postgres:my-password@db.abc.supabase.co/x"

    assert "my-password" not in project.shell.run("doctor", "--json").out


def test_a_key_with_spaces_around_it_does(project: Project) -> None:
    project.shell.env["SUPABASE_KEY"] = f"  {project.stack.secret_key}\n"

    assert project.bad() == []


class NoSupabase(BaseHTTPRequestHandler):
    """A web server that knows no Supabase."""

    def do_POST(self) -> None:
        body = b"<html>It works!</html>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def plain_web_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), NoSupabase)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_server_that_is_no_supabase(project: Project) -> None:
    with plain_web_server() as address:
        project.shell.env["SUPABASE_URL"] = address
        project.look_for(
            problem(
                "connection",
                "*HTTP 404*",
                "check that SUPABASE_URL is a Supabase project's: https://<project>.supabase.co",
            )
        )


def test_a_host_that_hangs_is_waited_for_once_and_not_for_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis.ANSWER_SECONDS == 10
    monkeypatch.setattr(diagnosis, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        project.shell.env["SUPABASE_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        (found,) = project.bad()
        listener.accept()[0].close()
        listener.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            listener.accept()  # it came once

    assert (found["check"], found["message"]) == ("connection", "no answer within 0.3 s")


def test_sql_that_is_missing_or_was_applied_in_part(shell: Shell, tmp_path: Path) -> None:
    """None, up to the queues, all but the end, all: psql does not apply it in one transaction."""
    text = migration_file().read_text()
    with (
        LocalStack(apply_meshhook=False) as bare,
        psycopg.connect(bare.admin_database_url, autocommit=True) as admin,
    ):
        shell.env |= {
            "SUPABASE_URL": bare.url,
            "SUPABASE_KEY": bare.secret_key,
            "MESHHOOK_QUEUE": "workflow_jobs",
        }
        project = Project(bare, admin, shell, tmp_path / "supabase" / "migrations")
        project.look_for(
            problem(
                "functions",
                "MeshHook's functions are not in this project, or its API has not noticed them",
                f"{INSTALL}; if they are there: notify pgrst, 'reload schema'",
            )
        )
        project.sql(before(text, "meshhook_enqueue"), bare.database_url)
        bare.restart_gateway()
        project.look_for(
            problem(
                "functions",
                "MeshHook's SQL is there in part: meshhook_list_queues is, meshhook_doctor and"
                " meshhook_version are not",
                REPAIR,
            )
        )
        project.sql(before(text, "meshhook_version"), bare.database_url)
        bare.restart_gateway()
        bad = project.look_for(
            problem("functions", "missing: public.meshhook_version", REPAIR),
            problem(
                "queue workflow_jobs",
                "there is no such queue",
                "meshhook queues create workflow_jobs",
            ),
        )
        project.install()
        project.heal(bad)


def before(text: str, function: str) -> str:
    """Return what comes before a function is made."""
    return text[: text.index(f"create or replace function public.{function}(")]


def test_one_cause_is_reported_once_and_a_worker_that_is_started_takes_it_away(
    project: Project, clock: Clock, app_dir: Path
) -> None:
    project.shell.run("enqueue", stdin=job_lines(3))
    project.admin.execute("select public.meshhook_dequeue('orders', 2)")
    clock.advance(7200)
    project.admin.execute(
        "update meshhook.workers set seen_at = now() - interval '1 day' where true"
    )
    (found,) = project.look_for(
        problem(
            "workers orders",
            "none is alive, and 3 jobs are due, the first since 2 h 0 m; 2 jobs were left"
            " unfinished by workers that are gone",
            "meshhook worker module:handler --queue orders",
        )
    )

    argv = shlex.split(found["fix"].replace("module:handler", "tasks:handle"))[1:]
    with project.shell.start(*argv, "--app-dir", str(app_dir)):
        while project.bad():
            pass
