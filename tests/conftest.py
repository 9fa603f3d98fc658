"""Fixtures that every layer of the tests shares."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, cast

import psycopg
import pytest

from meshhook import DLQService, QueueService
from meshhook._environment import FILE_VARIABLE
from meshhook.local import LocalStack
from tests import running_stack
from tests.clock import Clock
from tests.faults import FaultInjector
from tests.sql import pgmq_versions
from tests.tiers import Tier, add_option

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from supabase import AsyncClient

# No test reads a `.env` that happens to be in the working directory; sub-processes inherit this.
os.environ[FILE_VARIABLE] = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run ask for everything."""
    add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the tier, and use the running stack that the environment names, if it names one."""
    config.pluginmanager.register(Tier(config), "tier")
    running_stack.register(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the run left out, and how to run it."""
    for line in pgmq_versions.left_out():
        terminalreporter.write_line(line)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every async test on both event loops."""
    return str(request.param)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A real Postgres with the real PGMQ and MeshHook's migrations, behind the gateway.

    Or the running stack that the environment names: it has what the tests that are kept use.
    """
    if running_stack.STACK is not None:
        yield cast("LocalStack", running_stack.STACK)
        return
    with LocalStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def admin(stack: LocalStack) -> Iterator[psycopg.Connection]:
    """A connection that may do anything, for what no client could do: looking and moving time."""
    with psycopg.connect(stack.admin_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def queue_name(admin: psycopg.Connection) -> Iterator[str]:
    """A queue of the test's own, with its dead letter queue."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    admin.execute("select public.meshhook_create_queue(%s)", [name])
    yield name
    admin.execute("select public.meshhook_drop_queue(%s, drop_dlq => true)", [name])


@pytest.fixture
def clock(admin: psycopg.Connection, queue_name: str) -> Clock:
    """The time of the test's queue, which can be moved on."""
    return Clock(admin, queue_name)


@pytest.fixture
async def faults() -> AsyncIterator[FaultInjector]:
    """What stands between the client and the gateway, and can break every call."""
    async with FaultInjector() as injector:
        yield injector


@pytest.fixture
async def client(stack: LocalStack, faults: FaultInjector) -> AsyncClient:
    """An async client of the stack."""
    return await faults.client(stack.url, stack.secret_key)


@pytest.fixture
async def queue(client: AsyncClient, queue_name: str) -> QueueService:
    """The service of the test's queue."""
    return QueueService(client, queue_name)


@pytest.fixture
async def dlq(client: AsyncClient, queue_name: str) -> DLQService:
    """The service of the test's dead letter queue."""
    return DLQService(client, f"{queue_name}_dlq")
