"""The services for a sync Supabase client.

They do what `QueueService` and `DLQService` do, without await, and have their docstrings from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook import _telemetry
from meshhook._calls import claim, dead_letters, enqueue, inspect, jobs, queues, settle
from meshhook._defaults import (
    BUFFER_GRACE_SECONDS,
    BUFFER_JOBS,
    BUFFER_SECONDS,
    DEFAULT_DLQ,
    DEFAULT_QUEUE,
    IDEMPOTENCY_SECONDS,
    MAX_BYTES_PER_CALL,
)
from meshhook._enqueue.batch import Batch
from meshhook._http.clients import sync_client
from meshhook._http.transport import SyncTransport
from meshhook._inputs import check
from meshhook._parity import documented_by
from meshhook.dlq_service import DLQService
from meshhook.queue_admin import QueueAdmin
from meshhook.queue_service import QueueService

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import Any, Unpack
    from uuid import UUID

    from supabase import Client

    from meshhook._http.repeat import RepeatPolicy
    from meshhook.enqueue_buffer import SyncEnqueueBuffer
    from meshhook.models import (
        DeadLetterJob,
        DLQMetrics,
        EnqueueBatch,
        EnqueueResult,
        ErrorCounts,
        Job,
        JobData,
        JobRecord,
        PruneResult,
        QueueInfo,
        QueueMetrics,
        QueueSettings,
        ReplayResult,
        ReplaySummary,
        WorkerInfo,
    )

__all__ = ["SyncDLQService", "SyncQueueService", "list_queues_sync"]


@documented_by(QueueAdmin)
class SyncQueueAdmin:
    """The part of `SyncQueueService` that an operator uses, and no worker needs.

    Args:
        queue_name: The queue.
        transport: What sends the calls.
    """

    def __init__(self, queue_name: str, transport: SyncTransport) -> None:
        self.queue_name = queue_name
        self._transport = transport

    def create_queue(self, **settings: Unpack[QueueSettings]) -> QueueInfo:
        return self._transport.call(queues.create(self.queue_name, settings))

    def configure_queue(self, **settings: Unpack[QueueSettings]) -> QueueInfo:
        return self._transport.call(queues.configure(self.queue_name, settings))

    def pause_queue(self) -> bool:
        return self._transport.call(queues.pause(self.queue_name))

    def resume_queue(self) -> bool:
        return self._transport.call(queues.resume(self.queue_name))

    def purge_queue(self) -> int:
        return self._transport.call(queues.purge(self.queue_name))

    def prune_history(
        self, older_than_days: float | None = None, max_rows: int = 10_000
    ) -> PruneResult:
        return self._transport.call(queues.prune(self.queue_name, older_than_days, max_rows))

    def drop_queue(self, *, drop_dlq: bool = False) -> bool:
        return self._transport.call(queues.drop(self.queue_name, drop_dlq=drop_dlq))

    def list_workers(self) -> list[WorkerInfo]:
        return self._transport.call(inspect.workers(self.queue_name))

    def delete_job(self, msg_id: int) -> bool:
        return self._transport.call(settle.delete(self.queue_name, msg_id))

    def cancel_job(self, msg_id: int) -> bool:
        return self._transport.call(settle.cancel(self.queue_name, msg_id))

    def get_job(self, msg_id: int) -> JobRecord | None:
        return self._transport.call(jobs.job(self.queue_name, msg_id))

    def find_jobs(self, run_id: str | UUID, limit: int = 100) -> list[JobRecord]:
        return self._transport.call(jobs.jobs_of_run(self.queue_name, run_id, limit))

    def list_jobs(
        self, state: str | None = None, limit: int = 100, before_msg_id: int | None = None
    ) -> list[JobRecord]:
        return self._transport.call(
            jobs.jobs_in_state(self.queue_name, state, limit, before_msg_id)
        )

    def get_queue_metrics(self) -> QueueMetrics:
        return self._transport.call(jobs.queue_metrics(self.queue_name))


@documented_by(QueueService)
class SyncQueueService(SyncQueueAdmin):
    """A queue, through a sync Supabase client: `QueueService` without await.

    Args:
        client: A sync client with the project's secret (service role) key.
        queue_name: The queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not a sync one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self,
        client: Client,
        queue_name: str = DEFAULT_QUEUE,
        *,
        repeat_policy: RepeatPolicy | None = None,
    ) -> None:
        super().__init__(
            check.queue_name("queue_name", queue_name),
            SyncTransport(sync_client(client, "SyncQueueService"), repeat_policy),
        )

    def enqueue(
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
        idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    ) -> EnqueueResult:
        with _telemetry.sending(self.queue_name) as sent:
            result = self._transport.call(
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

    def enqueue_many(
        self,
        jobs: Iterable[JobData | Mapping[str, Any]],
        delay_seconds: float | timedelta | Sequence[float | timedelta] = 0,
        *,
        run_at: datetime | Sequence[datetime | None] | None = None,
        idempotency_key: str | None = None,
        idempotency_keys: Iterable[str | None] | None = None,
        idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    ) -> EnqueueBatch:
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
            pass
        while not batch.done:
            with batch.interruption(), _telemetry.sending(self.queue_name) as sent:
                chunk = self._transport.call(batch.next_call(sent.trace))
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
    ) -> SyncEnqueueBuffer:
        from meshhook import enqueue_buffer  # noqa: PLC0415 - optional: a cold start does without it

        return enqueue_buffer.SyncEnqueueBuffer(
            self.queue_name,
            self._transport,
            enqueue_buffer.Limits(
                max_jobs=max_jobs,
                max_bytes=max_bytes,
                max_delay_seconds=max_delay_seconds,
                grace_seconds=grace_seconds,
            ),
        )

    def dequeue(self, vt_seconds: float | timedelta = 30) -> Job | None:
        return self._transport.call(claim.one(self.queue_name, vt_seconds))

    def dequeue_many(self, quantity: int, vt_seconds: float | timedelta = 30) -> list[Job]:
        return self._transport.call(claim.many(self.queue_name, quantity, vt_seconds))

    def acknowledge(self, job_or_msg_id: Job | int) -> bool:
        return self.acknowledge_many([job_or_msg_id])[0]

    def acknowledge_many(self, jobs: Iterable[Job | int]) -> list[bool]:
        return self._transport.call(
            settle.acknowledge(self.queue_name, check.several("jobs", jobs))
        )

    def archive_job(self, job_or_msg_id: Job | int) -> bool:
        return self._transport.call(settle.archive(self.queue_name, job_or_msg_id))

    def retry(
        self,
        job_or_msg_id: Job | int,
        delay_seconds: float | timedelta = 0,
        error_message: str | None = None,
        error_stack: str | None = None,
        *,
        run_at: datetime | None = None,
    ) -> bool:
        return self._transport.call(
            settle.retry(
                self.queue_name,
                job_or_msg_id,
                delay_seconds,
                error_message,
                error_stack,
                run_at=run_at,
            )
        )

    def release(
        self,
        job_or_msg_id: Job | int,
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
    ) -> bool:
        return self._transport.call(
            settle.release(self.queue_name, job_or_msg_id, delay_seconds, run_at=run_at)
        )

    def extend(self, job_or_msg_id: Job | int, vt_seconds: float | timedelta = 30) -> bool:
        extended = self._transport.call(settle.extend(self.queue_name, [job_or_msg_id], vt_seconds))
        return extended[0]

    @staticmethod
    def list_queues(client: Client) -> list[QueueInfo]:
        return SyncTransport(sync_client(client, "SyncQueueService")).call(queues.list_all())


