"""One worker in this process: from its options to its exit code."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from meshhook.cli.exits import usage
from meshhook.cli.worker import logs
from meshhook.exceptions import MeshHookError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from meshhook.cli.worker.options import WorkerOptions
    from meshhook.worker import StopReport, Worker, WorkerStats

Report = TypeVar("Report")

log = logging.getLogger("meshhook.cli")

SUMMARY_SECONDS = 60.0
"""How often a worker without a terminal says what it has done."""


class Works(Protocol):
    """A worker or a drain, as far as its numbers are shown."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def is_stopping(self) -> bool:
        """Whether it has been asked to stop."""

    def get_stats(self) -> WorkerStats:
        """Return what it has done so far."""


def work(options: WorkerOptions, *, on_terminal: bool) -> None:
    """Work until a signal or an error ends it.

    Args:
        options: What the worker is told.
        on_terminal: Whether a status line is shown.

    Raises:
        CommandError: A target does not stand for what it should.
        MeshHookError: What waiting does not mend.
    """
    arguments = options.load()
    logs.configure(options.log_level, options.log_format)
    report = anyio.run(_work, options, arguments, on_terminal, backend=backend(options.loop))
    log.info("stopped: %s", report.reason)


def backend(name: str) -> str:
    """Return the name of an event loop.

    Args:
        name: ``asyncio`` or ``trio``.

    Raises:
        CommandError: It is not installed.
    """
    if name == "trio":
        try:
            import trio  # noqa: F401, PLC0415 - whether it is there
        except ImportError as error:
            raise usage("--loop trio needs trio: pip install trio") from error
    return name


async def _work(
    options: WorkerOptions,
    arguments: dict[str, Any],
    on_terminal: bool,  # noqa: FBT001 - anyio.run passes positions alone
) -> StopReport:
    from meshhook import Worker, connect  # noqa: PLC0415 - heavy

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(options.url, options.key))
        worker = Worker(client, **arguments)
        if options.monitoring_port is not None:
            await _serve_monitoring(stack, worker, options)
        return await run_shown(worker, worker.run, on_terminal=on_terminal)


async def _serve_monitoring(stack: AsyncExitStack, worker: Worker, options: WorkerOptions) -> None:
    from meshhook.monitoring import MonitoringServer  # noqa: PLC0415 - seldom wanted

    assert options.monitoring_port is not None  # noqa: S101 - asked before
    server = MonitoringServer(worker, host=options.monitoring_host, port=options.monitoring_port)
    try:
        await stack.enter_async_context(server)
    except OSError as error:
        place = f"{options.monitoring_host}:{options.monitoring_port}"
        raise usage(f"--monitoring-port: {place} cannot be listened on: {error}") from error
    log.info("probes and metrics at http://%s:%d", options.monitoring_host, server.port)


async def run_shown(
    worker: Works, run: Callable[[], Awaitable[Report]], *, on_terminal: bool
) -> Report:
    """Run a worker, and show its numbers until it has ended.

    Args:
        worker: The worker.
        run: What runs it.
        on_terminal: Whether a status line is shown; otherwise there is a log line now and then.

    Returns:
        What the run returns.

    Raises:
        MeshHookError: What waiting does not mend.
    """
    ended: Report | MeshHookError
    async with anyio.create_task_group() as group:
        group.start_soon(_shower(worker, on_terminal=on_terminal))
        try:
            ended = await run()
        except MeshHookError as error:
            ended = error  # raised below: out of the block it would be one of a group
        group.cancel_scope.cancel()
    if isinstance(ended, MeshHookError):
        raise ended
    return ended


def _shower(worker: Works, *, on_terminal: bool) -> Callable[[], Coroutine[Any, Any, None]]:
    if not on_terminal:
        return _Summary(worker).run
    from meshhook.cli.worker.status_line import StatusLine  # noqa: PLC0415 - for terminals alone

    return StatusLine(worker).run


class _Summary:
    def __init__(self, worker: Works) -> None:
        self._worker = worker

    async def run(self) -> None:
        """Log what has been done, as long as something is done."""
        before, since = 0, time.monotonic()
        while True:
            await anyio.sleep(SUMMARY_SECONDS)
            stats = self._worker.get_stats()
            now = time.monotonic()
            if stats.processed != before or stats.running:
                log.info(
                    "%d succeeded, %d failed, %d running, %.1f a second",
                    stats.succeeded,
                    stats.failed,
                    stats.running,
                    (stats.processed - before) / (now - since),
                    extra={"worker": self._worker.name},
                )
            before, since = stats.processed, now
