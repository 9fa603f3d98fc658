"""Watching connections wait for one another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

DEADLINE_SECONDS = 10


def wait_until_blocked(admin: psycopg.Connection, pid: int) -> None:
    """Return as soon as a connection waits for a lock.

    Postgres gives no notice of it, so this asks again and again.

    Args:
        admin: The connection to ask through.
        pid: The backend of the connection that should wait.

    Raises:
        TimeoutError: It does not wait.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        row = admin.execute("select cardinality(pg_blocking_pids(%s)) > 0", [pid]).fetchone()
        if row is not None and row[0]:
            return
    message = f"backend {pid} does not wait for a lock"
    raise TimeoutError(message)
