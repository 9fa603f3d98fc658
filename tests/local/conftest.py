"""A stack for all tests of the embedded stack, and the clients that ask it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import httpx
import psycopg
import pytest

from meshhook.local import LocalStack
from meshhook_local.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).with_name("postgrest")

HAPPENS_HERE = {"as_root": os.geteuid() == 0, "on_linux": sys.platform == "linux"}
"""What some tests are about, and whether it can happen on this machine."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of what cannot happen here: there is nothing that they could show."""
    here: list[pytest.Item] = []
    elsewhere: list[pytest.Item] = []
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        happens = all(HAPPENS_HERE.get(name, True) for name in marks)
        (here if happens else elsewhere).append(item)
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = here


@pytest.fixture(scope="session")
def reachable_folder() -> Iterator[Path]:
    """A folder that Postgres can pass through also when it runs as another account.

    pytest's own folders are closed to all accounts but ours.
    """
    folder = Path(tempfile.mkdtemp(prefix="stack-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own that Postgres can pass through."""
    path = Path(tempfile.mkdtemp(prefix="stack-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def stack(reachable_folder: Path) -> Iterator[LocalStack]:
    """A running stack with the database that PostgREST's answers were recorded against."""
    migrations = reachable_folder / "migrations"
    migrations.mkdir()
    shutil.copy(RECORDINGS / "setup.sql", migrations / "1_recorded.sql")
    shutil.copy(RECORDINGS.with_name("functions.sql"), migrations / "3_more.sql")
    grant = "grant usage on schema pgmq to service_role;"
    (migrations / "2_grant.sql").write_text(grant)
    with LocalStack(migrations=migrations, apply_meshhook=False) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: LocalStack) -> Iterator[httpx.Client]:
    """A client of the Data API that brings the key of `anon` and no token."""
    headers = {"apikey": stack.anon_key}
    with httpx.Client(base_url=stack.rest_url, headers=headers) as connected:
        yield connected


@pytest.fixture(scope="session")
def service(stack: LocalStack) -> Iterator[httpx.Client]:
    """A client of the Data API that acts as `service_role`."""
    headers = {"apikey": stack.secret_key}
    with httpx.Client(base_url=stack.rest_url, headers=headers) as connected:
        yield connected


@pytest.fixture
def database(stack: LocalStack) -> Iterator[psycopg.Connection]:
    """A connection to the stack's database as `postgres`, in autocommit mode."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def narrow_gateway(stack: LocalStack) -> Iterator[str]:
    """The URL of a second gateway of the stack that gives five rows and has two connections."""
    process = GatewayProcess(stack._postgres.run_folder / "narrow.log")
    process.launch()
    settings = stack._gateway_settings()
    process.serve(attrs.evolve(settings, max_rows=5, pool_size=2, pool_timeout_seconds=0.2))
    yield f"http://127.0.0.1:{process.port}/rest/v1"
    process.stop()
