"""One run of a worker from its start to its end: in a task group, detached, or until a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import TYPE_CHECKING

import anyio

from meshhook.exceptions import MeshHookError
from meshhook.worker.stats import StopReport

if TYPE_CHECKING:
    from meshhook.worker.supervisor import Supervisor

log = logging.getLogger("meshhook.worker")


class Run:
    """A run of a worker.

    Args:
        supervisor: Runs the parts of the worker.

    Attributes:
        started: Set when it runs.
        ended: Set when it has stopped.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.started = anyio.Event()
        self.ended = anyio.Event()
        self._report: StopReport | None = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_detached = False

    def result(self) -> StopReport:
        """Return how the worker stopped, or raise what stopped it."""
        if self._error is not None:
            raise self._error
        return self._report or StopReport(reason="it was cut off")

    async def serve(self) -> None:
        """Work until the end; at a cancellation from outside, first stop cleanly."""
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
        """Work until the end, and raise the error that stopped the worker."""
        await self.serve()
        self.result()

    def serve_detached(self) -> None:
        """Work in a task of the event loop, outside of any task group."""
        self._is_detached = True
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
            if self._is_detached:  # nobody may be waiting for it
                log.error("the worker stops: %s", error)  # noqa: TRY400 - it names the fix
        finally:
            self.ended.set()

    async def handle_signals(self) -> None:
        """Stop at the first SIGTERM or SIGINT; at the second, wait no longer for handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if self.supervisor.is_stopping:
                    self.supervisor.stop_now()
                self.supervisor.stop(signal.Signals(number).name)
