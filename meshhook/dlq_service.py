"""Dead letters: reading, replaying and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import dead_letters, queues, settle
from meshhook._defaults import DEFAULT_DLQ
from meshhook._http.clients import async_client
from meshhook._http.transport import AsyncTransport
from meshhook._inputs import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from supabase import AsyncClient

    from meshhook._http.repeat import RepeatPolicy
    from meshhook.models import (
        DeadLetterJob,
        DLQMetrics,
        ErrorCounts,
        Job,
        ReplayResult,
        ReplaySummary,
    )

__all__ = ["DLQService"]


class DLQService:
    """A dead letter queue, through an async Supabase client.

    Reading dead letters never changes them. `QueueService` says which errors every method may
    raise.

    Args:
        client: An async client with the project's secret (service role) key.
        dlq_name: The dead letter queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not an async one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self,
        client: AsyncClient,
        dlq_name: str = DEFAULT_DLQ,
        *,
        repeat_policy: RepeatPolicy | None = None,
    ) -> None:
        self.dlq_name = check.queue_name("dlq_name", dlq_name)
        self._transport = AsyncTransport(async_client(client, "DLQService"), repeat_policy)

    async def list_dead_letter_jobs(
        self, limit: int = 100, *, after_msg_id: int = 0
    ) -> list[DeadLetterJob]:
        """List dead letters, oldest first.

        Args:
            limit: How many to return at most, from 1 to 1,000.
            after_msg_id: The last id of the previous page. `iterate_dead_letter_jobs` does the
                paging.

        Returns:
            The dead letters.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            dead_letters.list_page(self.dlq_name, limit, after_msg_id)
        )

    async def iterate_dead_letter_jobs(self, page_size: int = 100) -> AsyncIterator[DeadLetterJob]:
        """Go through all dead letters, oldest first, page by page.

        Args:
            page_size: How many each RPC fetches, from 1 to 1,000.

        Yields:
            Each dead letter.

        Raises:
            RequestError: A call failed.
        """
        after = 0
        while page := await self.list_dead_letter_jobs(page_size, after_msg_id=after):
            for job in page:
                yield job
            after = page[-1].msg_id

    async def get_dead_letter_job(self, msg_id: int) -> DeadLetterJob | None:
        """Fetch one dead letter with each of its failed attempts.

        Args:
            msg_id: Its id in the dead letter queue.

        Returns:
            The dead letter, or None if there is none under that id.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(dead_letters.get(self.dlq_name, msg_id))

    async def replay_dead_letter_job(
        self, msg_id: int, target_queue: str | None = None
    ) -> ReplayResult:
        """Move a dead letter back to its queue as a new job, from its first attempt on.

        Args:
            msg_id: Its id in the dead letter queue.
            target_queue: The queue to move it to; by default the queue that it came from.

        Returns:
            Its new id, and the queue.

        Raises:
            JobNotFoundError: There is no dead letter under that id.
            RequestError: The call failed, or its queue is gone.
        """
        return await self._transport.call(
            dead_letters.replay_one(self.dlq_name, msg_id, target_queue)
        )

    async def replay_multiple_jobs(
        self, msg_ids: Iterable[int], target_queue: str | None = None
    ) -> ReplaySummary:
        """Move dead letters back to their queues, in one transaction.

        A dead letter that is missing, or whose queue is gone, does not stop the others.

        Args:
            msg_ids: Their ids in the dead letter queue; at most 10,000.
            target_queue: The queue to move them to; by default the queue that each came from.

        Returns:
            How many were replayed (``success``), how many were not (``failed``), and why
            (``errors``).

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(dead_letters.replay(self.dlq_name, msg_ids, target_queue))

    async def delete_dead_letter_job(self, msg_id: int) -> bool:
        """Delete a dead letter.

        Args:
            msg_id: Its id in the dead letter queue.

        Returns:
            Whether there was one.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(settle.delete(self.dlq_name, msg_id))

    async def get_dlq_metrics(self) -> DLQMetrics:
        """Measure the dead letter queue.

        Returns:
            How many dead letters there are, and how old the oldest and the newest are.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(dead_letters.metrics(self.dlq_name))

    async def count_by_error_type(self, limit: int = 100) -> ErrorCounts:
        """Count all dead letters by the first line of their errors, in the database.

        Args:
            limit: How many errors to return at most, from 1 to 1,000. All dead letters are always
                counted.

        Returns:
            The errors, the most frequent first, and how many dead letters and errors there are.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(dead_letters.count_by_error(self.dlq_name, limit))

    async def get_jobs_by_error_type(self, limit: int = 1000) -> dict[str, list[DeadLetterJob]]:
        """Group the oldest dead letters by the first line of their errors.

        Only the oldest *limit* dead letters are read, so an error may have more jobs than are
        returned, or be missing. `count_by_error_type` counts all of them, and
        `iterate_dead_letter_jobs` returns all of them.

        Args:
            limit: How many dead letters to read, the oldest first, from 1 to 10,000.

        Returns:
            The dead letters of each error, the most frequent error first.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(dead_letters.by_error(self.dlq_name, limit))

    async def purge_dlq(self) -> int:
        """Delete every dead letter.

        Returns:
            How many there were.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(queues.purge(self.dlq_name))

    async def move_to_dead_letter(
        self, job: Job, error_message: str, error_stack: str | None = None
    ) -> bool:
        """Move a claimed job to this dead letter queue.

        Args:
            job: The job, as it was claimed.
            error_message: Why it is dead-lettered.
            error_stack: The stack of the error.

        Returns:
            Whether it was moved: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            settle.dead_letter(
                settle.queue_of(job), job, error_message, error_stack, dlq_name=self.dlq_name
            )
        )
