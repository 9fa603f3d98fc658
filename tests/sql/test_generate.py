"""The migration of a release is made of the files in `sql/`."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhook import migrations
from sql import generate


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two files of SQL, at its version 1.2.0."""
    for name in ("sql", "migrations", "releases"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "sql" / "02_b.sql").write_text("-- b\nselect 2;\n")
    (tmp_path / "sql" / "01_a.sql").write_text("-- a\nselect 1;\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "sql")
    monkeypatch.setattr(generate, "MIGRATIONS", tmp_path / "migrations")
    monkeypatch.setattr(generate, "RELEASES", tmp_path / "releases")
    return tmp_path


def test_the_migration_of_this_release_is_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


def test_all_files_are_in_it_in_order(tree: Path) -> None:
    assert generate.main([]) == 0

    (file,) = (tree / "migrations").iterdir()
    assert file.name == f"{generate.FIRST_VERSION}_meshhook_1_2_0.sql"
    assert file.read_text() == (
        "-- MeshHook 1.2.0\n"
        "-- Generated from the folder sql/ of MeshHook's repository; do not edit it here.\n\n"
        "-- a\nselect 1;\n\n-- b\nselect 2;\n"
    )


def test_its_head_is_what_a_copy_is_known_by(tree: Path) -> None:
    generate.main([])

    (file,) = (tree / "migrations").iterdir()
    copy = file.rename(file.with_name("20270101000000_mine.sql"))
    assert migrations.look(copy.parent).state == "other release"


def test_a_check_writes_nothing_and_says_what_to_run(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        f"migrations/{generate.FIRST_VERSION}_meshhook_1_2_0.sql is not what sql/ makes:"
        " run make sql\n"
    )
    assert list((tree / "migrations").iterdir()) == []

    generate.main([])
    assert generate.main(["--check"]) == 0
    (tree / "sql" / "01_a.sql").write_text("-- a\nselect 3;\n")
    assert generate.main(["--check"]) == 1


def test_the_next_release_has_a_file_of_its_own_after_the_others(tree: Path) -> None:
    generate.main([])
    (tree / "pyproject.toml").write_text('[project]\nversion = "1.10.0"\n')

    for text in ("-- a\nselect 3;\n", "-- a\nselect 4;\n"):
        (tree / "sql" / "01_a.sql").write_text(text)
        assert generate.main([]) == 0

    old, new = sorted((tree / "migrations").iterdir())
    assert new.name == f"{generate.FIRST_VERSION + 1}_meshhook_1_10_0.sql"
    assert "select 1;" in old.read_text()
    assert "select 4;" in new.read_text()


def test_what_is_released_is_not_changed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate.main([])
    (tree / "releases" / "1.2.0.sha256").touch()
    assert generate.main([]) == 0
    (tree / "sql" / "01_a.sql").write_text("-- a\nselect 3;\n")

    assert generate.main([]) == 1
    assert "1.2.0 is released" in capsys.readouterr().err
    (file,) = (tree / "migrations").iterdir()
    assert "select 1;" in file.read_text()


def test_a_line_that_is_too_long_is_named(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "sql" / "02_b.sql").write_text(f"-- b\nselect '{'x' * generate.LINE_LENGTH}';\n")

    for arguments in ([], ["--check"]):
        assert generate.main(arguments) == 1
        assert capsys.readouterr().err == "sql/02_b.sql:2 has 120 characters; at most 110\n"
