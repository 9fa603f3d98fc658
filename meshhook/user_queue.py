"""Enqueueing as a signed-in user, without the secret key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import user_enqueue
from meshhook._http.clients import async_client, sync_client
from meshhook._http.transport import AsyncTransport, SyncTransport
from meshhook._inputs import check
from meshhook._parity import documented_by

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from typing import Any

    from supabase import AsyncClient, Client

    from meshhook._http.repeat import RepeatPolicy
    from meshhook.models import JobData

__all__ = ["SyncUserQueue", "UserQueue"]


class UserQueue:
    """A queue that users may enqueue into, through an async client that a user is signed in to.

    Only queues that the database function ``meshhook_allow_user_enqueue`` has opened take such
    jobs. Each job has the user's id as ``user_id``, which the user cannot choose. Users can neither
    read nor settle jobs.

    Args:
        client: An async client with the publishable key and a user's session.
        queue_name: The queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not an async one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self, client: AsyncClient, queue_name: str, *, repeat_policy: RepeatPolicy | None = None
    ) -> None:
        self.queue_name = check.queue_name("queue_name", queue_name)
        self._transport = AsyncTransport(async_client(client, "UserQueue"), repeat_policy)

    async def enqueue(
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> bool:
        """Enqueue a job for the user.

        Args:
            job_data: As for `QueueService.enqueue`, but without ``attempt``, ``max_attempts`` and
                ``user_id``: those are set by the database.
            delay_seconds: How long the job stays hidden, in seconds or as a timedelta.
            run_at: The time from which it may run, instead of a delay; see `QueueService.enqueue`.
            idempotency_key: A name for this enqueue, remembered for ten minutes. A second enqueue
                with this name by the same user in this queue enqueues nothing.

        Returns:
            Whether the job was enqueued by this call; False if the key had been used before.

        Raises:
            InvalidInputError: With everything that is wrong with the input; nothing was sent.
            PermissionDeniedError: Users may not enqueue here, or nobody is signed in.
            RateLimitedError: The user's quota is used up; see its `retry_after_seconds`.
            RejectedError: The message is larger than the queue allows.
            RequestError: The call failed.
        """
        return await self._transport.call(
            user_enqueue.one(
                self.queue_name,
                job_data,
                delay_seconds,
                run_at=run_at,
                idempotency_key=idempotency_key,
            )
        )


@documented_by(UserQueue)
class SyncUserQueue:
    """A queue that users may enqueue into: `UserQueue` without await.

    Args:
        client: A sync client with the publishable key and a user's session.
        queue_name: The queue.
        repeat_policy: How calls are repeated in an outage.

    Raises:
        TypeError: The client is not a sync one.
        InvalidInputError: PGMQ would change or refuse the name.
    """

    def __init__(
        self, client: Client, queue_name: str, *, repeat_policy: RepeatPolicy | None = None
    ) -> None:
        self.queue_name = check.queue_name("queue_name", queue_name)
        self._transport = SyncTransport(sync_client(client, "SyncUserQueue"), repeat_policy)

    def enqueue(  # noqa: D102 - the docstring is that of the async class
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> bool:
        return self._transport.call(
            user_enqueue.one(
                self.queue_name,
                job_data,
                delay_seconds,
                run_at=run_at,
                idempotency_key=idempotency_key,
            )
        )
