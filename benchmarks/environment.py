"""The environment of a measurement: versions, the machine, the database's settings."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    from benchmarks.target import Target

PACKAGES = (
    "meshhook",
    "supabase",
    "postgrest",
    "httpx",
    "anyio",
    "pgqueuer",
    "asyncpg",
    "uvloop",
    "procrastinate",
    "pgmq",
    "psycopg",
)
PARAMETERS = ("shared_buffers", "synchronous_commit", "fsync", "max_wal_size", "jit", "autovacuum")


def describe(target: Target) -> dict[str, str]:
    """Return the facts that a reader needs to judge the numbers.

    Args:
        target: The measured database.

    Returns:
        Names and values.
    """
    with target.connect() as connection:
        return {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "processors": str(os.cpu_count()),
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB",
            "system": f"{platform.system()} {platform.machine()}",
            "Python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            "API": "embedded gateway" if target.is_embedded else "PostgREST given by --url",
            "Postgres": _setting(connection, "server_version"),
            "PGMQ": _pgmq_version(connection),
            **{name: _setting(connection, name) for name in PARAMETERS},
        }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute(sql.SQL("show {}").format(sql.Identifier(name))).fetchone()
    assert row is not None
    return str(row[0])


def _pgmq_version(connection: psycopg.Connection) -> str:
    """Return the extension's version; without the extension, PGMQ is that of the wheel."""
    row = connection.execute(
        "select extversion from pg_extension where extname = 'pgmq'"
    ).fetchone()
    if row is not None:
        return str(row[0])
    import pgmq  # noqa: PLC0415 - only needed in this case

    return f"{pgmq.get_embedded_sql_version()} (plain SQL)"
