"""Running a queue: creating and configuring it, pausing, emptying and dropping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import inspect, queues

if TYPE_CHECKING:
    from typing import Unpack

    from meshhook._http.transport import AsyncTransport
    from meshhook.models import PruneResult, QueueInfo, QueueSettings, WorkerInfo

__all__ = ["QueueControl"]


class QueueControl:
    """The part of `QueueService` that is about the queue as a whole.

    Args:
        queue_name: The queue.
        transport: What sends the calls.
    """

    def __init__(self, queue_name: str, transport: AsyncTransport) -> None:
        self.queue_name = queue_name
        self._transport = transport

    async def create_queue(self, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Create the queue and its dead letter queue, or change the settings of one that exists.

        Args:
            **settings: See `QueueSettings`.

        Returns:
            The settings as they are now.

        Raises:
            RequestError: The call failed.
            TypeError: There is no such setting.
        """
        return await self._transport.call(queues.create(self.queue_name, settings))

    async def configure_queue(self, **settings: Unpack[QueueSettings]) -> QueueInfo:
        """Change settings of the queue; workers follow with their next claim.

        Args:
            **settings: See `QueueSettings`; what is left out stays as it is.

        Returns:
            The settings as they are now.

        Raises:
            RequestError: The call failed; with QueueNotFoundError if there is no such queue.
            TypeError: There is no such setting.
        """
        return await self._transport.call(queues.configure(self.queue_name, settings))

    async def pause_queue(self) -> bool:
        """Hand out no jobs until the queue is resumed, to any worker or caller.

        Jobs may still be enqueued, and those that run are settled as ever.

        Returns:
            Whether it was running.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.pause(self.queue_name))

    async def resume_queue(self) -> bool:
        """Hand out the jobs of a paused queue again.

        Returns:
            Whether it was paused.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.resume(self.queue_name))

    async def purge_queue(self) -> int:
        """Delete every job of the queue, running ones too.

        Returns:
            How many there were.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.purge(self.queue_name))

    async def prune_history(
        self, older_than_days: float | None = None, max_rows: int = 10_000
    ) -> PruneResult:
        """Delete old history and old archived messages; jobs and dead letters stay.

        Workers do this by themselves for a queue that has ``retention_days``.

        Args:
            older_than_days: How old, in days; None for the queue's ``retention_days``, and nothing
                is deleted if it has none.
            max_rows: How many rows at the most, from 1 to 100,000.

        Returns:
            How many rows of each kind were deleted, and whether there may be more.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.prune(self.queue_name, older_than_days, max_rows))

    async def drop_queue(self, *, drop_dlq: bool = False) -> bool:
        """Drop the queue with all its jobs and its archive.

        Args:
            drop_dlq: Whether to drop its dead letter queue too, unless another queue uses it.

        Returns:
            Whether there was one.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.drop(self.queue_name, drop_dlq=drop_dlq))

    async def list_workers(self) -> list[WorkerInfo]:
        """List the workers of the queue that were seen within a day.

        Returns:
            What each told of itself when it was seen last.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(inspect.workers(self.queue_name))
