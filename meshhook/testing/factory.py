"""Making the queues of a test, and removing them after it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from psycopg import sql

from meshhook.testing.queue import QueueUnderTest

if TYPE_CHECKING:
    import psycopg
    from supabase import AsyncClient, Client


class QueueFactory:
    """Makes the queues of one test: call it for each queue, and close it at the end.

    Args:
        admin: A connection, in autocommit mode, that may change any row of MeshHook's.
        client: An async client of the same stack.
        sync_client: A sync client of the same stack.
    """

    def __init__(self, admin: psycopg.Connection, client: AsyncClient, sync_client: Client) -> None:
        self._admin = admin
        self._client = client
        self._sync_client = sync_client
        self._created: list[str] = []
        self._borrowed: list[str] = []

    @property
    def names(self) -> list[str]:
        """The queues so far."""
        return [*self._created, *self._borrowed]

    def __call__(self, name: str | None = None) -> QueueUnderTest:
        """Return a queue, which is empty at the first call for it.

        Args:
            name: Its name; None for a new one that no other test has. A queue that exists already
                is emptied, with its dead letter queue and its history, and keeps its settings.

        Returns:
            The queue.
        """
        if name is None:
            name = f"test_{uuid.uuid4().hex[:12]}"
        if name not in self.names:
            self._prepare(name)
        return QueueUnderTest(self._admin, self._client, self._sync_client, name)

    def close(self) -> None:
        """Drop the queues that were made here, and empty those that existed before."""
        for name in self._created:
            self._admin.execute("select public.meshhook_drop_queue(%s, drop_dlq => true)", [name])
        for name in self._borrowed:
            self._empty(name)
        self._created, self._borrowed = [], []

    def _prepare(self, name: str) -> None:
        known = self._admin.execute("select from pgmq.meta where queue_name = %s", [name])
        is_there = known.rowcount == 1
        self._admin.execute("select public.meshhook_create_queue(%s)", [name])
        (self._borrowed if is_there else self._created).append(name)
        if is_there:
            self._empty(name)

    def _empty(self, name: str) -> None:
        row = self._admin.execute(
            "select queue_id, dlq_name from meshhook.queues where queue_name = %s", [name]
        ).fetchone()
        if row is None:
            return  # the test has dropped it itself
        queue_id, dlq_name = row
        with self._admin.transaction():
            self._admin.execute(
                "update meshhook.queues set paused_at = null where queue_id = %s", [queue_id]
            )
            for queue in (name, dlq_name):
                self._admin.execute(
                    sql.SQL("truncate {}, {} restart identity").format(
                        sql.Identifier("pgmq", f"q_{queue}"), sql.Identifier("pgmq", f"a_{queue}")
                    )
                )
                self._admin.execute("delete from meshhook.requests where queue_name = %s", [queue])
            for table in ("jobs", "attempts", "totals"):
                self._admin.execute(
                    sql.SQL("delete from {} where queue_id = %s").format(
                        sql.Identifier("meshhook", table)
                    ),
                    [queue_id],
                )
