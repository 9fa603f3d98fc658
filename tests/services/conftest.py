"""Fixtures of the tests of the services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg


@pytest.fixture
def stored(admin: psycopg.Connection, queue_name: str) -> Callable[[], list[str]]:
    """The run of each job that is in the queue, in the order in which they went in."""

    def read() -> list[str]:
        rows = admin.execute(
            f"select message ->> 'run_id' from pgmq.q_{queue_name} order by msg_id"
        )
        return [run for (run,) in rows]

    return read
