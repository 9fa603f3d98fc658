"""The stack as its users see it: start, stop, keys, folders, errors."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import httpx
import psycopg
import pytest

from meshhook.local import (
    DataFolderInUseError,
    LocalStack,
    LocalStackError,
    MigrationFailedError,
    StartError,
)
from meshhook_local import extra
from meshhook_local.folders import lock_data_folder

from .processes import children, command_line


def answers(stack: LocalStack) -> bool:
    return httpx.get(f"{stack.rest_url}/").status_code == 401


def test_env_has_the_names_of_supabase_status(stack: LocalStack) -> None:
    assert stack.env() == {
        "API_URL": stack.url,
        "DB_URL": stack.database_url,
        "PUBLISHABLE_KEY": stack.publishable_key,
        "SECRET_KEY": stack.secret_key,
        "ANON_KEY": stack.anon_key,
        "SERVICE_ROLE_KEY": stack.service_role_key,
        "JWT_SECRET": stack.jwt_secret,
    }


def test_the_database_urls_lead_to_their_roles(stack: LocalStack) -> None:
    query = "select current_user, rolsuper from pg_roles where rolname = current_user"
    for url, expected in (
        (stack.database_url, ("postgres", False)),
        (stack.admin_database_url, ("supabase_admin", True)),
    ):
        with psycopg.connect(url) as connection:
            assert connection.execute(query).fetchone() == expected

    assert stack.database_url.startswith("postgresql://postgres:postgres@127.0.0.1:")


def test_no_key_shows_in_a_repr(stack: LocalStack) -> None:
    shown = repr(stack) + repr(stack._keys) + repr(stack._gateway_settings())

    keys = [*stack.env().values()][2:]
    assert not any(key in shown for key in keys)
    assert stack.url in repr(stack)


def test_no_key_shows_on_a_command_line(stack: LocalStack) -> None:
    commands = "\n".join(command_line(pid) for pid in children(os.getpid()))

    assert "meshhook_local.gateway" in commands
    assert not any(key in commands for key in [*stack.env().values()][2:])


async def test_an_asynchronous_stack_runs_beside_another(stack: LocalStack) -> None:
    async with LocalStack(apply_meshhook=False) as other:
        assert other.url != stack.url
        assert other.database_url != stack.database_url
        assert other.secret_key != stack.secret_key
        async with httpx.AsyncClient(base_url=other.rest_url) as client:
            unknown = await client.get("/x", headers={"apikey": stack.secret_key})
            known = await client.get("/x", headers={"apikey": other.secret_key})

    assert (unknown.status_code, known.status_code) == (401, 404)


def test_start_and_stop_may_be_called_by_hand_and_again() -> None:
    stack = LocalStack(apply_meshhook=False)
    with pytest.raises(LocalStackError, match="not started"):
        _ = stack.url
    with pytest.raises(LocalStackError, match="not started"):
        _ = stack.secret_key

    stack.start()
    with pytest.raises(LocalStackError, match="runs already"):
        stack.start()
    run_folder = stack._postgres.run_folder
    stack.stop()
    stack.stop()

    assert not run_folder.exists()
    assert repr(stack) == "<LocalStack stopped>"
    with pytest.raises(LocalStackError, match="not started"):
        _ = stack.database_url

    with stack:
        assert answers(stack)


def test_a_data_folder_keeps_data_keys_and_applied_migrations(folder: Path) -> None:
    migrations = folder / "migrations"
    migrations.mkdir()
    (migrations / "1_notes.sql").write_text("create table public.notes (id int);")
    data = folder / "data"
    settings = {"data_dir": data, "migrations": migrations, "apply_meshhook": False}

    with LocalStack(**settings) as stack:  # type: ignore[arg-type]
        keys = [*stack.env().values()][2:]
        with psycopg.connect(stack.database_url) as connection:
            connection.execute("insert into public.notes values (1)")
        stack.restart_gateway()

    (migrations / "2_more.sql").write_text("alter table public.notes add column more text;")
    with LocalStack(**settings) as stack:  # type: ignore[arg-type]
        assert [*stack.env().values()][2:] == keys
        with psycopg.connect(stack.database_url) as connection:
            assert connection.execute("select id, more from public.notes").fetchall() == [(1, None)]
            fsync = connection.execute("show fsync").fetchone()

    assert fsync == ("on",)
    assert stat.S_IMODE((data / "keys.json").stat().st_mode) == 0o600
    assert (data / ".gitignore").read_text() == "*\n"
    assert {entry.name for entry in data.iterdir()} - {".gitignore", "data.new"} == {
        "data",
        "keys.json",
        "meshhook.lock",
        "postgres.log",
    }


def test_git_ignores_data_and_keys_also_of_an_older_stack_and_nothing_else(tmp_path: Path) -> None:
    older, shared, own = (tmp_path / name for name in ("older", "shared", "own"))
    for folder, name in ((older, "keys.json"), (shared, "app.py"), (own, ".gitignore")):
        folder.mkdir()
        (folder / name).write_text("mine\n")
        lock_data_folder(folder).release()

    assert (older / ".gitignore").read_text() == "*\n"
    assert (shared / ".gitignore").read_text().split() == [
        "/data",
        "/data.new",
        "/keys.json",
        "/meshhook.lock",
        "/postgres.log",
    ]
    assert (own / ".gitignore").read_text() == "mine\n"


def test_data_that_was_half_made_is_made_anew(folder: Path) -> None:
    draft = folder / "data.new"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18")

    with LocalStack(data_dir=folder, apply_meshhook=False) as stack:
        assert answers(stack)

    assert not draft.exists()


@pytest.mark.as_root
def test_a_data_folder_that_postgres_cannot_reach_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    stack = LocalStack(data_dir=tmp_path / "data", apply_meshhook=False)

    with pytest.raises(StartError, match="initdb, run by the account nobody, failed") as caught:
        stack.start()

    assert caught.value.log_tail.endswith(f'"{tmp_path / "data" / "data.new"}": Permission denied')


def test_a_data_folder_serves_one_stack_at_a_time(folder: Path) -> None:
    with LocalStack(data_dir=folder / "data", apply_meshhook=False) as first:
        second = LocalStack(data_dir=folder / "data", apply_meshhook=False)
        with pytest.raises(
            DataFolderInUseError, match=f"in use by process {os.getpid()}"
        ) as caught:
            second.start()
        assert answers(first)

    assert caught.value.folder == folder / "data"


def test_a_stack_that_fails_to_start_leaves_nothing(folder: Path) -> None:
    (folder / "1_bad.sql").write_text("create table public.a (id int);\n\nselect nonsense;")
    before = children(os.getpid())
    stack = LocalStack(migrations=folder, apply_meshhook=False)

    with pytest.raises(MigrationFailedError) as caught:
        stack.start()

    assert (caught.value.path, caught.value.line) == (folder / "1_bad.sql", 3)
    assert children(os.getpid()) == before
    assert repr(stack) == "<LocalStack stopped>"


def test_a_gateway_that_cannot_start_says_why() -> None:
    stack = LocalStack(pool_size=-1, apply_meshhook=False)

    with pytest.raises(StartError, match="the gateway did not start") as caught:
        stack.start()

    assert "ValueError" in caught.value.log_tail


def test_a_missing_folder_of_migrations_is_named(folder: Path) -> None:
    stack = LocalStack(migrations=folder / "nowhere", apply_meshhook=False)

    with pytest.raises(LocalStackError, match="nowhere"):
        stack.start()


def test_the_extra_is_named_if_a_package_of_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "_PACKAGES", ("psycopg", "no_such_package"))

    with pytest.raises(ImportError, match=r"no_such_package: pip install 'meshhook\[local\]'"):
        extra.require_extra()
