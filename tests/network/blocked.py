"""Holding calls up in the database: what waits for a table that another connection has locked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import psycopg
from psycopg import sql

from meshhook.local import LocalStack

DEADLINE_SECONDS = 20


@attrs.frozen
class Lock:
    """A table that is locked."""

    table: str
    _holder: psycopg.Connection
    _watcher: psycopg.Connection

    def wait_for_blocked(self) -> str:
        """Wait until a connection waits for the table, and return what it is at."""
        return self._query_of(self._blocked())

    def terminate_blocked(self) -> str:
        """End the first connection that waits for the table, and return what it was at."""
        pid = self._blocked()
        query = self._query_of(pid)
        self._watcher.execute("select pg_terminate_backend(%s, 5000)", [pid])
        return query

    def _query_of(self, pid: int) -> str:
        # In one query with the look who waits, this could be what the connection was at before.
        row = self._watcher.execute(
            "select query from pg_stat_activity where pid = %s", [pid]
        ).fetchone()
        assert row is not None
        return str(row[0])

    def _blocked(self) -> int:
        # Postgres does not report when a connection begins to wait, so this asks again and again.
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            row = self._watcher.execute(
                "select pid from pg_stat_activity where %s = any (pg_blocking_pids(pid))",
                [self._holder.info.backend_pid],
            ).fetchone()
            if row is not None:
                return int(row[0])
        message = f"nothing waits for {self.table}"
        raise TimeoutError(message)


@contextmanager
def locked(stack: LocalStack, table: str) -> Iterator[Lock]:
    """Keep a table locked during the block.

    Args:
        stack: The stack.
        table: The table, in the schema meshhook.
    """
    url = stack.admin_database_url
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as watcher:
        holder.execute(sql.SQL("lock table meshhook.{}").format(sql.Identifier(table)))
        yield Lock(table, holder, watcher)