@documented_by(DLQService)
class SyncDLQService:
    """A dead letter queue, through a sync Supabase client: `DLQService` without await.

    Args:
        client: A sync client with the project's secret (service role) key.
        dlq_name: The dead letter queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not a sync one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self,
        client: Client,
        dlq_name: str = DEFAULT_DLQ,
        *,
        repeat_policy: RepeatPolicy | None = None,
    ) -> None:
        self.dlq_name = check.queue_name("dlq_name", dlq_name)
        self._transport = SyncTransport(sync_client(client, "SyncDLQService"), repeat_policy)

    def list_dead_letter_jobs(
        self, limit: int = 100, *, after_msg_id: int = 0
    ) -> list[DeadLetterJob]:
        return self._transport.call(dead_letters.list_page(self.dlq_name, limit, after_msg_id))

    def iterate_dead_letter_jobs(self, page_size: int = 100) -> Iterator[DeadLetterJob]:
        after = 0
        while page := self.list_dead_letter_jobs(page_size, after_msg_id=after):
            yield from page
            after = page[-1].msg_id

    def get_dead_letter_job(self, msg_id: int) -> DeadLetterJob | None:
        return self._transport.call(dead_letters.get(self.dlq_name, msg_id))

    def replay_dead_letter_job(self, msg_id: int, target_queue: str | None = None) -> ReplayResult:
        return self._transport.call(dead_letters.replay_one(self.dlq_name, msg_id, target_queue))

    def replay_multiple_jobs(
        self, msg_ids: Iterable[int], target_queue: str | None = None
    ) -> ReplaySummary:
        return self._transport.call(dead_letters.replay(self.dlq_name, msg_ids, target_queue))

    def delete_dead_letter_job(self, msg_id: int) -> bool:
        return self._transport.call(settle.delete(self.dlq_name, msg_id))

    def get_dlq_metrics(self) -> DLQMetrics:
        return self._transport.call(dead_letters.metrics(self.dlq_name))

    def count_by_error_type(self, limit: int = 100) -> ErrorCounts:
        return self._transport.call(dead_letters.count_by_error(self.dlq_name, limit))

    def get_jobs_by_error_type(self, limit: int = 1000) -> dict[str, list[DeadLetterJob]]:
        return self._transport.call(dead_letters.by_error(self.dlq_name, limit))

    def purge_dlq(self) -> int:
        return self._transport.call(queues.purge(self.dlq_name))

    def move_to_dead_letter(
        self, job: Job, error_message: str, error_stack: str | None = None
    ) -> bool:
        return self._transport.call(
            settle.dead_letter(
                settle.queue_of(job), job, error_message, error_stack, dlq_name=self.dlq_name
            )
        )


list_queues_sync = SyncQueueService.list_queues
