"""A worker or a drain in this process, from its options to its end."""

from __future__ import annotations

import functools
import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from meshhook.cli.exits import usage
from meshhook.cli.worker import logs
from meshhook.cli.worker.status_line import HasStats, StatusLine
from meshhook.connection import connect
from meshhook.exceptions import MeshHookError
from meshhook.monitoring import MonitoringServer
from meshhook.worker import Worker
from meshhook.worker.draining import Draining

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshhook.cli.worker.options import WorkerOptions
    from meshhook.worker import DrainReport

Report = TypeVar("Report")

log = logging.getLogger("meshhook.cli")

SUMMARY_SECONDS = 60.0
"""How often a worker without a terminal logs how many jobs it has finished."""


def work(options: WorkerOptions, *, on_terminal: bool) -> None:
    """Work until a signal or an error ends it.

    Args:
        options: The options of the worker.
        on_terminal: Whether a status line is shown.

    Raises:
        CommandError: A target is missing, or is not usable.
        MeshHookError: An error that waiting does not fix.
    """
    arguments = options.load()
    logs.configure(options.log_level, options.log_format)
    anyio.run(_work, options, arguments, on_terminal, backend=backend(options.loop))


def drain(options: WorkerOptions, *, on_terminal: bool) -> DrainReport:
    """Drain until the queue is empty, or a limit, a signal or an error ends it; see `work`."""
    arguments = options.load()
    logs.configure(options.log_level, options.log_format)
    return anyio.run(_drain, options, arguments, on_terminal, backend=backend(options.loop))


async def _drain(
    options: WorkerOptions,
    arguments: Any,
    on_terminal: bool,  # noqa: FBT001 - anyio.run passes only positional arguments
) -> DrainReport:
    handler = arguments.pop("job_handler")
    async with connect(options.url, options.key) as client:
        draining = Draining.by_client(client, handler, arguments)
        run = functools.partial(draining.run, handles_signals=True)
        return await run_shown(draining, run, on_terminal=on_terminal)


def backend(name: str) -> str:
    """Return the name of an event loop, if it can be used."""
    if name == "trio":
        try:
            import trio  # noqa: F401, PLC0415 - an optional dependency
        except ImportError as error:
            raise usage("--loop trio needs trio: pip install trio") from error
    return name


async def _work(
    options: WorkerOptions,
    arguments: dict[str, Any],
    on_terminal: bool,  # noqa: FBT001 - anyio.run passes only positional arguments
) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(options.url, options.key))
        worker = Worker(client, **arguments)
        if options.monitoring_port is not None:
            await _serve_monitoring(stack, worker, options)
        await run_shown(worker, worker.run, on_terminal=on_terminal)


async def _serve_monitoring(stack: AsyncExitStack, worker: Worker, options: WorkerOptions) -> None:
    assert options.monitoring_port is not None  # noqa: S101 - the caller checked
    server = MonitoringServer(worker, host=options.monitoring_host, port=options.monitoring_port)
    try:
        await stack.enter_async_context(server)
    except OSError as error:
        place = f"{options.monitoring_host}:{options.monitoring_port}"
        raise usage(f"--monitoring-port: {place} cannot be listened on: {error}") from error
    log.info("probes and metrics at http://%s:%d", options.monitoring_host, server.port)


async def run_shown(
    worker: HasStats, run: Callable[[], Awaitable[Report]], *, on_terminal: bool
) -> Report:
    """Run a worker, and show its numbers until it has ended.

    Args:
        worker: The worker.
        run: The function that runs it.
        on_terminal: Whether a status line is shown; if not, a log line comes once a minute.

    Returns:
        The result of the run.

    Raises:
        MeshHookError: An error that waiting does not fix.
    """
    ended: Report | MeshHookError
    async with anyio.create_task_group() as group:
        if on_terminal:
            group.start_soon(StatusLine(worker).run)
        else:
            group.start_soon(_log_numbers, worker)
        try:
            ended = await run()
        except MeshHookError as error:
            ended = error  # raised below: inside the block it would become one of a group
        group.cancel_scope.cancel()
    if isinstance(ended, MeshHookError):
        raise ended
    return ended


async def _log_numbers(worker: HasStats) -> None:
    """Log how many jobs are finished, as long as there are any."""
    before, since = 0, time.monotonic()
    while True:
        await anyio.sleep(SUMMARY_SECONDS)
        stats = worker.get_stats()
        now = time.monotonic()
        if stats.processed != before or stats.running:
            log.info(
                "%d succeeded, %d failed, %d running, %.1f a second",
                stats.succeeded,
                stats.failed,
                stats.running,
                (stats.processed - before) / (now - since),
                extra={"worker": worker.name},
            )
        before, since = stats.processed, now
