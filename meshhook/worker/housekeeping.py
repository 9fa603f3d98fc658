"""Deleting history that is older than its queue wants to keep it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio

from meshhook._calls import queues
from meshhook.exceptions import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.transport import Transport
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.reporter import Reporter

INTERVAL_SECONDS = 3600.0
"""How often a worker looks for history that is too old."""

FIRST_SECONDS = 300.0
"""How long after its start it looks for the first time, at the most."""

MAX_ROWS = 5000
"""How many rows one call deletes at the most, so that none takes long."""


class Housekeeper:
    """Prunes the queues that have a retention, now and then and a little at a time.

    Workers do this beside each other: each skips the rows that another deletes just then.

    Args:
        transport: What sends each call once.
        queues: The queues, which learn their retention with each claim.
        reporter: Who is told.
    """

    def __init__(
        self, transport: Transport, queues: Sequence[WorkedQueue], reporter: Reporter
    ) -> None:
        self._transport = transport
        self._queues = queues
        self._reporter = reporter

    async def run(self) -> None:
        """Prune, for ever. What fails is left for the next time: history is no promise."""
        await anyio.sleep(FIRST_SECONDS * random.random())  # noqa: S311 - not all at once
        while True:
            for queue in self._queues:
                if queue.retention_days is not None:
                    await self._prune(queue.name)
            await anyio.sleep(INTERVAL_SECONDS)

    async def _prune(self, queue_name: str) -> None:
        try:
            while (await self._transport.call(queues.prune(queue_name, max_rows=MAX_ROWS))).more:
                await anyio.lowlevel.checkpoint()
        except RequestError as error:
            self._reporter.pruning_failed(queue_name, error)
