"""The worker's public face: ways to start it, ways to stop it, and what it has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import anyio

from meshhook._calls import jobs
from meshhook._defaults import DEFAULT_QUEUE
from meshhook._entered import AsyncBlock
from meshhook._http.clients import async_client
from meshhook._http.repeat import NEVER
from meshhook._http.transport import AsyncTransport
from meshhook.worker.run import Run
from meshhook.worker.settings import Settings
from meshhook.worker.stats import StopReport, WorkerStats
from meshhook.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from types import TracebackType

    from supabase import AsyncClient

    from meshhook.models import JobMessage, QueueMetrics, RetryConfig
    from meshhook.retry import RetryStrategy
    from meshhook.worker.events import ErrorHook, Hook
    from meshhook.worker.handler import JobHandler

__all__ = ["Worker"]


class Worker(AsyncBlock):
    """Claims jobs, hands them to a handler, and settles their outcomes.

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

    **Stopping.** A stopping worker claims no more jobs. It hands back the jobs that no handler has
    started, waits *grace_seconds* for the running handlers, then cancels the others and hands their
    jobs back. It settles everything that was finished, and ends. Jobs that are handed back are
    visible at once and keep their attempt. Cancelling the task around the worker, or an error
    elsewhere in that task, stops it in the same way. A second signal ends the waiting for handlers.

    **Errors.** An outage (no connection, time-outs, 5xx, too many requests, a database that
    restarts) is waited out, with pauses of up to 30 seconds; running handlers go on until their
    leases end. An error that waiting does not fix (a wrong key, missing functions, a missing queue)
    stops the worker cleanly. It is raised by `run`, the ``async with`` block, `stop` or `wait`. An
    error of a handler never stops the worker.

    **Logs.** The logger is ``meshhook.worker``. A failed attempt is a WARNING with the type, text
    and traceback of its error, and when the next attempt comes; the last one is an ERROR that says
    where the job went. Start and stop of the worker are INFO, those of each job DEBUG. Where the
    program sets up no logging, Python writes warnings and errors to standard error. No line has a
    payload or a key, unless the text of an exception has it. Where every logger is at INFO, `httpx`
    logs each request of the worker: ``logging.getLogger("httpx").setLevel(logging.WARNING)`` stops
    that.

    Args:
        supabase_client: An async client with the project's secret (service role) key.
        job_handler: An ``async def`` or plain ``def`` that takes the job's message, or what
            `create_job_handler` makes of it.
        queue_name: The queue; or several, or a mapping of queues to weights. A queue of weight 3
            is asked first three times as often as one of weight 1.
        poll_interval_ms: How long to wait, in milliseconds, after a queue had fewer jobs than there
            was room for.
        visibility_timeout_seconds: How long a claimed job stays hidden unless its lease is
            extended, in seconds or as a timedelta; None for the queue's setting. If a worker dies,
            other workers get its jobs after that time.
        retry_config: The backoff and the last attempt: a `RetryStrategy`, a `RetryConfig` or a dict
            with ``base_delay_ms``, ``max_delay_ms`` and ``max_attempts``; None for the queue's
            settings, which are the defaults of `RetryStrategy` unless they were changed. A job's
            own ``max_attempts`` comes before either.
        concurrency: How many handlers may run at once. For a plain ``def`` it is the number of
            threads.
        prefetch: How many more jobs may be claimed than handlers are free; None to adapt to the
            load: up to 2,000 while there is a backlog of jobs of milliseconds, none where jobs take
            longer than a tenth of a second.
        job_timeout_seconds: How long an attempt may take, in seconds or as a timedelta, where the
            handler sets no limit; None for no limit. See `create_job_handler` for what happens
            then.
        grace_seconds: How long a stop waits for running handlers, in seconds or as a timedelta.
        fatal_exceptions: Classes of exceptions after which no further attempt makes sense: the job
            goes to the dead letter queue at once.
        on_event: A function, ``async def`` or plain, that is called with each `WorkerEvent`, one
            after another, without delaying the jobs. One that raises or hangs does no harm.
        on_error: A function, ``async def`` or plain, that is called with the exception and the
            `Job` of each failed attempt, as soon as it has failed, in the same way as *on_event*.
            `Retry`, `DeadLetter`, `JobTimeoutError` and a message without its ids are failures too;
            `Snooze` is none. An attempt whose worker died cannot be reported; only the event
            ``dead_lettered`` may show it.
        log_tracebacks: Whether the log line of a failed attempt has the traceback.
        name: The worker's name in logs and in the history of failed attempts; by default made of
            host and process.

    Raises:
        TypeError: The client is not an async one, or the handler not a function of one argument.
        InvalidInputError: A setting is out of range.
    """

    _what = "a Worker"
    _form = "async with worker, or await worker.run()"
    _elsewhere = "start one with the command meshhook worker"

    def __init__(  # noqa: PLR0913 - settings with defaults, given by name
        self,
        supabase_client: AsyncClient,
        job_handler: JobHandler | Callable[[JobMessage], Any],
        queue_name: str | Mapping[str, int] | Iterable[str] = DEFAULT_QUEUE,
        *,
        poll_interval_ms: int = 1000,
        visibility_timeout_seconds: float | timedelta | None = 30,
        retry_config: RetryStrategy | RetryConfig | dict[str, int] | None = None,
        concurrency: int = 10,
        prefetch: int | None = None,
        job_timeout_seconds: float | timedelta | None = None,
        grace_seconds: float | timedelta = 30,
        fatal_exceptions: Iterable[type[BaseException]] = (),
        on_event: Hook | None = None,
        on_error: ErrorHook | None = None,
        log_tracebacks: bool = True,
        name: str | None = None,
    ) -> None:
        self._settings = Settings(
            transport=AsyncTransport(
                async_client(supabase_client, "Worker", has_sync=False), NEVER
            ),
            job_handler=job_handler,
            queue_name=queue_name,
            poll_interval_ms=poll_interval_ms,
            visibility_timeout_seconds=visibility_timeout_seconds,
            retry_config=retry_config,
            concurrency=concurrency,
            prefetch=prefetch,
            job_timeout_seconds=job_timeout_seconds,
            grace_seconds=grace_seconds,
            fatal_exceptions=fatal_exceptions,
            on_event=on_event,
            on_error=on_error,
            log_tracebacks=log_tracebacks,
            name=name,
        )
        self._run: Run | None = None
        self._group: anyio.abc.TaskGroup | None = None

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._settings.name

    @property
    def is_running(self) -> bool:
        """Whether the worker has been started and has not stopped yet."""
        return self._run is not None and not self._run.ended.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether the worker has been asked to stop, or stops by itself."""
        return self._run is not None and self._run.supervisor.is_stopping

    async def get_queue_metrics(self) -> list[QueueMetrics]:
        """Measure the queues that the worker serves.

        Returns:
            Depth and age of each.

        Raises:
            RequestError: A call failed.
        """
        transport = self._settings.transport
        return [await transport.call(jobs.queue_metrics(name)) for name in self._settings.weights]

    async def run(self) -> StopReport:
        """Work until SIGTERM, SIGINT or `stop`.

        Signals are handled in the main thread only.

        Returns:
            How the worker stopped.

        Raises:
            RuntimeError: The worker runs already.
            MeshHookError: An error that waiting does not fix.
        """
        run = self._begin()
        async with anyio.create_task_group() as group:
            group.start_soon(run.handle_signals)
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
        """Stop cleanly, and wait until that is done.

        Returns:
            How the worker stopped: what was finished, handed back or given up.

        Raises:
            MeshHookError: The error that had stopped the worker.
        """
        if self._run is None:
            return StopReport(reason="it did not run")
        self._run.supervisor.stop("stop() was called")
        return await self.wait()

    async def wait(self) -> StopReport:
        """Wait until the worker has stopped, for any reason.

        Returns:
            How it stopped.

        Raises:
            MeshHookError: The error that had stopped the worker.
        """
        if self._run is None:
            return StopReport(reason="it did not run")
        await self._run.ended.wait()
        return self._run.result()

    def get_stats(self) -> WorkerStats:
        """Return what the worker has done since its last start.

        Returns:
            The numbers as they are now.
        """
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

    def _begin(self) -> Run:
        if self.is_running:
            message = (
                "this worker runs already: wait() waits for its end, and stop() ends it; for a "
                "second one at the same time, make another Worker"
            )
            raise RuntimeError(message)
        self._run = Run(Supervisor(self._settings))
        return self._run
