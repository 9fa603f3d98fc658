"""A pytest plugin: the tests run on another Postgres than that of the embedded stack.

`pytest -p tests.compatibility.other_postgres` takes the folder of the programs from
`MESHHOOK_TEST_POSTGRES`, for example /usr/lib/postgresql/15/bin. They are copied, so that
extensions can be laid next to them and another account can run them.
`python -m tests.compatibility` does all of it.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from meshhook_local import binaries, postgres
from meshhook_local.binaries import Binaries
from tests.sql.databases import Database, Server
from tests.sql.pgmq_versions import PLAIN, write_extension

VARIABLE = "MESHHOOK_TEST_POSTGRES"

FIRST_WITH_EXTENSION_PATHS = 18
"""The first release in which each database can have a folder of extensions, and I/O methods."""

NEEDS_EXTENSION_PATHS = {"test_pgmq_that_comes_after_a_failure_is_enough_to_go_on"}

_WITHOUT_NEW_FLAGS = """\
#!/bin/sh
for flag; do
  shift
  [ "$flag" = --no-data-checksums ] || set -- "$@" "$flag"
done
exec "$(dirname "$0")/initdb.real" "$@"
"""


def pytest_configure() -> None:
    """Have every stack of this run use the other Postgres."""
    programs = Path(os.environ[VARIABLE])
    version = major_version(programs)
    folder = Path(tempfile.mkdtemp(prefix=f"postgres-{version}-"))
    atexit.register(shutil.rmtree, folder)
    copy = copied(programs, folder)
    account = binaries._unprivileged_account() if os.geteuid() == 0 else None
    patch = pytest.MonkeyPatch()
    patch.setattr(postgres, "find_binaries", lambda: Binaries(copy, account))
    if version < FIRST_WITH_EXTENSION_PATHS:
        patch.delitem(postgres._SETTINGS, "io_method")
        extensions = share_of(copy) / "extension"
        patch.setattr(Server, "_offer_extension", _offers_to_all(extensions))
        patch.setattr(Server, "create", _creates_after_clearing(extensions))
        (copy / "initdb").rename(copy / "initdb.real")
        (copy / "initdb").write_text(_WITHOUT_NEW_FLAGS)
    binaries._open_to_all(folder)
    for program in copy.iterdir():
        program.chmod(0o755)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes an extension away from one database, where all have the same."""
    if major_version(Path(os.environ[VARIABLE])) < FIRST_WITH_EXTENSION_PATHS:
        left_out = [item for item in items if item.name in NEEDS_EXTENSION_PATHS]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_report_header() -> str:
    """Say which Postgres it is."""
    return f"postgres: {version_line(Path(os.environ[VARIABLE]))}"


def version_line(programs: Path) -> str:
    """Return what a Postgres says of its version."""
    answer = subprocess.run(
        [programs / "postgres", "--version"], check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


def major_version(programs: Path) -> int:
    """Return the first number of a Postgres' version."""
    found = re.search(r"(\d+)", version_line(programs))
    assert found is not None
    return int(found[0])


def share_of(programs: Path) -> Path:
    """Return the folder of a Postgres' shared files: where its own extensions are described."""
    places = [parent / "share" for parent in programs.resolve().parents]
    # Debian's lie at /usr/share/postgresql/15, next to /usr/lib/postgresql/15/bin.
    places += [place / "postgresql" / programs.parent.name for place in places]
    return next(place for place in places if (place / "extension" / "plpgsql.control").exists())


def copied(programs: Path, folder: Path) -> Path:
    """Copy a Postgres and return the folder of the programs in the copy.

    A Postgres finds its files by the way from its programs to them, so that is kept.
    """
    programs = programs.resolve()
    share = share_of(programs)
    root = Path(os.path.commonpath([programs, share]))
    for part in (programs.parent, share):
        shutil.copytree(part, folder / part.relative_to(root), dirs_exist_ok=True)
    return folder / programs.relative_to(root)


def _offers_to_all(extensions: Path) -> Callable[..., None]:
    """Return what offers a version of PGMQ: the next extension that is created has that one."""

    def offer(_: Server, connection: psycopg.Connection, name: str, version: str) -> None:
        del connection, name  # the folder is that of all databases
        draft = Path(tempfile.mkdtemp()) / "extension"
        write_extension(draft, version)
        for file in draft.iterdir():
            shutil.copyfile(file, extensions / file.name)
        shutil.rmtree(draft.parent)

    return offer


def _creates_after_clearing(extensions: Path) -> Callable[..., Database]:
    """Return what creates a database, to which none is offered if it should have none."""
    create = Server.create

    def create_after_clearing(
        self: Server, pgmq: str | None = PLAIN, *, is_installed: bool = True
    ) -> Database:
        if pgmq is None:
            (extensions / "pgmq.control").unlink(missing_ok=True)
        return create(self, pgmq, is_installed=is_installed)

    return create_after_clearing
