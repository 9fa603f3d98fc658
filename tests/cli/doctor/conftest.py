"""A stack that the doctor's tests may break, with one queue that has a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook.local import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = "orders"


@pytest.fixture(scope="package")
def stack() -> Iterator[LocalStack]:
    """A stack of these tests' own: the doctor looks at all of it."""
    with LocalStack() as stack:
        yield stack


@pytest.fixture(scope="package")
def admin(stack: LocalStack) -> Iterator[psycopg.Connection]:
    """A connection of the superuser."""
    with psycopg.connect(stack.admin_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def queue_name(admin: psycopg.Connection) -> Iterator[str]:
    """A queue, with a worker that is alive."""
    admin.execute("select public.meshhook_create_queue(%s)", [QUEUE])
    show_life(admin, QUEUE)
    yield QUEUE
    admin.execute("delete from meshhook.workers where true")
    admin.execute("select public.meshhook_drop_queue(%s, drop_dlq => true)", [QUEUE])


def show_life(admin: psycopg.Connection, queue: str) -> None:
    """Enter a worker of a queue that is alive."""
    admin.execute(
        "insert into meshhook.workers"
        " (worker_id, queue_names, interval_seconds, started_at, seen_at) values"
        " ('w', array[%s], 600, now(), now()) on conflict do nothing",
        [queue],
    )
