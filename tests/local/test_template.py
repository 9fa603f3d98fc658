"""The data of an ephemeral stack is made once and copied for the next one."""

from __future__ import annotations

import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import psycopg
import pytest

from meshhook.local import LocalStack
from meshhook_local.errors import StartError
from meshhook_local.postgres import PostgresServer
from meshhook_local.process import Account
from meshhook_local.template import Template, find_template

A_WEEK = 7 * 86_400


@pytest.fixture(autouse=True)
def _own_temporary_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))


@pytest.fixture
def data(folder: Path) -> Path:
    """What a server has made."""
    path = folder / "data"
    path.mkdir(mode=0o700)
    (path / "PG_VERSION").write_text("18\n")
    return path


@pytest.fixture
def draft(folder: Path) -> Path:
    """The folder of a run."""
    path = folder / "run"
    path.mkdir()
    return path


def templates(folder: Path) -> list[Path]:
    return list(folder.glob("meshhook-data-*"))


def found(*contents: str, account: Account | None = None) -> Template:
    template = find_template(contents, account)
    assert template is not None
    return template


def saved(data: Path, draft: Path, *contents: str) -> Template:
    template = found(*contents)
    template.save(data, draft)
    assert template.exists()
    return template


def starts_of(stack: LocalStack) -> int:
    log = (stack._postgres.run_folder / "postgres.log").read_text()
    return log.count("ready to accept connections")


def test_stacks_start_together_from_nothing_and_the_next_one_from_their_copy(folder: Path) -> None:
    stacks = [LocalStack(apply_meshhook=False) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(LocalStack.start, stacks))
    for stack in stacks:
        with psycopg.connect(stack.database_url) as connection:
            connection.execute("create table of_this_stack_alone ()")
        stack.stop()
    (template,) = templates(folder)

    with LocalStack(apply_meshhook=False) as stack:
        assert starts_of(stack) == 1  # There was nothing to make.
        with psycopg.connect(stack.database_url) as connection:
            row = connection.execute(
                "select to_regclass('of_this_stack_alone'), to_regclass('pgmq.meta')::text"
            ).fetchone()

    assert row == (None, "pgmq.meta")
    assert templates(folder) == [template]


def test_data_that_stays_is_no_copy(folder: Path) -> None:
    with LocalStack(data_dir=folder / "mine", apply_meshhook=False):
        assert templates(folder) == []


@pytest.mark.parametrize("damage", ["a missing file", "a file cut short", "emptied", "rejected"])
def test_a_damaged_template_is_replaced(damage: str, folder: Path) -> None:
    with LocalStack(apply_meshhook=False):
        (template,) = templates(folder)
    if damage == "a missing file":
        next((template / "data" / "base").rglob("1255")).unlink()
    elif damage == "a file cut short":
        os.truncate(template / "data" / "global" / "pg_control", 100)
    elif damage == "emptied":
        shutil.rmtree(template / "data")
    else:
        (template / "data" / "PG_VERSION").write_text("17")

    for starts in (2, 1):
        with LocalStack(apply_meshhook=False) as stack:
            assert starts_of(stack) == starts
            with psycopg.connect(stack.database_url) as connection:
                assert connection.execute("select count(*) from pgmq.meta").fetchone() == (0,)


def test_a_start_on_a_port_in_use_keeps_the_template(folder: Path) -> None:
    with LocalStack(apply_meshhook=False) as stack:
        port = stack._postgres.port
        with pytest.raises(StartError, match="could not bind"):
            LocalStack(apply_meshhook=False, database_port=port).start()

        assert len(templates(folder)) == 1


@pytest.mark.parametrize("obstacle", ["the name is taken", "there is no cp"])
def test_where_no_template_can_be_kept_the_server_is_not_restarted(
    obstacle: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle == "there is no cp":
        monkeypatch.setenv("PATH", str(folder))
    else:
        monkeypatch.setattr(Template, "exists", lambda _: False)
        with LocalStack(apply_meshhook=False):
            pass

    with LocalStack(apply_meshhook=False) as stack:
        assert starts_of(stack) == 1


def test_a_port_that_is_taken_during_the_restart_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = PostgresServer()
    template = server.template(["x"])
    assert template is not None
    server.start()
    port = server.port
    listeners: list[socket.socket] = []
    monkeypatch.setattr(
        Template, "save", lambda *_: listeners.append(socket.create_server(("127.0.0.1", port)))
    )

    server.save(template)

    assert server.is_running()
    assert server.port != port
    server.close()
    listeners[0].close()


def test_other_contents_are_another_template() -> None:
    paths = {found(*texts).path for texts in (["a", "b"], ["ab"], ["b", "a"], ["a"])}
    paths.add(found("a", account=Account("nobody", 65534, 65534)).path)

    assert len(paths) == 5


def test_a_template_that_is_not_there_is_not_copied(folder: Path) -> None:
    assert not found("x").copy_to(folder / "copy")
    assert not (folder / "copy").exists()


@pytest.mark.as_root
def test_the_account_of_postgres_cannot_reach_the_template(folder: Path) -> None:
    with LocalStack(apply_meshhook=False):
        (template,) = templates(folder)

    assert template.stat().st_uid == os.geteuid()
    assert (template / "data").stat().st_uid != os.geteuid()
    assert template.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("trap", ["open to others", "a link", "of another user"])
def test_a_template_that_another_user_may_have_made_is_neither_copied_nor_replaced(
    data: Path, draft: Path, folder: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = saved(data, draft, "x")
    if trap == "open to others":
        template.path.chmod(0o750)
    elif trap == "a link":
        template.path.rename(folder / "elsewhere")
        template.path.symlink_to(folder / "elsewhere")
    else:
        stranger = os.geteuid() + 1
        monkeypatch.setattr("os.geteuid", lambda: stranger)

    assert not template.copy_to(folder / "copy")
    assert not (folder / "copy").exists()
    assert not template.is_wanted()


def test_a_copy_that_fails_half_way_leaves_nothing(data: Path, draft: Path, folder: Path) -> None:
    template = saved(data, draft, "x")
    cp = folder / "cp"
    cp.write_text('#!/bin/sh\nmkdir "$3"\ntouch "$3/half"\nexit 1\n')
    cp.chmod(0o700)

    assert not attrs.evolve(template, program=str(cp)).copy_to(folder / "copy")
    assert not (folder / "copy").exists()


def test_the_first_of_two_that_save_wins(data: Path, draft: Path) -> None:
    template = saved(data, draft, "x")
    (data / "second").touch()

    template.save(data, draft)

    assert not (template.path / "data" / "second").exists()
    assert list(draft.iterdir()) == []


def test_what_nobody_has_copied_for_a_week_is_removed(
    data: Path, draft: Path, folder: Path
) -> None:
    old, used = saved(data, draft, "old"), saved(data, draft, "used")
    for template in (old, used):
        os.utime(template.path, times=(0, time.time() - A_WEEK - 60))

    assert used.copy_to(folder / "copy")
    new = saved(data, draft, "new")

    assert sorted(templates(folder)) == sorted([used.path, new.path])
