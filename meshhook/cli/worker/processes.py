"""Running worker processes: as many as wanted, again where one ends, anew where code changes."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook._backoff import backoff
from meshhook.cli.exits import HOPELESS, ExitCode
from meshhook.cli.output import counted

if TYPE_CHECKING:
    from anyio.abc import Process

    from meshhook.cli.watch import Watch
    from meshhook.cli.worker.options import WorkerOptions

log = logging.getLogger("meshhook.cli")

COMMAND = (sys.executable, "-m", "meshhook.cli.worker.child")

EXTRA_SECONDS = 30.0
"""How long beyond the grace period a process may take to stop before it is killed."""


@attrs.frozen(kw_only=True)
class RestartPolicy:
    """How long to wait before a process that ended is started again.

    Attributes:
        base_seconds: The pause after a first end.
        max_seconds: What a pause never exceeds.
        healthy_seconds: After a process that ran so long, the next pause is the first again.
    """

    base_seconds: float = 1.0
    max_seconds: float = 60.0
    healthy_seconds: float = 60.0

    def pause(self, ends: int) -> float:
        """Return the pause after so many ends in a row, in seconds."""
        return backoff(ends, self.base_seconds, self.max_seconds)


class Crew:
    """Worker processes that are kept running until a signal.

    Args:
        options: What each process is told.
        processes: How many there are.
        grace_seconds: How long their handlers may go on after a stop.
        watch: What tells of changed code, where it is followed.
        restart: When to start a process again.
    """

    def __init__(
        self,
        options: WorkerOptions,
        processes: int,
        *,
        grace_seconds: float = 30.0,
        watch: Watch | None = None,
        restart: RestartPolicy | None = None,
    ) -> None:
        self._options = options
        self._count = processes
        self._grace_seconds = grace_seconds
        self._watch = watch
        self._restart = restart or RestartPolicy()
        self._running: dict[int, Process] = {}
        self._stop_asked = anyio.Event()
        self._changed = anyio.Event()
        self._code = ExitCode.OK

    async def run(self) -> ExitCode:
        """Keep the processes running until SIGTERM or SIGINT, then stop them in order.

        A second signal cuts the waiting for handlers short.

        Returns:
            0 after a stop; the exit code of a process that another start would not mend.
        """
        with tempfile.TemporaryDirectory(prefix="meshhook-") as folder:
            if self._watch is None:  # whose worker fails in the same way after each change
                self._options = attrs.evolve(self._options, told_folder=folder)
            await self._run_all()
        return self._code

    async def _run_all(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._mind_signals)
            if self._watch is not None:
                group.start_soon(self._follow_changes, self._watch)
            async with anyio.create_task_group() as slots:
                for number in range(self._count):
                    slots.start_soon(self._keep, number)
            group.cancel_scope.cancel()

    async def _keep(self, number: int) -> None:
        ends = 0
        while not self._stop_asked.is_set():
            changed = self._changed
            begin = time.monotonic()
            code = await self._run_once(number)
            if self._stop_asked.is_set():
                return
            if changed.is_set():
                ends = 0
                continue
            ends = 1 if time.monotonic() - begin >= self._restart.healthy_seconds else ends + 1
            await self._after_end(number, code, self._restart.pause(ends))

    async def _after_end(self, number: int, code: int, pause: float) -> None:
        if self._watch is not None:
            log.warning("the worker %s; it starts again when the code changes", _ended(code))
            await self._first_of(self._stop_asked, self._changed)
        elif code in HOPELESS:
            log.error("process %d %s, which another start would not fix", number + 1, _ended(code))
            self._code = ExitCode(code)
            self._stop()
        else:
            log.warning("process %d %s; another in %.1f s", number + 1, _ended(code), pause)
            with anyio.move_on_after(pause):
                await self._stop_asked.wait()

    async def _run_once(self, number: int) -> int:
        process = await anyio.open_process(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=None,
            stderr=None,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        )
        log.info("process %d runs with pid %d", number + 1, process.pid)
        self._running[number] = process
        try:
            if self._stop_asked.is_set():
                process.terminate()
            await self._tell_options(process, number)
            return await process.wait()
        finally:
            del self._running[number]
            with anyio.CancelScope(shield=True):
                await process.aclose()

    async def _tell_options(self, process: Process, number: int) -> None:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        options = self._options_of(number)
        # One that has ended already tells why by its exit code.
        with contextlib.suppress(anyio.BrokenResourceError):
            await process.stdin.send(options.to_json().encode() + b"\n")

    def _options_of(self, number: int) -> WorkerOptions:
        if self._count == 1:
            return self._options
        settings = dict(self._options.settings)
        if settings.get("name"):
            settings["name"] = f"{settings['name']}-{number + 1}"
        port = self._options.monitoring_port
        return attrs.evolve(
            self._options, settings=settings, monitoring_port=port and port + number
        )

    def _stop(self) -> None:
        self._stop_asked.set()
        self._signal(signal.SIGTERM)

    def _processes(self) -> str:
        return counted(len(self._running), "process")

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _mind_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group:
                async for number in signals:
                    if not self._stop_asked.is_set():
                        log.info("%s: stopping %s", number.name, self._processes())
                        group.start_soon(self._kill_the_late)
                    self._stop()

    async def _kill_the_late(self) -> None:
        await anyio.sleep(self._grace_seconds + EXTRA_SECONDS)
        log.error("killing %s that did not stop", self._processes())
        self._signal(signal.SIGKILL)

    async def _follow_changes(self, watch: Watch) -> None:
        async for changed in watch.changes():
            log.warning("%s changed; starting the worker anew", changed)
            event, self._changed = self._changed, anyio.Event()
            event.set()
            self._signal(signal.SIGTERM)

    @staticmethod
    async def _first_of(*events: anyio.Event) -> None:
        async def wait(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for event in events:
                group.start_soon(wait, event)


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
