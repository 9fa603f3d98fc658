"""One server for the tests of the SQL, a database for each PGMQ, a transaction for each test."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest

from meshhook.local import LocalStack
from tests.running_stack import RUNNING
from tests.sql.client import Api, JobQueue
from tests.sql.databases import VERSIONS, Database, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with Supabase's roles."""
    with LocalStack(apply_meshhook=False) as stack:
        server = Server(stack)
        yield server
        server.close()


ON_EVERY_PGMQ = {
    "test_broken_queues",
    "test_churn",
    "test_dead_letters",
    "test_delete",
    "test_old_pgmq",
    "test_queues",
    "test_replay",
    "test_settle",
}
"""Tests of what differs by PGMQ: the functions that MeshHook calls, the columns of the tables."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on plain PGMQ, or on every version if it is about what differs."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "database" in metafunc.fixturenames and "database" not in chosen:
        module = metafunc.module.__name__.rpartition(".")[2]
        versions = VERSIONS if module in ON_EVERY_PGMQ else VERSIONS[:1]
        metafunc.parametrize("database", versions, indirect=True)


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with PGMQ and MeshHook."""
    if request.param == RUNNING:
        url = request.getfixturevalue("stack").admin_database_url
        database = Database("postgres", RUNNING, url, url)
    else:
        database = request.getfixturevalue("server").create(request.param)
        database.migrate()
    with database.admin() as connection:
        queue = JobQueue(Api(connection), "orders")
        queue.create()
        yield database
        queue.drop(drop_dlq=True)


@pytest.fixture(scope="session")
def session_connection(database: Database) -> Iterator[psycopg.Connection]:
    """The connection of all tests that roll back what they do."""
    with database.admin() as connection:
        yield connection


@pytest.fixture
def api(session_connection: psycopg.Connection) -> Iterator[Api]:
    """MeshHook's functions, in a transaction that is rolled back."""
    with session_connection.transaction(force_rollback=True):
        yield Api(session_connection)


@pytest.fixture
def queue(api: Api) -> JobQueue:
    """An empty queue, whose ids begin at 1."""
    for table in ("q_orders", "q_orders_dlq"):
        # The tests before this one were rolled back, but not their ids.
        api.value("select setval(pg_get_serial_sequence(%s, 'msg_id'), 1, false)", f"pgmq.{table}")
    return JobQueue(api, "orders")


@pytest.fixture
def shared_queue(database: Database) -> Iterator[JobQueue]:
    """An empty queue that other connections see too; each call is a transaction of its own."""
    with database.admin() as connection:
        queue = JobQueue(Api(connection), f"shared_{uuid.uuid4().hex[:8]}")
        queue.create()
        yield queue
        queue.drop(drop_dlq=True)
