"""Enqueueing jobs, and claiming and settling them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from meshhook import _telemetry
from meshhook._calls import claim, enqueue, queues, settle
from meshhook._defaults import (
    BUFFER_GRACE_SECONDS,
    BUFFER_JOBS,
    BUFFER_SECONDS,
    DEFAULT_QUEUE,
    IDEMPOTENCY_SECONDS,
    MAX_BYTES_PER_CALL,
)
from meshhook._enqueue.batch import Batch
from meshhook._http.clients import async_client
from meshhook._http.transport import AsyncTransport
from meshhook._inputs import check
from meshhook.queue_admin import QueueAdmin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import Any

    from supabase import AsyncClient

    from meshhook._http.repeat import RepeatPolicy
    from meshhook.enqueue_buffer import EnqueueBuffer
    from meshhook.models import (
        EnqueueBatch,
        EnqueueResult,
        Job,
        JobData,
        QueueInfo,
    )

__all__ = ["QueueService", "list_queues"]


class QueueService(QueueAdmin):
    """A queue, through an async Supabase client.

    Every method is one RPC, and one RPC is one transaction. Every call can be repeated safely, so
    during an outage it is, for a few seconds. Every method may raise a `RequestError`; one that
    takes input may raise an `InvalidInputError` before anything is sent.

    Args:
        client: An async client with the project's secret (service role) key.
        queue_name: The queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not an async one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self,
        client: AsyncClient,
        queue_name: str = DEFAULT_QUEUE,
        *,
        repeat_policy: RepeatPolicy | None = None,
    ) -> None:
        super().__init__(
            check.queue_name("queue_name", queue_name),
            AsyncTransport(async_client(client, "QueueService"), repeat_policy),
        )

    async def enqueue(
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
        idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    ) -> EnqueueResult:
        """Enqueue a job.

        Args:
            job_data: ``run_id``, ``workflow_id`` and ``project_id`` (UUIDs); if wanted ``attempt``
                (1), ``max_attempts`` (the worker's, or 5) and ``metadata`` (a dict).
            delay_seconds: How long the job stays hidden, in seconds or as a timedelta.
            run_at: The time from which it may run, instead of a delay: a datetime with a time zone,
                at most 366 days ahead. A time in the past means at once.
            idempotency_key: A name for this enqueue. A second enqueue with this name in this queue
                enqueues nothing and returns the id of the first.
            idempotency_seconds: How long the name is remembered, in seconds or as a timedelta; a
                day by default.

        Returns:
            The job's id, and whether the key had been used before.

        Raises:
            InvalidInputError: With everything that is wrong with the input; nothing was sent.
            RequestError: The call failed.
        """
        with _telemetry.sending(self.queue_name) as sent:
            result = await self._transport.call(
                enqueue.one(
                    self.queue_name,
                    job_data,
                    delay_seconds,
                    run_at=run_at,
                    idempotency_key=idempotency_key,
                    idempotency_seconds=idempotency_seconds,
                    trace=sent.trace,
                )
            )
            sent.msg_ids = (result.msg_id,)
        return result

    async def enqueue_many(
        self,
        jobs: Iterable[JobData | Mapping[str, Any]],
        delay_seconds: float | timedelta | Sequence[float | timedelta] = 0,
        *,
        run_at: datetime | Sequence[datetime | None] | None = None,
        idempotency_key: str | None = None,
        idempotency_keys: Iterable[str | None] | None = None,
        idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    ) -> EnqueueBatch:
        """Enqueue any number of jobs, in as few calls as they fit in.

        All jobs are checked before any is sent. A call is one transaction of up to 10,000 jobs and
        about 4 MB of JSON: it enqueues all of them or none. The calls are made one after the other,
        so the order is kept. Use `buffered` for more jobs than fit in memory.

        Args:
            jobs: The data of each job, as for `enqueue`.
            delay_seconds: How long they stay hidden, in seconds or as a timedelta: one for all or a
                list with one for each.
            run_at: The time from which they may run, instead of a delay; see `enqueue`. One for all
                or a list with one for each, None for a job with a delay.
            idempotency_key: A name for this enqueue; see `enqueue`. A second call with the same
                jobs and this name enqueues those that are missing, and none twice.
            idempotency_keys: A name for each job as in `enqueue`, or None. A job whose name has
                been used before, by any call or earlier in this list, is not enqueued again.
            idempotency_seconds: How long the names are remembered, in seconds or as a timedelta; a
                day by default.

        Returns:
            The jobs' ids in the order in which the jobs were given, and whether all of them (or
            with *idempotency_keys* which of them) had been enqueued before.

        Raises:
            InvalidInputError: With everything that is wrong with any of the jobs.
            PartialEnqueueError: One of several calls failed. It says what is in, and how to go on.
            RequestError: The only call failed.
        """
        batch = Batch(
            self.queue_name,
            jobs,
            delay_seconds,
            run_at=run_at,
            idempotency_key=idempotency_key,
            idempotency_keys=idempotency_keys,
            idempotency_seconds=idempotency_seconds,
        )
        for _ in batch.check():
            await anyio.sleep(0)  # noqa: ASYNC115 - anyio.lowlevel takes a millisecond to import
        while not batch.done:
            with batch.interruption(), _telemetry.sending(self.queue_name) as sent:
                chunk = await self._transport.call(batch.next_call(sent.trace))
                sent.msg_ids = chunk.msg_ids
            batch.add(chunk)
        return batch.result

    def buffered(
        self,
        *,
        max_jobs: int = BUFFER_JOBS,
        max_bytes: int = MAX_BYTES_PER_CALL,
        max_delay_seconds: float | timedelta = BUFFER_SECONDS,
        grace_seconds: float | timedelta = BUFFER_GRACE_SECONDS,
    ) -> EnqueueBuffer:
        """Return a buffer that takes jobs one by one and enqueues them together.

        For hot paths, and for streams that are larger than memory::

            async with queue_service.buffered() as out:
                async for event in events:
                    await out.enqueue(job_data_of(event))

        It is sent when it is full or its oldest job has waited long enough. When the block has
        ended, every accepted job is in the queue; see `EnqueueBuffer`. It holds at most two chunks:
        one that is being sent and one that fills.

        Args:
            max_jobs: How many jobs make it full (1,000).
            max_bytes: How many bytes of JSON make it full (4 MiB). A larger job goes alone.
            max_delay_seconds: How long a job waits at most before it is sent, in seconds or as a
                timedelta (0.1 seconds).
            grace_seconds: How long the last jobs may take when the block is cancelled, in seconds
                or as a timedelta (10 seconds).

        Returns:
            The buffer, which is open inside an ``async with`` or ``with`` block.

        Raises:
            InvalidInputError: With everything that is wrong with the limits.
            RequestError: Jobs were not enqueued. It is a `PartialEnqueueError`, which has them; the
                next call of the buffer raises it, or the end of the block.
        """
        from meshhook import enqueue_buffer  # noqa: PLC0415 - optional: a cold start does without it

        return enqueue_buffer.EnqueueBuffer(
            self.queue_name,
            self._transport,
            enqueue_buffer.Limits(
                max_jobs=max_jobs,
                max_bytes=max_bytes,
                max_delay_seconds=max_delay_seconds,
                grace_seconds=grace_seconds,
            ),
        )

    async def dequeue(self, vt_seconds: float | timedelta = 30) -> Job | None:
        """Claim the job that has been due longest.

        A job that is past its last attempt is not handed out: it goes to the dead letter queue.

        Args:
            vt_seconds: The visibility timeout: how long no other worker gets the job, in seconds or
                as a timedelta.

        Returns:
            The job, or None if none is due.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(claim.one(self.queue_name, vt_seconds))

    async def dequeue_many(self, quantity: int, vt_seconds: float | timedelta = 30) -> list[Job]:
        """Claim the jobs that have been due longest; see `dequeue`.

        Args:
            quantity: How many to claim at most, from 1 to 1,000.
            vt_seconds: The visibility timeout, in seconds or as a timedelta.

        Returns:
            The jobs, the one that has been due longest first; an empty list if none is due.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(claim.many(self.queue_name, quantity, vt_seconds))

    async def acknowledge(self, job_or_msg_id: Job | int) -> bool:
        """Delete a processed job.

        Args:
            job_or_msg_id: The claimed job, whose lease must not be lost; or a bare id, which
                deletes the job without looking at its lease.

        Returns:
            Whether it was deleted: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return (await self.acknowledge_many([job_or_msg_id]))[0]

    async def acknowledge_many(self, jobs: Iterable[Job | int]) -> list[bool]:
        """Delete processed jobs in one transaction; see `acknowledge`.

        Args:
            jobs: The claimed jobs, or bare ids.

        Returns:
            For each, in order, whether it was deleted.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            settle.acknowledge(self.queue_name, check.several("jobs", jobs))
        )

    async def archive_job(self, job_or_msg_id: Job | int) -> bool:
        """Move a processed job to the queue's archive in PGMQ, which keeps its message.

        Args:
            job_or_msg_id: The claimed job, or a bare id; see `acknowledge`.

        Returns:
            Whether it was moved: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(settle.archive(self.queue_name, job_or_msg_id))

    async def retry(
        self,
        job_or_msg_id: Job | int,
        delay_seconds: float | timedelta = 0,
        error_message: str | None = None,
        error_stack: str | None = None,
        *,
        run_at: datetime | None = None,
    ) -> bool:
        """Settle a job as failed: it runs again, under the same id, with the next attempt.

        After its last attempt it goes to the dead letter queue instead.

        Args:
            job_or_msg_id: The claimed job, or a bare id; see `acknowledge`.
            delay_seconds: The backoff: how long it stays hidden, in seconds or as a timedelta.
            error_message: What went wrong; the message keeps it as ``last_error``.
            error_stack: Where it was raised; the history keeps it.
            run_at: The time from which it may run again, instead of a delay; see `enqueue`.

        Returns:
            Whether it was settled: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            settle.retry(
                self.queue_name,
                job_or_msg_id,
                delay_seconds,
                error_message,
                error_stack,
                run_at=run_at,
            )
        )

    async def release(
        self,
        job_or_msg_id: Job | int,
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
    ) -> bool:
        """Hand a job back with its attempt unused: a release, or with a delay a snooze.

        Args:
            job_or_msg_id: The claimed job, or a bare id; see `acknowledge`.
            delay_seconds: How long it stays hidden, in seconds or as a timedelta.
            run_at: The time from which it may run, instead of a delay; see `enqueue`.

        Returns:
            Whether it was handed back: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return await self._transport.call(
            settle.release(self.queue_name, job_or_msg_id, delay_seconds, run_at=run_at)
        )

    async def extend(self, job_or_msg_id: Job | int, vt_seconds: float | timedelta = 30) -> bool:
        """Extend the lease of a claimed job.

        Args:
            job_or_msg_id: The claimed job, or a bare id; see `acknowledge`.
            vt_seconds: How long no other worker gets it from now on, in seconds or as a timedelta.

        Returns:
            Whether it was extended: False if the lease is lost or the job is gone.

        Raises:
            RequestError: The call failed.
        """
        return (
            await self._transport.call(settle.extend(self.queue_name, [job_or_msg_id], vt_seconds))
        )[0]

    @staticmethod
    async def list_queues(client: AsyncClient) -> list[QueueInfo]:
        """List every queue of the project.

        Args:
            client: A client, as for the class.

        Returns:
            The queues by name, with dead letter queues and queues that MeshHook has not used.

        Raises:
            RequestError: The call failed.
        """
        return await AsyncTransport(async_client(client, "QueueService")).call(queues.list_all())


list_queues = QueueService.list_queues
