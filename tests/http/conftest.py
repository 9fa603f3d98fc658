"""Three lanes for every test: the async services on asyncio and on trio, and the sync ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import respx

from tests.http.fake import FakeSupabase

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["asyncio", "trio", "sync"])
def lane(request: pytest.FixtureRequest) -> str:
    """The kind of services and the event loop of a test."""
    return str(request.param)


@pytest.fixture
def anyio_backend(lane: str) -> str:
    """Run each test on its lane's event loop; the sync services need none."""
    return "asyncio" if lane == "sync" else lane


@pytest.fixture
def supabase(lane: str) -> Iterator[FakeSupabase]:
    """What stands in for Supabase; nothing leaves the process."""
    fake = FakeSupabase(lane)
    with respx.mock(assert_all_called=False) as router:
        router.route().mock(side_effect=fake.answer)
        yield fake
