"""Draining: work until the queue is empty, a limit is reached, or the time is nearly up."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import anyio
import attrs

from meshhook._calls import jobs
from meshhook._defaults import DEFAULT_QUEUE
from meshhook._http.clients import async_client, sync_client
from meshhook._http.repeat import NEVER
from meshhook._http.transport import AsyncTransport, SyncTransport, ThreadedTransport
from meshhook._inputs import check
from meshhook.exceptions import MeshHookError
from meshhook.worker.run import Run
from meshhook.worker.settings import CANCEL_SECONDS, SETTLE_SECONDS, Drain, Settings
from meshhook.worker.stats import WorkerStats
from meshhook.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from supabase import AsyncClient, Client

    from meshhook._http.transport import Transport
    from meshhook.models import JobMessage, RetryConfig
    from meshhook.retry import RetryStrategy
    from meshhook.worker.events import ErrorHook, Hook
    from meshhook.worker.handler import JobHandler

    Handler = JobHandler | Callable[[JobMessage], Any]

POLL_INTERVAL_MS = 250
"""How often a drain looks for new jobs while handlers run."""

MAX_MARGIN_SECONDS = 5.0
"""The time reserved for handing back and settling: a fifth of the deadline, at most this."""

MAX_JOBS = 1_000_000_000


class DrainOptions(TypedDict, total=False):
    """The options of a drain.

    Attributes:
        queue_name: The queue, several, or a mapping of queues to weights; see `Worker`.
        max_jobs: How many jobs are claimed, at most.
        deadline_seconds: How much time there is, everything included, in seconds or as a timedelta.
        concurrency: How many handlers may run at once (10).
        visibility_timeout_seconds: How long a claimed job stays hidden unless its lease is
            extended, in seconds or as a timedelta (30 seconds).
        retry_config: The backoff and the last attempt; see `Worker`.
        job_timeout_seconds: How long an attempt may take, in seconds or as a timedelta; see
            `Worker`.
        fatal_exceptions: Exceptions after which no further attempt makes sense; see `Worker`.
        on_event: Called with each event; see `Worker`.
        on_error: Called with the exception and the job of each failed attempt; see `Worker`.
        log_tracebacks: Whether the log line of a failed attempt has the traceback (True).
        name: The worker's name in logs and in the history of failed attempts; see `Worker`.
    """

    queue_name: str | Mapping[str, int] | Iterable[str]
    max_jobs: int | None
    deadline_seconds: float | timedelta | None
    concurrency: int
    visibility_timeout_seconds: float | timedelta | None
    retry_config: RetryStrategy | RetryConfig | dict[str, int] | None
    job_timeout_seconds: float | timedelta | None
    fatal_exceptions: Iterable[type[BaseException]]
    on_event: Hook | None
    on_error: ErrorHook | None
    log_tracebacks: bool
    name: str | None


@attrs.frozen(kw_only=True)
class DrainReport:
    """What a drain did.

    Attributes:
        processed: Attempts that ended: succeeded and failed ones.
        succeeded: Jobs completed.
        failed: Attempts that failed.
        retried: Jobs that will come again.
        moved_to_dlq: Jobs moved to the dead letter queue.
        snoozed: Jobs that their handlers put off.
        released: Jobs handed back, because the time was up.
        lost: Jobs whose lease was lost.
        more_waiting: Whether there are more jobs that are due; True if that is not known.
        reason: Why it ended: ``empty``, ``max_jobs``, or a text about the time.
        seconds: How long it took, in seconds.
        outage: The last error, if Supabase could not be reached at the end; None otherwise.
    """

    processed: int
    succeeded: int
    failed: int
    retried: int
    moved_to_dlq: int
    snoozed: int
    released: int
    lost: int
    more_waiting: bool
    reason: str
    seconds: float
    outage: str | None = None


_COUNTS = tuple(
    field.name
    for field in attrs.fields(DrainReport)
    if field.name in attrs.fields_dict(WorkerStats)
)


async def drain(
    client: AsyncClient, handler: Handler, **options: Unpack[DrainOptions]
) -> DrainReport:
    """Work until the queue is empty, *max_jobs* are claimed, or the time is nearly up.

    A job is claimed only if it can start at once and, judging by how long jobs have taken so far,
    end in time. Jobs that are not finished shortly before the deadline are cancelled and handed
    back, visible at once and with their attempt unused.

    Args:
        client: An async client with the project's secret (service role) key.
        handler: What jobs are handed to; see `Worker`.
        **options: See `DrainOptions`.

    Returns:
        What was done, and whether more is waiting.

    Raises:
        TypeError: The client is not an async one, or the handler not a function of one argument.
        InvalidInputError: An option is out of range.
        MeshHookError: An error that waiting does not fix: a wrong key, missing functions, a missing
            queue.
    """
    return await Draining.by_client(client, handler, options).run()


def drain_sync(client: Client, handler: Handler, **options: Unpack[DrainOptions]) -> DrainReport:
    """Drain through a sync client; see `drain`.

    It runs an event loop, so it must not be called inside one.

    Args:
        client: A sync client with the project's secret (service role) key.
        handler: What jobs are handed to; plain handlers run in threads.
        **options: See `DrainOptions`.

    Returns:
        What was done, and whether more is waiting.

    Raises:
        TypeError: The client is not a sync one, or the handler not a function of one argument.
        InvalidInputError: An option is out of range.
        MeshHookError: An error that waiting does not fix.
    """
    transport = ThreadedTransport(SyncTransport(sync_client(client, "drain_sync"), NEVER))
    return anyio.run(_drain, transport, handler, options)


async def _drain(transport: Transport, handler: Handler, options: DrainOptions) -> DrainReport:
    return await Draining(transport, handler, options).run()


class Draining:
    """A drain whose numbers can be seen while it runs, and that signals may stop.

    Args:
        transport: Sends each call once.
        handler: What jobs are handed to.
        options: See `DrainOptions`.

    Raises:
        TypeError: The handler is not a function of one argument.
        InvalidInputError: An option is out of range.
    """

    def __init__(self, transport: Transport, handler: Handler, options: DrainOptions) -> None:
        self._begin = time.monotonic()
        self._settings, self._stop_after = _settings(transport, handler, options, self._begin)
        self._run = Run(Supervisor(self._settings))

    @classmethod
    def by_client(cls, client: AsyncClient, handler: Handler, options: DrainOptions) -> Draining:
        """Return a drain of a client's project; see `drain`."""
        transport = AsyncTransport(async_client(client, "drain", has_sync=False), NEVER)
        return cls(transport, handler, options)

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._settings.name

    @property
    def is_stopping(self) -> bool:
        """Whether it is stopping."""
        return self._run.supervisor.is_stopping

    def get_stats(self) -> WorkerStats:
        """Return what has been done so far."""
        return self._run.supervisor.reporter.stats()

    async def run(self, *, handles_signals: bool = False) -> DrainReport:
        """Drain, once.

        Args:
            handles_signals: Whether SIGTERM and SIGINT stop it cleanly, and a second one ends the
                waiting for handlers. The name of the signal is then the reason.

        Returns:
            What was done, and whether more is waiting.

        Raises:
            MeshHookError: An error that waiting does not fix.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_in_time, self._run, self._begin + self._stop_after)
            if handles_signals:
                group.start_soon(self._run.handle_signals)
            await self._run.serve()
            report = await self._report_or_error()
            group.cancel_scope.cancel()
        if isinstance(report, MeshHookError):
            raise report
        return report

    async def _report_or_error(self) -> DrainReport | MeshHookError:
        try:
            stop = self._run.result()
        except MeshHookError as error:
            return error  # raised inside the task group, it would become an exception group
        stats = self.get_stats()
        is_empty = stop.reason == "empty"
        more_waiting = not is_empty and await _is_more_waiting(self._settings)
        return DrainReport(
            **{name: getattr(stats, name) for name in _COUNTS},
            more_waiting=more_waiting,
            reason=stop.reason,
            seconds=round(time.monotonic() - self._begin, 3),
            outage=None if stats.unhealthy_since is None else stats.last_error,
        )


def _settings(
    transport: Transport, handler: Handler, options: DrainOptions, begin: float
) -> tuple[Settings, float]:
    """Return the settings of the worker that drains, and after how many seconds it must stop."""
    given: dict[str, Any] = dict(options)
    queue_name = given.pop("queue_name", DEFAULT_QUEUE)
    max_jobs = given.pop("max_jobs", None)
    deadline = given.pop("deadline_seconds", None)
    if max_jobs is not None:
        check.whole_number("max_jobs", max_jobs, 1, MAX_JOBS)
    if deadline is not None:
        deadline = check.positive_seconds("deadline_seconds", deadline)
    margin = math.inf if deadline is None else min(MAX_MARGIN_SECONDS, deadline / 5)
    stop_after = math.inf if deadline is None else deadline - margin
    settings = Settings(
        transport=transport,
        job_handler=handler,
        queue_name=queue_name,
        poll_interval_ms=POLL_INTERVAL_MS,
        grace_seconds=0,
        drain=Drain(math.inf if max_jobs is None else max_jobs, begin + stop_after),
        # Half of the margin is for settling, a quarter for the question whether more is waiting.
        cancel_seconds=min(CANCEL_SECONDS, margin / 4),
        settle_seconds=min(SETTLE_SECONDS, margin / 2),
        **given,
    )
    return settings, stop_after


async def _stop_in_time(run: Run, at: float) -> None:
    await anyio.sleep(max(0.0, at - time.monotonic()))
    run.supervisor.stop("the time is nearly up")


async def _is_more_waiting(settings: Settings) -> bool:
    """Return whether jobs are due; True where that cannot be found out, to be on the safe side."""
    try:
        with anyio.fail_after(settings.cancel_seconds):
            for queue_name in settings.weights:
                metrics = await settings.transport.call(jobs.queue_metrics(queue_name))
                if metrics.visible_jobs:
                    return True
    except (MeshHookError, TimeoutError):
        return True
    return False
