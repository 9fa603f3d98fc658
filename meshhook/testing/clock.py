"""The clock of a test's queues, which a test advances instead of waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from meshhook._inputs import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    import psycopg

_Dated = tuple[tuple[str, tuple[str, ...]], ...]

# The columns with dates: in a queue and its archive, and in MeshHook's tables.
_OF_A_TABLE: _Dated = (("q_", ("vt", "enqueued_at")), ("a_", ("vt", "enqueued_at", "archived_at")))
_OF_A_NAME: _Dated = (("requests", ("expires_at",)),)
_OF_A_QUEUE: _Dated = (
    ("jobs", ("enqueued_at", "finished_at", "replayed_at")),
    ("attempts", ("failed_at",)),
    ("user_sends", ("expires_at",)),
)


class QueueClock:
    """The time of some queues.

    The clock of the database itself stays as it is. The dates of the queues' jobs, leases and
    history are moved.

    Args:
        admin: A connection, in autocommit mode, that may change any row of MeshHook's.
        queue_names: Returns the names of the queues.
    """

    def __init__(self, admin: psycopg.Connection, queue_names: Callable[[], Iterable[str]]) -> None:
        self._admin = admin
        self._queue_names = queue_names

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass at once, for the queues and their dead letter queues.

        Delays, backoffs and leases end sooner; jobs, dead letters, history, idempotency keys and
        users' quotas are older. A running worker may lose its leases, as it would in real time.

        Args:
            seconds: How much time, in seconds or as a timedelta.

        Raises:
            InvalidInputError: It is not a number above 0.
        """
        seconds = check.positive_seconds("seconds", seconds)
        with self._admin.transaction():
            for queue_name in self._queue_names():
                self._advance_queue(queue_name, seconds)

    def _advance_queue(self, queue_name: str, seconds: float) -> None:
        row = self._admin.execute(
            "select queue_id, dlq_name from meshhook.queues where queue_name = %s", [queue_name]
        ).fetchone()
        if row is None:
            return  # the test has dropped it
        queue_id, dlq_name = row
        for name in (queue_name, dlq_name):
            for prefix, columns in _OF_A_TABLE:
                self._shift(("pgmq", f"{prefix}{name}"), columns, seconds)
            for table, columns in _OF_A_NAME:
                self._shift(("meshhook", table), columns, seconds, "queue_name", name)
        for table, columns in _OF_A_QUEUE:
            self._shift(("meshhook", table), columns, seconds, "queue_id", queue_id)
        self._admin.execute(
            "update meshhook.user_sends set sent_at = array("
            "select at - make_interval(secs => %s) from unnest(sent_at) as at order by at"
            ") where queue_id = %s",
            [seconds, queue_id],
        )

    def _shift(
        self,
        table: tuple[str, str],
        columns: Iterable[str],
        seconds: float,
        key: str | None = None,
        value: str | int | None = None,
    ) -> None:
        """Make the dates of a table older: of all rows, or of those with a value in a column."""
        shifts = [
            sql.SQL("{0} = {0} - make_interval(secs => %(seconds)s)").format(sql.Identifier(column))
            for column in columns
        ]
        condition = (
            sql.SQL("true")
            if key is None
            else sql.SQL("{} = %(value)s").format(sql.Identifier(key))
        )
        statement = sql.SQL("update {} set {} where {}").format(
            sql.Identifier(*table), sql.SQL(", ").join(shifts), condition
        )
        self._admin.execute(statement, {"seconds": seconds, "value": value})
