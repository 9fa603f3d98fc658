"""Databases to test the SQL in: on one server, each with its own PGMQ."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from meshhook.migrations import migration_file
from tests.running_stack import RUNNING, STACK
from tests.sql.pgmq_versions import OLDER, PLAIN, plain_sql, write_extension

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshhook.local import LocalStack

VERSIONS = (PLAIN, *OLDER) if STACK is None else (RUNNING,)
"""What the tests of the functions run on."""

on_plain = pytest.mark.parametrize("database", VERSIONS[:1], indirect=True)
"""For tests of what cannot depend on PGMQ: they run once."""

on_older = pytest.mark.parametrize("database", OLDER, indirect=True)
"""For tests of what is special in the versions that hosted Supabase runs."""

on_those_with_headers = pytest.mark.parametrize(
    "database", [version for version in VERSIONS if version != "1.4.4"], indirect=True
)
"""For tests of the headers of messages, which came with PGMQ 1.5."""


@attrs.frozen
class Database:
    """One database.

    Attributes:
        name: Its name.
        pgmq: The version of the extension PGMQ, `PLAIN`, or None where there is none.
        admin_url: How to connect as the superuser.
        owner_url: How to connect as `postgres`, who is no superuser and runs migrations.
    """

    name: str
    pgmq: str | None
    admin_url: str
    owner_url: str

    @property
    def has_headers(self) -> bool:
        """Whether messages have headers in this version of PGMQ."""
        return self.pgmq != "1.4.4"

    def admin(self, *, autocommit: bool = True) -> psycopg.Connection:
        """Connect as the superuser."""
        return psycopg.connect(self.admin_url, autocommit=autocommit)

    def owner(self, *, autocommit: bool = True) -> psycopg.Connection:
        """Connect as `postgres`."""
        return psycopg.connect(self.owner_url, autocommit=autocommit)

    def migrate(self, files: Iterable[Path] | None = None) -> None:
        """Apply migrations as `postgres`, each in one transaction; MeshHook's if none are given."""
        with self.owner() as connection:
            for file in [migration_file()] if files is None else files:
                with connection.transaction():
                    connection.execute(file.read_text())


class Server:
    """Makes databases on the server of a stack, and folders of extensions for them.

    Args:
        stack: Its server has Supabase's roles.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._url = stack.admin_database_url
        self._numbers = itertools.count()
        self._folder = Path(tempfile.mkdtemp(prefix="sql-tests-"))
        # The server may run as another account.
        self._folder.chmod(0o755)

    def close(self) -> None:
        """Remove the folders of extensions."""
        shutil.rmtree(self._folder)

    def create(self, pgmq: str | None = PLAIN, *, is_installed: bool = True) -> Database:
        """Make a database that belongs to `postgres`.

        Args:
            pgmq: Which PGMQ it has: `PLAIN`, the version of an extension, or None.
            is_installed: Whether an extension is created, or only there to be created.
        """
        name = f"sql_{next(self._numbers)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} owner postgres").format(sql.Identifier(name))
            )
            if pgmq not in {None, PLAIN}:
                assert pgmq is not None
                self._offer_extension(connection, name, pgmq)
        database = Database(
            name,
            pgmq,
            make_conninfo(self._url, dbname=name),
            make_conninfo(self._url, dbname=name, user="postgres"),
        )
        with database.owner() as owner:
            if pgmq == PLAIN:
                owner.execute(plain_sql())
            elif pgmq is not None and is_installed:
                owner.execute("create extension pgmq")
        return database

    def drop(self, database: Database) -> None:
        """Drop a database."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database {} with (force)").format(sql.Identifier(database.name))
            )

    def _offer_extension(self, connection: psycopg.Connection, name: str, version: str) -> None:
        folder = self._folder / version
        if not folder.exists():
            write_extension(folder / "extension", version)
        connection.execute(
            sql.SQL("alter database {} set extension_control_path = {}").format(
                sql.Identifier(name), sql.Literal(f"{folder}:$system")
            )
        )
