"""One worker in this process: from its options to its exit code."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio

from meshhook.cli import logs
from meshhook.cli.exits import usage
from meshhook.exceptions import MeshHookError

if TYPE_CHECKING:
    from meshhook.cli.worker_options import WorkerOptions
    from meshhook.worker import StopReport, Worker

log = logging.getLogger("meshhook.cli")

SUMMARY_SECONDS = 60.0
"""How often a worker without a terminal says what it has done."""


def work(options: WorkerOptions, *, on_terminal: bool) -> None:
    """Work until a signal or an error ends it.

    Args:
        options: What the worker is told.
        on_terminal: Whether a status line is shown.

    Raises:
        CommandError: A target does not stand for what it should.
        MeshHookError: What waiting does not mend.
    """
    logs.configure(options.log_level, options.log_format)
    arguments = options.load()
    report = anyio.run(_work, options, arguments, on_terminal, backend=_loop(options.loop))
    log.info("stopped: %s", report.reason)


def _loop(name: str) -> str:
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
        if on_terminal:
            from meshhook.cli.status_line import StatusLine  # noqa: PLC0415 - for terminals alone

            return await _run_beside(worker, StatusLine(worker).run)
        return await _run_beside(worker, _Summary(worker).run)


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


async def _run_beside(worker: Worker, show: Any) -> StopReport:
    """Run the worker, and what shows its numbers until it has ended."""
    ended: StopReport | MeshHookError
    async with anyio.create_task_group() as group:
        group.start_soon(show)
        try:
            ended = await worker.run()
        except MeshHookError as error:
            ended = error  # raised below: out of the block it would be one of a group
        group.cancel_scope.cancel()
    if isinstance(ended, MeshHookError):
        raise ended
    return ended


class _Summary:
    def __init__(self, worker: Worker) -> None:
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
