"""Administering a queue: its settings, pausing, emptying and dropping it, and its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import inspect, jobs, queues, settle

if TYPE_CHECKING:
    from typing import Unpack
    from uuid import UUID

    from meshhook._http.transport import AsyncTransport
    from meshhook.models import (
        JobRecord,
        PruneResult,
        QueueInfo,
        QueueMetrics,
        QueueSettings,
        WorkerInfo,
    )

__all__ = ["QueueAdmin"]


class QueueAdmin:
    """The part of `QueueService` that an operator uses, and no worker needs.

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

        Jobs can still be enqueued, and running jobs are settled as usual.

        Returns:
            Whether it was not paused before.

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

        Workers do this on their own for a queue that has ``retention_days``.

        Args:
            older_than_days: How old, in days; None for the queue's ``retention_days``. If it has
                none, nothing is deleted.
            max_rows: How many rows to delete at most, from 1 to 100,000.

        Returns:
            How many rows of each kind were deleted, and whether more may be left.

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
            What each reported with its last heartbeat.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(inspect.workers(self.queue_name))

    async def delete_job(self, msg_id: int) -> bool:
        """Delete a job, even one that a worker has claimed, without counting it as processed.

        Args:
            msg_id: Its id.

        Returns:
            Whether there was one.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(settle.delete(self.queue_name, msg_id))

    async def cancel_job(self, msg_id: int) -> bool:
        """Cancel a job, waiting or running.

        The worker that runs it notices when it next extends the lease, within a third of the
        visibility timeout, and cancels its handler. What the handler has done by then stays done.

        Args:
            msg_id: Its id.

        Returns:
            Whether it was still in the queue.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(settle.cancel(self.queue_name, msg_id))

    async def get_job(self, msg_id: int) -> JobRecord | None:
        """Look up one job: waiting, running or finished, with each of its failed attempts.

        Args:
            msg_id: Its id.

        Returns:
            What is known of it, or None if nothing is.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(jobs.job(self.queue_name, msg_id))

    async def find_jobs(self, run_id: str | UUID, limit: int = 100) -> list[JobRecord]:
        """Look up the jobs of a run, oldest first.

        Finished jobs are found by an index. Waiting jobs are found by a scan of the queue, which is
        slow in a queue of millions.

        Args:
            run_id: The run.
            limit: How many to return at most, from 1 to 1,000.

        Returns:
            What is known of each.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(jobs.jobs_of_run(self.queue_name, run_id, limit))

    async def list_jobs(
        self, state: str | None = None, limit: int = 100, before_msg_id: int | None = None
    ) -> list[JobRecord]:
        """List jobs, newest first.

        Args:
            state: ``available``, ``scheduled``, ``leased``, ``completed``, ``archived``,
                ``dead_lettered``, ``failed``, ``cancelled``, ``deleted`` or ``replayed``; None for
                all that are in the queue.
            limit: How many to return at most, from 1 to 1,000.
            before_msg_id: Where the page begins: the id of the last job of the previous page.

        Returns:
            What is known of each.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            jobs.jobs_in_state(self.queue_name, state, limit, before_msg_id)
        )

    async def get_queue_metrics(self) -> QueueMetrics:
        """Measure the queue.

        Returns:
            How many jobs it holds, visible and not, and how old the oldest and the newest are.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(jobs.queue_metrics(self.queue_name))
