"""Turn an empty database into a Supabase project with PGMQ."""

from __future__ import annotations

import importlib.resources

import psycopg

from meshhook_local.binaries import pgmq_sql


def bootstrap(admin_conninfo: str) -> None:
    """Create Supabase's roles and schemas and PGMQ, unless they are there.

    All of it happens in one transaction: a start that was cut short leaves nothing behind that the
    next one would trip over.

    Args:
        admin_conninfo: How to connect as the superuser.
    """
    with psycopg.connect(admin_conninfo) as connection:
        if connection.execute("select to_regrole('authenticator') is not null").fetchone() == (
            True,
        ):
            return
        connection.execute(own_text("bootstrap.sql"))
        # As on Supabase, PGMQ belongs to `postgres`, so its functions may call all of it.
        connection.execute("set local role postgres")
        connection.execute(pgmq_sql())


def own_text(name: str) -> str:
    """Read a file of this package."""
    return importlib.resources.files(__package__).joinpath(name).read_text()
