"""Migrations: in order, once, all or nothing, and as the role `postgres`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook import migrations
from meshhook.local import LocalStack, LocalStackError, MigrationFailedError
from meshhook_local.migrate import apply_migrations, migrations_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def url(stack: LocalStack) -> Iterator[str]:
    """The URL of the stack's database; what the migrations made is gone afterwards."""
    yield stack.database_url
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("drop schema if exists made cascade")
        connection.execute(
            "delete from supabase_migrations.schema_migrations where version like '90%'"
        )


def write(folder: Path, **files: str) -> list[Path]:
    for name, text in files.items():
        (folder / f"{name.removeprefix('_')}.sql").write_text(text)
    return migrations_in(folder)


def query(url: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(text.encode()).fetchall()


def recorded(url: str) -> list[tuple[object, ...]]:
    return query(
        url,
        "select version, name, statements from supabase_migrations.schema_migrations"
        " where version like '90%' order by version",
    )


def test_files_are_applied_in_the_order_of_their_versions_and_recorded(
    url: str, tmp_path: Path
) -> None:
    files = write(
        tmp_path,
        _9010_second="create table made.notes (id int);",
        _902_first="create schema made;",
        notes="this is no migration",
    )

    applied = apply_migrations(url, files)

    assert [path.name for path in applied] == ["902_first.sql", "9010_second.sql"]
    assert recorded(url) == [
        ("9010", "second", ["create table made.notes (id int);"]),
        ("902", "first", ["create schema made;"]),
    ]


def test_a_second_file_of_a_version_is_refused(url: str, tmp_path: Path) -> None:
    files = write(tmp_path, _901_first="create schema made;", _901_second="select 1;")

    with pytest.raises(MigrationFailedError, match=r"901_first\.sql") as caught:
        apply_migrations(url, files)

    assert caught.value.path == files[1]


def test_a_file_that_was_renamed_is_skipped(url: str, tmp_path: Path) -> None:
    (path,) = write(tmp_path, _901_old="create schema made;")
    apply_migrations(url, [path])

    assert apply_migrations(url, [path.rename(tmp_path / "901_new.sql")]) == []


def test_a_recorded_version_is_skipped(url: str, tmp_path: Path) -> None:
    files = write(tmp_path, _901_first="create schema made;")
    apply_migrations(url, files)

    assert apply_migrations(url, files) == []


def test_files_run_as_postgres_who_is_no_superuser(url: str, tmp_path: Path) -> None:
    apply_migrations(url, write(tmp_path, _901_first="create schema made;"))
    owner = "select nspowner::regrole::text from pg_namespace where nspname = 'made'"
    assert query(url, owner) == [("postgres",)]

    with pytest.raises(MigrationFailedError, match="permission denied"):
        apply_migrations(url, write(tmp_path, _902_admin="set session_replication_role = replica"))


def test_an_error_names_file_line_and_reason_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    files = write(
        tmp_path,
        _901_good="create schema made;",
        _902_bad="create table made.a (id int);\n\n-- ünïcode\ninsert into made.a values ('x');\n",
    )

    with pytest.raises(MigrationFailedError) as caught:
        apply_migrations(url, files)

    assert (caught.value.path, caught.value.line) == (tmp_path / "902_bad.sql", 4)
    assert caught.value.reason == 'invalid input syntax for type integer: "x"'
    assert str(caught.value).startswith(f"{tmp_path / '902_bad.sql'}:4: invalid input")
    assert query(url, "select to_regclass('made.a')") == [(None,)]
    assert [row[0] for row in recorded(url)] == ["901"]


def test_an_error_at_run_time_has_postgres_details_and_context(url: str, tmp_path: Path) -> None:
    text = "do $$ begin raise 'no' using detail = 'because', hint = 'do not'; end $$;"

    with pytest.raises(MigrationFailedError) as caught:
        apply_migrations(url, write(tmp_path, _901_bad=text))

    assert caught.value.line is None
    assert caught.value.reason.splitlines()[:3] == ["no", "DETAIL: because", "HINT: do not"]
    assert "CONTEXT: PL/pgSQL function" in caught.value.reason


def test_a_file_may_not_end_its_transaction(url: str, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailedError, match="ends its own transaction"):
        apply_migrations(url, write(tmp_path, _901_bad="create schema made; commit;"))


def test_what_a_file_sets_for_its_session_does_not_reach_the_next(url: str, tmp_path: Path) -> None:
    files = write(
        tmp_path,
        _901_first="set search_path = ''; create schema made; set role anon;",
        _902_second="create table made.a as select current_setting('search_path') as path;",
    )

    apply_migrations(url, files)

    assert query(url, "select path from made.a") == [('"$user", public, extensions',)]


def test_a_name_without_a_version_is_refused(url: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.sql"
    path.write_text("select 1")

    with pytest.raises(MigrationFailedError, match="of the form <version>"):
        apply_migrations(url, [path])


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="nowhere"):
        migrations_in(tmp_path / "nowhere")


def test_meshhooks_file_comes_from_the_wheel_or_else_is_the_newest_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, checkout = tmp_path / "sql", tmp_path / "migrations"
    monkeypatch.setattr(migrations, "_IN_WHEEL", wheel)
    monkeypatch.setattr(migrations, "_IN_CHECKOUT", checkout)
    with pytest.raises(FileNotFoundError, match="install meshhook again"):
        migrations.migration_file()

    checkout.mkdir()
    (checkout / "2_b.sql").touch()
    (checkout / "1_a.sql").touch()
    (checkout / "README.md").touch()
    assert migrations.migration_file() == checkout / "2_b.sql"

    wheel.mkdir()
    (wheel / "1_a.sql").touch()
    assert migrations.migration_file() == wheel / "1_a.sql"


def test_meshhooks_own_file_applies() -> None:
    with LocalStack() as stack:
        found = query(
            stack.database_url, "select version, name from supabase_migrations.schema_migrations"
        )

    assert found == [(migrations.shipped().version, migrations.shipped().name)]
