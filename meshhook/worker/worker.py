"""The worker's public face: ways to start it, ways to stop it, and what it has done."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

import anyio

from meshhook import _validation as check
from meshhook._transport import async_client
from meshhook.exceptions import MeshHookError
from meshhook.retry import RetryStrategy
from meshhook.worker.handler import create_job_handler
from meshhook.worker.queues import queue_weights
from meshhook.worker.stats import StopReport, WorkerStats
from meshhook.worker.supervisor import Settings, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from supabase import AsyncClient

    from meshhook.models import JobMessage, RetryConfig
    from meshhook.worker.events import Hook
    from meshhook.worker.handler import JobHandler

__all__ = ["Worker"]

MAX_CONCURRENCY = 10_000
MAX_POLL_INTERVAL_MS = 3_600_000


class Worker:
    """Claims jobs, hands them to a handler, and settles what comes of them.

    A handler that returns completes its job. One that raises fails the attempt: the job comes again
    after a backoff, and after its last attempt goes to the dead letter queue. While a handler runs,
    the job's lease is extended, so the visibility timeout need not be tuned to how long jobs take.

    Ways to run it::

        await worker.run()                    # until SIGTERM, SIGINT or stop()

        async with worker:                    # while the block runs
            ...

        await worker.start()                  # in the background
        ...
        await worker.stop()                   # from any task

    **Stopping.** A stop, however it comes about, claims no more jobs, hands back those that no
    handler has seen, waits *grace_seconds* for the handlers that run, cancels those that are left,
    hands their jobs back, settles all that was finished, and ends. Jobs that are handed back are
    visible at once and keep their attempt. Cancelling the task around the worker, or an error
    elsewhere in it, is such a stop too. A second signal cuts the waiting short.

    **Errors.** An outage (no connection, time-outs, 5xx, too many requests, a database that
    restarts) is waited out, with pauses of up to 30 seconds; running handlers go on until their
    leases are over. What waiting does not mend (a wrong key, missing functions, a missing queue)
    stops the worker in order and is raised by whatever waits for it: `run`, the ``async with``
    block, or `stop`. An error of a handler never stops it.

    Args:
        supabase_client: An async client with the project's secret (service role) key.
        job_handler: An ``async def`` or plain ``def`` that takes the job's message, or what
            `create_job_handler` makes of it.
        queue_name: The queue; or several, or a mapping of queues to weights. A queue of weight 3
            is asked first three times as often as one of weight 1.
        poll_interval_ms: How long to wait, in milliseconds, after a queue had fewer jobs than there
            was room for.
        visibility_timeout_seconds: How long a claimed job stays hidden unless its lease is
            extended, in seconds; None for the queue's setting. A worker that dies keeps others
            waiting for its jobs that long.
        retry_config: The backoff and the last attempt: a `RetryStrategy`, a `RetryConfig` or a dict
            with ``base_delay_ms``, ``max_delay_ms`` and ``max_attempts``; None for the queue's
            settings, which are the defaults of `RetryStrategy` unless they were changed. A job's
            own ``max_attempts`` comes before either.
        concurrency: How many handlers may run at once. For a plain ``def`` it is the number of
            threads.
        prefetch: How many jobs may be claimed beyond those that handlers are free for.
        job_timeout_seconds: How long an attempt may take, in seconds, where the handler does not
            say; None for no limit. See `create_job_handler` for what happens then.
        grace_seconds: How long a stop waits for running handlers, in seconds.
        fatal_exceptions: Classes of exceptions after which no further attempt makes sense: the job
            goes to the dead letter queue at once.
        on_event: A function, ``async def`` or plain, that is called with each `WorkerEvent`, one
            after the other, beside the work. One that raises or hangs does no harm.
        name: What the worker is called in logs and in the history of failed attempts; by default
            made of host and process.

    Raises:
        TypeError: The client is not an async one, or the handler not a function of one argument.
        InvalidInputError: A setting is out of range.
    """

    def __init__(  # noqa: PLR0913 - settings with defaults, given by name
        self,
        supabase_client: AsyncClient,
        job_handler: JobHandler | Callable[[JobMessage], Any],
        queue_name: str | Mapping[str, int] | Iterable[str] = "workflow_jobs",
        *,
        poll_interval_ms: int = 1000,
        visibility_timeout_seconds: float | None = 30,
        retry_config: RetryStrategy | RetryConfig | dict[str, int] | None = None,
        concurrency: int = 10,
        prefetch: int = 0,
        job_timeout_seconds: float | None = None,
        grace_seconds: float = 30,
        fatal_exceptions: Iterable[type[BaseException]] = (),
        on_event: Hook | None = None,
        name: str | None = None,
    ) -> None:
        if visibility_timeout_seconds is not None:
            check.positive_seconds(
                "visibility_timeout_seconds", visibility_timeout_seconds, check.MAX_VT_SECONDS
            )
        if job_timeout_seconds is not None:
            check.positive_seconds("job_timeout_seconds", job_timeout_seconds)
        check.whole_number("poll_interval_ms", poll_interval_ms, 1, MAX_POLL_INTERVAL_MS)
        self._settings = Settings(
            client=async_client(supabase_client, "Worker", has_sync=False),
            handler=create_job_handler(job_handler),
            weights=queue_weights(queue_name),
            poll_interval_seconds=poll_interval_ms / 1000,
            vt_seconds=visibility_timeout_seconds,
            strategy=None if retry_config is None else RetryStrategy.from_config(retry_config),
            concurrency=check.whole_number("concurrency", concurrency, 1, MAX_CONCURRENCY),
            prefetch=check.whole_number("prefetch", prefetch, 0, MAX_CONCURRENCY),
            job_timeout_seconds=job_timeout_seconds,
            grace_seconds=check.delay_seconds("grace_seconds", grace_seconds),
            fatal_exceptions=check.exception_classes("fatal_exceptions", fatal_exceptions),
            on_event=on_event,
            name=name or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        )
        self._run: _Run | None = None
        self._group: anyio.abc.TaskGroup | None = None

    async def run(self) -> StopReport:
        """Work until SIGTERM, SIGINT or `stop`.

        Signals are minded in the main thread only.

        Returns:
            How the worker stopped.

        Raises:
            RuntimeError: The worker runs already.
            MeshHookError: What waiting does not mend.
        """
        run = self._begin()
        async with anyio.create_task_group() as group:
            group.start_soon(run.mind_signals)
            await run.serve()
            group.cancel_scope.cancel()
        return run.result()

    async def start(self) -> None:
        """Start working in the background; `stop` may be called from any task.

        Raises:
            RuntimeError: The worker runs already.
        """
        run = self._begin()
        run.serve_detached()
        await run.started.wait()

    async def stop(self) -> StopReport:
        """Stop in order, and wait until that is done.

        Returns:
            How the worker stopped: what was finished, handed back or given up.

        Raises:
            MeshHookError: What had made the worker stop by itself.
        """
        if self._run is None:
            return StopReport(reason="it did not run")
        self._run.supervisor.stop("stop() was called")
        return await self.wait()

    async def wait(self) -> StopReport:
        """Wait until the worker has stopped, for whatever reason.

        Returns:
            How it stopped.

        Raises:
            MeshHookError: What had made the worker stop by itself.
        """
        if self._run is None:
            return StopReport(reason="it did not run")
        await self._run.ended.wait()
        return self._run.result()

    def get_stats(self) -> WorkerStats:
        """Return what the worker has done so far; after a new start, since that."""
        return WorkerStats() if self._run is None else self._run.supervisor.reporter.stats()

    async def __aenter__(self) -> Self:
        run = self._begin()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(run.serve_and_raise)
        await run.started.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._run is None or self._group is None:
            return None
        self._run.supervisor.stop("the block ended" if error is None else f"{type(error).__name__}")
        try:
            return await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            others = [part for part in group.exceptions if part is not error]
            if not others:
                return False  # the block's own error goes on as it is
            if len(group.exceptions) == 1:
                raise others[0] from others[0].__cause__
            raise

    def _begin(self) -> _Run:
        if self._run is not None and not self._run.ended.is_set():
            message = "this worker runs already; make another one for another loop"
            raise RuntimeError(message)
        self._run = _Run(Supervisor(self._settings))
        return self._run


class _Run:
    """One run of a worker, from its start to its end."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.started = anyio.Event()
        self.ended = anyio.Event()
        self._report: StopReport | None = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def result(self) -> StopReport:
        """Return how the worker stopped, or raise what stopped it."""
        if self._error is not None:
            raise self._error
        return self._report or StopReport(reason="it was cut off")

    async def serve(self) -> None:
        """Work until the end; a cancellation from outside becomes an orderly stop first."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._operate)
                try:
                    await self.ended.wait()
                except anyio.get_cancelled_exc_class():
                    self.supervisor.stop("the task around it was cancelled")
                    raise
        finally:
            self.started.set()
            self.ended.set()

    async def serve_and_raise(self) -> None:
        """Work until the end, and raise what stopped the worker by itself."""
        await self.serve()
        self.result()

    def serve_detached(self) -> None:
        """Work in a task that belongs to the event loop and to nobody's task group."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import trio  # noqa: PLC0415 - only there when the loop is trio's

            trio.lowlevel.spawn_system_task(self._serve_alone, name="meshhook worker")
        else:
            self._task = loop.create_task(self._serve_alone(), name="meshhook worker")

    async def _serve_alone(self) -> None:
        try:
            await self.serve()
        except Exception as error:  # noqa: BLE001 - raised again by stop() and wait()
            self._error = self._error or error

    async def _operate(self) -> None:
        try:
            self._report = await self.supervisor.operate(self.started)
        except MeshHookError as error:
            self._error = error
        finally:
            self.ended.set()

    async def mind_signals(self) -> None:
        """Stop at the first SIGTERM or SIGINT, and hurry at the second."""
        if threading.current_thread() is not threading.main_thread():
            return
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if self.supervisor.is_stopping:
                    self.supervisor.hurry()
                self.supervisor.stop(signal.Signals(number).name)
