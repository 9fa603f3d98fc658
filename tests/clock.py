"""Time that a test moves on instead of waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    import psycopg


class Clock:
    """The time of one queue, as its rows and what is remembered of it know it.

    Args:
        admin: A connection that may look at and change any row.
        queue_name: The queue.
    """

    def __init__(self, admin: psycopg.Connection, queue_name: str) -> None:
        self.admin = admin
        self._queue_name = queue_name

    def advance(self, seconds: float) -> None:
        """Let time pass: delays and leases are shorter by it, jobs and memories older.

        Args:
            seconds: How much.
        """
        for name in (self._queue_name, f"{self._queue_name}_dlq"):
            table = sql.Identifier("pgmq", f"q_{name}")
            self.admin.execute(
                sql.SQL(
                    "update {} set vt = vt - make_interval(secs => %(s)s),"
                    " enqueued_at = enqueued_at - make_interval(secs => %(s)s)"
                ).format(table),
                {"s": seconds},
            )
        self.admin.execute(
            "update meshhook.requests set expires_at = expires_at - make_interval(secs => %s)"
            " where queue_name in (%s, %s)",
            [seconds, self._queue_name, f"{self._queue_name}_dlq"],
        )
        for table_name, column in (("jobs", "finished_at"), ("attempts", "failed_at")):
            self.admin.execute(
                sql.SQL(
                    "update meshhook.{} set {} = {} - make_interval(secs => %s) where queue_id ="
                    " (select queue_id from meshhook.queues where queue_name = %s)"
                ).format(
                    sql.Identifier(table_name), sql.Identifier(column), sql.Identifier(column)
                ),
                [seconds, self._queue_name],
            )
