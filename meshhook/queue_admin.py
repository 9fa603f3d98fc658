"""Running a queue: creating and configuring it, pausing, emptying and dropping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import inspect, queues

if TYPE_CHECKING:
    from datetime import timedelta

    from meshhook._http.transport import AsyncTransport
    from meshhook.models import PruneResult, QueueInfo, WorkerInfo

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

    async def create_queue(
        self,
        *,
        dlq_name: str | None = None,
        vt_seconds: float | timedelta | None = None,
        max_attempts: int | None = None,
        base_delay_ms: int | None = None,
        max_delay_ms: int | None = None,
        keeps_history: bool | None = None,
        has_dead_letters: bool | None = None,
        retention_days: float | None = None,
    ) -> QueueInfo:
        """Create the queue and its dead letter queue, or change the settings of one that is there.

        Args:
            dlq_name: Its dead letter queue; by default ``<queue_name>_dlq``.
            vt_seconds: The visibility timeout of a claim that names none, in seconds or as a
                timedelta (30 seconds).
            max_attempts: The last attempt where neither sender nor worker sets one (5).
            base_delay_ms: The delay after a first failure, in milliseconds (1,000).
            max_delay_ms: What a delay never exceeds, in milliseconds (300,000).
            keeps_history: Whether finished jobs and failed attempts are kept (True).
            has_dead_letters: Whether jobs past their last attempt go to the dead letter queue
                (True); if not, they go to the archive, and `get_job` says ``failed``.
            retention_days: How long workers let history and archive grow, in days (for ever).

        Returns:
            The settings as they are now; what was left out stays as it was.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            queues.create(
                self.queue_name,
                dlq_name=dlq_name,
                vt_seconds=vt_seconds,
                max_attempts=max_attempts,
                base_delay_ms=base_delay_ms,
                max_delay_ms=max_delay_ms,
                keeps_history=keeps_history,
                has_dead_letters=has_dead_letters,
                retention_days=retention_days,
            )
        )

    async def configure_queue(
        self,
        *,
        dlq_name: str | None = None,
        vt_seconds: float | timedelta | None = None,
        max_attempts: int | None = None,
        base_delay_ms: int | None = None,
        max_delay_ms: int | None = None,
        keeps_history: bool | None = None,
        has_dead_letters: bool | None = None,
        retention_days: float | None = None,
    ) -> QueueInfo:
        """Change the settings of the queue; workers follow with their next claim.

        Args:
            dlq_name: Its dead letter queue.
            vt_seconds: As for `create_queue`, and so are the others.
            max_attempts: The last attempt where neither sender nor worker sets one.
            base_delay_ms: The delay after a first failure, in milliseconds.
            max_delay_ms: What a delay never exceeds, in milliseconds.
            keeps_history: Whether finished jobs and failed attempts are kept.
            has_dead_letters: Whether jobs past their last attempt go to the dead letter queue.
            retention_days: How long workers let history and archive grow, in days.

        Returns:
            The settings as they are now; what was left out stays as it was.

        Raises:
            RequestError: The call failed; with QueueNotFoundError if there is no such queue.
        """
        return await self._transport.call(
            queues.configure(
                self.queue_name,
                dlq_name=dlq_name,
                vt_seconds=vt_seconds,
                max_attempts=max_attempts,
                base_delay_ms=base_delay_ms,
                max_delay_ms=max_delay_ms,
                keeps_history=keeps_history,
                has_dead_letters=has_dead_letters,
                retention_days=retention_days,
            )
        )

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
