"""Time that a test moves on instead of waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.testing import QueueClock

if TYPE_CHECKING:
    import psycopg


class Clock(QueueClock):
    """The time of one queue.

    Args:
        admin: A connection that may look at and change any row.
        queue_name: The queue.
    """

    def __init__(self, admin: psycopg.Connection, queue_name: str) -> None:
        super().__init__(admin, lambda: [queue_name])
        self.admin = admin
