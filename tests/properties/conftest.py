"""What the property tests share with those of the SQL: a server to make databases on."""

from __future__ import annotations

from tests.sql.conftest import server

__all__ = ["server"]
