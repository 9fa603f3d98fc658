"""Queues as values: their settings, depth and history, their workers and retries."""

from __future__ import annotations

from datetime import timedelta  # noqa: TC003 - frameworks look the types of QueueSettings up
from typing import TYPE_CHECKING, TypedDict

import attrs

if TYPE_CHECKING:
    from datetime import datetime


class QueueSettings(TypedDict, total=False):
    """The settings of a queue, as `create_queue` and `configure_queue` take them by name.

    They are kept in the database, and hold for every worker and caller that sets nothing else. A
    setting that is left out or None stays as it is; in parentheses is the value in a new queue.

    Attributes:
        dlq_name: Its dead letter queue (``<queue_name>_dlq``).
        vt_seconds: The visibility timeout of a claim that sets none, in seconds or as a timedelta
            (30 seconds).
        max_attempts: The last attempt when neither sender nor worker sets one (5).
        base_delay_ms: The delay after a first failure, in milliseconds (1,000).
        max_delay_ms: What a delay never exceeds, in milliseconds (300,000).
        keeps_history: Whether finished jobs and failed attempts are kept (True).
        has_dead_letters: Whether jobs past their last attempt go to the dead letter queue (True);
            if not, they go to the archive, and `get_job` says ``failed``.
        retention_days: How long workers keep history and archive, in days (without a limit). Give
            ``math.inf`` to take a limit away.
    """

    dlq_name: str | None
    vt_seconds: float | timedelta | None
    max_attempts: int | None
    base_delay_ms: int | None
    max_delay_ms: int | None
    keeps_history: bool | None
    has_dead_letters: bool | None
    retention_days: float | None


@attrs.frozen(kw_only=True)
class QueueInfo:
    """A queue and its settings.

    The settings are None for a queue that MeshHook has not used yet.

    Attributes:
        queue_name: The queue.
        created_at: When it was created.
        is_dlq: Whether it is the dead letter queue of another.
        dlq_name: Its dead letter queue.
        vt_seconds: The visibility timeout of a claim that sets none, in seconds.
        max_attempts: The last attempt of a job when neither sender nor worker sets one.
        base_delay_ms: The delay after a first failure, in milliseconds.
        max_delay_ms: What a delay never exceeds, in milliseconds.
        keeps_history: Whether finished jobs and failed attempts are kept for `get_job`.
        has_dead_letters: Whether jobs past their last attempt go to the dead letter queue; if not,
            they go to the archive.
        retention_days: How long workers keep history and archive, in days; None without a limit.
        paused_at: Since when the queue is paused; None if it is not.
    """

    queue_name: str
    created_at: datetime
    is_dlq: bool = False
    dlq_name: str | None = None
    vt_seconds: float | None = None
    max_attempts: int | None = None
    base_delay_ms: int | None = None
    max_delay_ms: int | None = None
    keeps_history: bool | None = None
    has_dead_letters: bool | None = None
    retention_days: float | None = None
    paused_at: datetime | None = None


@attrs.frozen(kw_only=True)
class QueueMetrics:
    """Depth and age of a queue.

    Attributes:
        queue_name: The queue.
        queue_length: All its jobs.
        visible_jobs: Those that can be claimed now.
        invisible_jobs: Those that are being processed or wait for their time.
        oldest_msg_age_seconds: Age of the oldest job in whole seconds; None in an empty queue.
        newest_msg_age_seconds: Age of the newest job in whole seconds; None in an empty queue.
    """

    queue_name: str
    queue_length: int
    visible_jobs: int
    invisible_jobs: int
    oldest_msg_age_seconds: int | None
    newest_msg_age_seconds: int | None


@attrs.frozen(kw_only=True)
class WorkerInfo:
    """A worker, as of its last heartbeat.

    Attributes:
        worker_id: Its id, new for each start.
        name: Its name.
        queue_names: The queues that it serves.
        host: The machine.
        pid: The process.
        version: The version of the SDK.
        concurrency: How many handlers it may run at once.
        running: How many it was running.
        interval_seconds: The time between its heartbeats, in seconds.
        started_at: When it started.
        seen_at: When its last heartbeat was.
        is_alive: Whether it has missed at most two heartbeats.
    """

    worker_id: str
    name: str | None = None
    queue_names: tuple[str, ...]
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    concurrency: int | None = None
    running: int | None = None
    interval_seconds: float
    started_at: datetime
    seen_at: datetime
    is_alive: bool


@attrs.frozen(kw_only=True)
class PruneResult:
    """What was deleted of a queue's history.

    Attributes:
        jobs: Finished jobs.
        attempts: Failed attempts.
        archived: Archived messages.
        requests: Answers that were remembered for repeated requests.
        more: Whether there may be more to delete.
    """

    jobs: int
    attempts: int
    archived: int
    requests: int
    more: bool


@attrs.frozen(kw_only=True)
class RetryConfig:
    """The settings of a `RetryStrategy`.

    Attributes:
        base_delay_ms: The delay after the first failure, without jitter, in milliseconds.
        max_delay_ms: What a delay never exceeds, in milliseconds.
        max_attempts: The last allowed attempt.
    """

    base_delay_ms: int = 1000
    max_delay_ms: int = 300_000
    max_attempts: int = 5


@attrs.frozen(kw_only=True)
class RetryInfo:
    """What happens when an attempt fails.

    Attributes:
        attempt: The attempt, from 1 on.
        max_attempts: The last allowed one.
        can_retry: Whether another attempt follows.
        delay_ms: The delay before it, in milliseconds.
        delay_seconds: The same delay in seconds.
        should_move_to_dead_letter: Whether the job goes to the dead letter queue instead.
    """

    attempt: int
    max_attempts: int
    can_retry: bool
    delay_ms: int
    delay_seconds: float
    should_move_to_dead_letter: bool
