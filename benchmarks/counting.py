"""Count the round trips of a client exactly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    import httpx
    from supabase import AsyncClient


class RoundTrips:
    """Notes each request of a client's Data API, by function and time.

    Args:
        client: The client; its requests are noted from now on.

    Attributes:
        calls: The name of each function that was called, in order, with the time of the call on
            the clock of `time.monotonic`.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.calls: list[tuple[str, float]] = []
        self._called = anyio.Event()
        client.postgrest.session.event_hooks["request"].append(self._note)

    def __len__(self) -> int:
        """Count the calls."""
        return len(self.calls)

    async def wait_for(self, count: int) -> None:
        """Wait until this many calls have been made."""
        while len(self.calls) < count:
            self._called = anyio.Event()
            await self._called.wait()

    async def _note(self, request: httpx.Request) -> None:
        self.calls.append((request.url.path.rpartition("/")[2], time.monotonic()))
        self._called.set()
