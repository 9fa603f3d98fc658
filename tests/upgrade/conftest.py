"""What the tests of upgrades share with those of the SQL: a server to make databases on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sql.conftest import server
from tests.sql.databases import Database, Server

__all__ = ["server"]


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A database with PGMQ and without MeshHook."""
    database = server.create()
    yield database
    server.drop(database)
