"""Upgrades: whatever was in the queues before is there after, and goes on as it would have."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from meshhook.migrations import migration_file
from sql.generate import FOLDER
from tests.sql.client import Api, JobQueue
from tests.sql.databases import Database
from tests.upgrade.jobs import OldJobs
from tests.upgrade.releases import Release, digest_of, releases, write


def version_of(file: Path) -> int:
    return int(file.name.partition("_")[0])


@pytest.fixture
def known_releases(tmp_path: Path) -> list[Release]:
    """Every release, and the tree as it would be released today: there may be no other yet."""
    write("0.0.0", tmp_path)
    return [*releases(), *releases(tmp_path)]


def test_released_files_never_change_and_none_comes_after_the_newest(
    known_releases: list[Release],
) -> None:
    for release in known_releases:
        assert digest_of(release.file) == release.digest, release.version
        assert version_of(release.file) <= version_of(migration_file()), release.version


def test_a_release_is_written_down_and_read_again(tmp_path: Path) -> None:
    write("0.10.0", tmp_path)
    write("0.9.0", tmp_path)

    assert [release.version for release in releases(tmp_path)] == ["0.9.0", "0.10.0"]
    assert releases(tmp_path)[0].file == migration_file()
    assert releases(tmp_path)[0].digest == digest_of(migration_file())


def test_jobs_of_every_release_outlive_the_upgrade(
    database: Database, known_releases: list[Release]
) -> None:
    for release in known_releases:
        database.migrate([release.file])
        with database.admin() as connection:
            jobs = OldJobs(connection)
            database.migrate()
            jobs.check()
            jobs.queue.drop(drop_dlq=True)


# One transaction is not what every tool makes of it: psql applies statement by statement.
@pytest.mark.parametrize("topic", [file.name for file in sorted(FOLDER.glob("*.sql"))])
def test_jobs_outlive_an_upgrade_that_was_cut_short_anywhere(
    database: Database, topic: str, tmp_path: Path
) -> None:
    files = [file for file in sorted(FOLDER.glob("*.sql")) if file.name < topic]
    part = tmp_path / "part.sql"
    part.write_text("\n".join(file.read_text() for file in files))
    database.migrate([part])
    with database.admin() as connection:
        jobs = OldJobs(connection)

        database.migrate()

        jobs.check()


def test_what_was_cut_short_lets_nobody_in(database: Database, tmp_path: Path) -> None:
    text = migration_file().read_text()
    part = tmp_path / "part.sql"
    part.write_text(text[: text.index("create or replace function public.meshhook_version(")])
    database.migrate([part])

    with database.admin() as connection:
        rows = connection.execute(
            "select p.proname, r.rolname from pg_proc p, pg_roles r"
            " where p.pronamespace = 'public'::regnamespace and starts_with(p.proname, 'meshhook_')"
            " and r.rolname in ('anon', 'authenticated')"
            " and has_function_privilege(r.oid, p.oid, 'execute')"
        ).fetchall()

    assert rows == []


def contents(connection: psycopg.Connection) -> dict[str, list[object]]:
    tables = connection.execute(
        "select format('%I.%I', n.nspname, c.relname)"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('meshhook', 'pgmq') and c.relkind = 'r'"
    ).fetchall()
    return {
        table: list(connection.execute(f"select t::text from {table} t order by 1".encode()))
        for (table,) in tables
    }


def test_to_apply_all_of_it_again_changes_no_row(database: Database) -> None:
    database.migrate()
    with database.admin() as connection:
        jobs = OldJobs(connection)
        before = contents(connection)

        database.migrate()

        assert contents(connection) == before
        jobs.check()


def test_no_function_has_two_signatures(database: Database) -> None:
    """PostgREST cannot tell overloads apart, and refuses both (PGRST203)."""
    database.migrate()
    with database.admin() as connection:
        rows = connection.execute(
            "select proname from pg_proc where pronamespace in"
            " ('public'::regnamespace, 'meshhook'::regnamespace) and proname like any"
            " (array['meshhook%', '\\_%']) group by pronamespace, proname having count(*) > 1"
        ).fetchall()

    assert rows == []


def test_work_goes_on_while_the_migrations_are_applied(database: Database) -> None:
    database.migrate()
    stop, failures, done = threading.Event(), list[psycopg.Error](), list[int]()

    def work() -> None:
        with database.admin() as connection:
            queue = JobQueue(Api(connection), "busy")
            while not stop.is_set():
                try:
                    queue.send({"run_id": "r"})
                    done.append(len(queue.acknowledge(*queue.claim(10))))
                except psycopg.Error as error:
                    failures.append(error)

    with database.admin() as connection:
        JobQueue(Api(connection), "busy").create()
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        database.migrate()
    stop.set()
    for worker in workers:
        worker.join()

    assert [f"{error.sqlstate}: {error}" for error in failures] == []
    assert sum(done) > 0
