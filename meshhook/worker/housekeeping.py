"""The housekeeper: deletes history that is older than the retention of its queue."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook._calls import queues
from meshhook.exceptions import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook._http.transport import Transport
    from meshhook.worker.queues import WorkedQueue
    from meshhook.worker.reporter import Reporter

INTERVAL_SECONDS = 3600.0
"""How often a worker deletes old history."""

FIRST_SECONDS = 300.0
"""The first time comes at most this long after the start."""

MAX_ROWS = 5000
"""How many rows one call deletes, at most, so that none takes long."""


@attrs.define(eq=False)
class Housekeeper:
    """Prunes the queues that have a retention, a few rows at a time.

    Several workers may do this at once: each skips the rows that another is deleting.

    Args:
        transport: Sends each call once.
        queues: The queues; each claim updates their retention.
        reporter: Counts, logs and emits events.
    """

    _transport: Transport
    _queues: Sequence[WorkedQueue]
    _reporter: Reporter

    async def run(self) -> None:
        """Prune until cancelled. What fails is left for the next time."""
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
