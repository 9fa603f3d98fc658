"""The pytest plugin: fixtures for tests that enqueue and work, on a real Postgres with PGMQ.

It is a separate package, since pytest imports it at every start, even if no test uses it. The slow
imports (`meshhook`, `supabase`, the embedded stack) are left to the first fixture that needs them.
The objects of the fixtures are documented in `meshhook.testing`, and all of it in
`docs/testing.md`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg
    from supabase import AsyncClient, Client

    from meshhook import DLQService, QueueService, SyncDLQService, SyncQueueService
    from meshhook.testing import QueueClock, QueueFactory, QueueUnderTest, Stack

MIGRATIONS_OPTION = "meshhook_migrations"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the ini file."""
    parser.addini(
        MIGRATIONS_OPTION,
        "A folder of your own migrations, applied after MeshHook's; relative to the root folder.",
        default="",
    )


def pytest_configure() -> None:
    """Keep `connect` from reading `.env`: a test must not reach the project named there."""
    os.environ.setdefault("MESHHOOK_ENV_FILE", "")


@pytest.fixture(scope="session")
def meshhook_migrations(pytestconfig: pytest.Config) -> Path | None:
    """Your own migrations, applied after MeshHook's: the option meshhook_migrations, or None."""
    folder = str(pytestconfig.getini(MIGRATIONS_OPTION))
    return pytestconfig.rootpath / folder if folder else None


@pytest.fixture(scope="session")
def meshhook_stack(meshhook_migrations: Path | None) -> Iterator[Stack]:
    """A real Postgres with PGMQ and MeshHook behind Supabase's API, one for each pytest process."""
    from meshhook.local import LocalStack  # noqa: PLC0415 - see the module's docstring

    with LocalStack(migrations=meshhook_migrations) as stack:
        yield stack


@pytest.fixture
def meshhook_admin(meshhook_stack: Stack) -> Iterator[psycopg.Connection]:
    """A connection to the database with all rights, for what no client can do."""
    import psycopg  # noqa: PLC0415 - see the module's docstring

    with psycopg.connect(meshhook_stack.admin_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def meshhook_client(meshhook_stack: Stack) -> AsyncClient:
    """An async Supabase client that works in any event loop."""
    from meshhook.testing import open_async_client  # noqa: PLC0415 - see the module's docstring

    return open_async_client(meshhook_stack)


@pytest.fixture
def meshhook_sync_client(meshhook_stack: Stack) -> Iterator[Client]:
    """A sync Supabase client."""
    from meshhook.testing import open_sync_client  # noqa: PLC0415 - see the module's docstring

    with open_sync_client(meshhook_stack) as client:
        yield client


@pytest.fixture
def meshhook_queues(
    meshhook_admin: psycopg.Connection, meshhook_client: AsyncClient, meshhook_sync_client: Client
) -> Iterator[QueueFactory]:
    """Makes the test's queues: call it with a name, or without one for a new queue."""
    from meshhook.testing import QueueFactory  # noqa: PLC0415 - see the module's docstring

    factory = QueueFactory(meshhook_admin, meshhook_client, meshhook_sync_client)
    yield factory
    factory.close()


@pytest.fixture
def meshhook_queue_name() -> str | None:
    """The name of the test's queue, for code that uses a fixed one; None for a new queue."""
    return None


@pytest.fixture
def meshhook_queue(
    meshhook_queues: QueueFactory, meshhook_queue_name: str | None
) -> QueueUnderTest:
    """The test's queue, empty, with its dead letter queue."""
    return meshhook_queues(meshhook_queue_name)


@pytest.fixture
def meshhook_clock(meshhook_admin: psycopg.Connection, meshhook_queues: QueueFactory) -> QueueClock:
    """The time of the test's queues, which the test can advance."""
    from meshhook.testing import QueueClock  # noqa: PLC0415 - see the module's docstring

    return QueueClock(meshhook_admin, lambda: meshhook_queues.names)


@pytest.fixture
def meshhook_queue_service(
    meshhook_client: AsyncClient, meshhook_queue: QueueUnderTest
) -> QueueService:
    """The service of the test's queue."""
    from meshhook import QueueService  # noqa: PLC0415 - see the module's docstring

    return QueueService(meshhook_client, meshhook_queue.name)


@pytest.fixture
def meshhook_dlq_service(
    meshhook_client: AsyncClient, meshhook_queue: QueueUnderTest
) -> DLQService:
    """The service of the test's dead letter queue."""
    from meshhook import DLQService  # noqa: PLC0415 - see the module's docstring

    return DLQService(meshhook_client, meshhook_queue.dlq_name)


@pytest.fixture
def meshhook_sync_queue_service(
    meshhook_sync_client: Client, meshhook_queue: QueueUnderTest
) -> SyncQueueService:
    """The sync service of the test's queue."""
    from meshhook import SyncQueueService  # noqa: PLC0415 - see the module's docstring

    return SyncQueueService(meshhook_sync_client, meshhook_queue.name)


@pytest.fixture
def meshhook_sync_dlq_service(
    meshhook_sync_client: Client, meshhook_queue: QueueUnderTest
) -> SyncDLQService:
    """The sync service of the test's dead letter queue."""
    from meshhook import SyncDLQService  # noqa: PLC0415 - see the module's docstring

    return SyncDLQService(meshhook_sync_client, meshhook_queue.dlq_name)


@pytest.fixture
def meshhook_environment(meshhook_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUPABASE_URL and SUPABASE_KEY of the stack, for code that calls `meshhook.connect()`."""
    monkeypatch.setenv("SUPABASE_URL", meshhook_stack.url)
    monkeypatch.setenv("SUPABASE_KEY", meshhook_stack.secret_key)
