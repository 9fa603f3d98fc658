"""Watch a database for lock waits and deadlocks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

    from benchmarks.target import Target

LOOK_SECONDS = 0.01

WAITING = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()
"""
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


class LockWatch:
    """Looks at the database repeatedly while its block runs.

    Args:
        target: The database.

    Attributes:
        looks: How often it has looked.
        waits: At how many of the looks a connection waited for a lock.
        deadlocks: How many deadlocks there were during the block.
    """

    def __init__(self, target: Target) -> None:
        self._connection = target.connect()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lock watch")
        self._error: Exception | None = None
        self.looks = 0
        self.waits = 0
        self.deadlocks = -_number(self._connection, DEADLOCKS)

    @property
    def share(self) -> float:
        """The share of looks at which a connection waited."""
        return self.waits / max(1, self.looks)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        with self._connection:
            if self._error is not None:
                raise self._error
            self.deadlocks += _number(self._connection, DEADLOCKS)

    def _watch(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                self.waits += _number(self._connection, WAITING) > 0
                self.looks += 1
        except Exception as error:  # noqa: BLE001 - raised again at the end of the block
            self._error = error


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
