"""Apply migration files as the Supabase CLI does: by version, once, and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from meshhook.migrations import FILE_NAME
from meshhook_local.errors import LocalStackError, MigrationFailedError

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from pathlib import Path


def migrations_in(folder: Path) -> list[Path]:
    """List the migration files of a folder in the order of their versions.

    Args:
        folder: For example `supabase/migrations`; files of other names are left out.

    Returns:
        The files named `<version>_<name>.sql`, lowest version first.

    Raises:
        LocalStackError: If there is no such folder.
    """
    if not folder.is_dir():
        raise LocalStackError(f"there is no folder of migrations at {folder}")
    files = [path for path in folder.iterdir() if FILE_NAME.fullmatch(path.name)]
    return sorted(files, key=lambda path: (int(_version_of(path)), path.name))


def apply_migrations(conninfo: str, files: Sequence[Path]) -> list[Path]:
    """Apply files in the given order, each in one transaction, and record them.

    Args:
        conninfo: How to connect as the role `postgres`.
        files: Files named `<version>_<name>.sql`.

    Returns:
        The files that were applied; those recorded before are skipped.

    Raises:
        MigrationFailedError: If a file fails; it leaves nothing behind, those before it stay.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return [path for path in files if _apply(connection, path)]


def _apply(connection: psycopg.Connection, path: Path) -> bool:
    text = path.read_text()
    # What a file sets for its session (pg_dump empties search_path) must not reach the next one.
    connection.execute("reset all; reset role")
    try:
        with connection.transaction():
            if not _record(connection, path, text):
                return False
            connection.execute(text)
            if connection.info.transaction_status != TransactionStatus.INTRANS:
                raise MigrationFailedError(path, "it ends its own transaction; leave that to us")
    except psycopg.Error as error:
        raise MigrationFailedError(path, _reason(error), _line_of(error, text)) from error
    return True


def _record(connection: psycopg.Connection, path: Path, text: str) -> bool:
    """Record the file; return whether it is new. Two runs at once wait for each other here."""
    name = FILE_NAME.fullmatch(path.name)
    if name is None:
        raise MigrationFailedError(path, "its name is not of the form <version>_<name>.sql")
    recorded = connection.execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements)"
        " values (%s, %s, %s) on conflict do nothing",
        (name[1], name[2], [text]),
    )
    if recorded.rowcount == 0:
        _refuse_another(connection, path, name, text)
    return recorded.rowcount == 1


def _refuse_another(
    connection: psycopg.Connection, path: Path, name: re.Match[str], text: str
) -> None:
    """Refuse a file whose version another one has; skipped silently, it would never be applied."""
    recorded = connection.execute(
        "select name from supabase_migrations.schema_migrations"
        " where version = %s and name is distinct from %s and statements is distinct from %s",
        (name[1], name[2], [text]),
    ).fetchone()
    if recorded is not None:
        raise MigrationFailedError(
            path,
            f"its version is that of {name[1]}_{recorded[0]}.sql, which has been applied: give one"
            " of them another version",
        )


def _version_of(path: Path) -> str:
    return path.name.partition("_")[0]


def _reason(error: psycopg.Error) -> str:
    parts = [error.diag.message_primary or str(error)]
    if error.diag.message_detail:
        parts.append(f"DETAIL: {error.diag.message_detail}")
    if error.diag.message_hint:
        parts.append(f"HINT: {error.diag.message_hint}")
    if error.diag.context:
        parts.append(f"CONTEXT: {error.diag.context}")
    return "\n".join(parts)


def _line_of(error: psycopg.Error, text: str) -> int | None:
    position = error.diag.statement_position
    return text.count("\n", 0, int(position) - 1) + 1 if position else None
