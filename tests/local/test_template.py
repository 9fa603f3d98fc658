"""The data of an ephemeral stack is made once and copied for the next one."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from meshhook.local import LocalStack
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


def saved(data: Path, draft: Path, *contents: str) -> Template:
    template = find_template(contents, None)
    template.save(data, draft)
    assert template.exists()
    return template


def postgres_version_file(stack: LocalStack) -> Path:
    return stack._postgres.run_folder / "data" / "PG_VERSION"


def test_stacks_start_together_from_nothing_and_the_next_one_from_their_copy(folder: Path) -> None:
    stacks = [LocalStack(apply_meshhook=False) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(LocalStack.start, stacks))
    for stack in stacks:
        with psycopg.connect(stack.database_url) as connection:
            connection.execute("create table of_this_stack_alone ()")
        stack.stop()
    (template,) = templates(folder)
    (template / "copied").touch()

    with LocalStack(apply_meshhook=False) as stack:
        assert postgres_version_file(stack).with_name("copied").exists()
        with psycopg.connect(stack.database_url) as connection:
            found = connection.execute(
                "select to_regclass('of_this_stack_alone'), to_regclass('pgmq.meta')::text"
            ).fetchone()

    assert found == (None, "pgmq.meta")
    assert templates(folder) == [template]


def test_data_that_stays_is_no_copy(folder: Path) -> None:
    with LocalStack(data_dir=folder / "mine", apply_meshhook=False):
        assert templates(folder) == []


def test_other_contents_are_another_template() -> None:
    paths = {find_template(texts, None).path for texts in (["a", "b"], ["ab"], ["b", "a"], ["a"])}

    assert len(paths) == 4


def test_a_template_that_is_not_there_is_not_copied(folder: Path) -> None:
    assert not find_template(["x"], None).copy_to(folder / "copy")
    assert not (folder / "copy").exists()


@pytest.mark.parametrize("trap", ["open to others", "a link", "of another user"])
def test_a_template_that_another_user_may_have_made_is_not_copied(
    data: Path, draft: Path, folder: Path, trap: str
) -> None:
    template = saved(data, draft, "x")
    if trap == "open to others":
        template.path.chmod(0o750)
    elif trap == "a link":
        template.path.rename(folder / "elsewhere")
        template.path.symlink_to(folder / "elsewhere")
    else:
        template = Template(template.path, os.geteuid() + 1)

    assert not template.copy_to(folder / "copy")
    assert not (folder / "copy").exists()


def test_a_copy_that_fails_half_way_leaves_nothing(data: Path, draft: Path, folder: Path) -> None:
    template = saved(data, draft, "x")
    (folder / "copy").mkdir(mode=0o700)
    (folder / "copy" / "data").mkdir()
    (folder / "copy" / template.path.name).touch()  # in the way of a folder

    assert not template.copy_to(folder / "copy")
    assert not (folder / "copy").exists()


def test_the_first_of_two_that_save_wins(data: Path, draft: Path) -> None:
    template = saved(data, draft, "x")
    (data / "second").touch()

    template.save(data, draft)

    assert not (template.path / "second").exists()
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
