"""The supervisor: builds the parts of a worker, runs them, and stops them in this order.

claimer      asks for jobs                              stops first
dispatcher   runs handlers                              has the grace period, then is cancelled
settler      sends outcomes to the database             goes on until all are confirmed
lease keeper extends the leases of all jobs in flight   goes on while there are any
watchdog     does so, and warns, while the loop is blocked    stops with the rest
prefetch     adapts how many jobs are asked for               stops with the rest
housekeeper  deletes old history                              stops with the rest
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Protocol

import anyio

from meshhook._calls import settle
from meshhook._http.twin import Twin
from meshhook.exceptions import MeshHookError
from meshhook.worker.claim import Claimer
from meshhook.worker.dispatch import Dispatcher
from meshhook.worker.events import MAX_ERRORS_WAITING, HookCaller
from meshhook.worker.execute import Executor
from meshhook.worker.health import Health
from meshhook.worker.heartbeat import Heartbeat
from meshhook.worker.housekeeping import Housekeeper
from meshhook.worker.in_flight import InFlight
from meshhook.worker.lease import LeaseKeeper
from meshhook.worker.prefetch import Prefetch
from meshhook.worker.queues import Turns, WorkedQueue
from meshhook.worker.reporter import Reporter
from meshhook.worker.settle import Settler
from meshhook.worker.stats import StopReport
from meshhook.worker.thread_lease import ThreadLeaseKeeper
from meshhook.worker.threads import HandlerThreads
from meshhook.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from meshhook.worker.settings import Settings


STOP_NOW_SECONDS = 1.0
"""How long each step takes, at most, once the worker must stop now."""

LAST_HEARTBEAT_SECONDS = 1.0
"""How long a worker that stops tries to report that, at most."""


class Part(Protocol):
    """A part of a worker."""

    async def run(self) -> None:
        """Run until cancelled."""


class Supervisor:
    """Builds the parts of one worker, runs them, and stops them one after another.

    Args:
        settings: The worker's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop_asked = anyio.Event()
        self._stop_now_asked = anyio.Event()
        self._reason = ""
        self._error: MeshHookError | None = None
        self._threads = HandlerThreads()
        self._in_flight = InFlight(settings.concurrency + (settings.prefetch or 0))
        self._hooks = (
            HookCaller("on_event", settings.on_event, self._threads),
            HookCaller("on_error", settings.on_error, self._threads, MAX_ERRORS_WAITING),
        )
        self.reporter = Reporter(
            settings.name, Health(), *self._hooks, log_tracebacks=settings.log_tracebacks
        )
        queues = tuple(
            WorkedQueue(name, weight, vt_seconds=settings.vt_seconds or 30.0)
            for name, weight in settings.weights.items()
        )
        transport = settings.transport
        self._settler = Settler(transport, self._in_flight, self.reporter)
        self._heartbeat = heartbeat = Heartbeat(settings, self.reporter)
        self._lease = LeaseKeeper(transport, queues, self._in_flight, self.reporter, heartbeat)
        thread_lease = ThreadLeaseKeeper(
            Twin(transport.client), self._in_flight, self.reporter, heartbeat
        )
        self._watchdog = Watchdog(queues, self._in_flight, thread_lease, self.reporter)
        self._housekeeper = Housekeeper(transport, queues, self.reporter)
        executor = Executor(settings, self._threads, self._in_flight, self.reporter)
        self._dispatcher = Dispatcher(
            settings.concurrency, executor, self._settler, self._in_flight, self.reporter
        )
        self._settler.pass_on = self._dispatcher.pass_on
        self._prefetch = Prefetch(
            settings.concurrency, self._in_flight, self._dispatcher, self.reporter
        )
        self._claimer = Claimer(
            settings,
            Turns(queues),
            self._in_flight,
            self._settler,
            self.reporter,
            heartbeat,
            pass_on=self._dispatcher.pass_on,
            prefetch=self._prefetch if self._prefetches_by_load else None,
            finish=self.stop,
        )

    def stop(self, reason: str) -> None:
        """Ask the worker to stop; never blocks. The first reason is kept."""
        self._reason = self._reason or reason
        self._stop_asked.set()

    def stop_now(self) -> None:
        """Ask a worker that is stopping to wait no longer for its handlers; never blocks."""
        self._stop_now_asked.set()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stop_asked.is_set()

    async def operate(self, started: anyio.Event) -> StopReport:
        """Work until a stop is asked for, then stop the parts in order.

        It cannot be cancelled from outside: code that wants it to end calls `stop`, and every step
        of a stop has a time limit.

        Args:
            started: Set when the parts run.

        Returns:
            How it stopped.

        Raises:
            MeshHookError: The error that stopped the worker.
        """
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as parts:
                for part in self._parts():
                    name = f"meshhook {type(part).__name__}"
                    parts.start_soon(self._run_part, part.run, name=name)
                self.reporter.started_to_work()
                started.set()
                await self._stop_asked.wait()
                self.reporter.stopping(type(self._error).__name__ if self._error else self._reason)
                report = await self._wind_down()
                self.reporter.stopped(report)
                async with anyio.create_task_group() as both:
                    for hook in self._hooks:
                        both.start_soon(hook.flush)
                parts.cancel_scope.cancel()
            self._threads.close()
        if self._error is not None:
            raise self._error
        return report

    @property
    def _prefetches_by_load(self) -> bool:
        # Jobs that prefetch hands back would count towards the limit of a drain.
        is_limited = self._settings.drain is not None and self._settings.drain.max_jobs < math.inf
        return self._settings.prefetch is None and not is_limited

    def _parts(self) -> Iterator[Part]:
        yield from (hook for hook in self._hooks if hook.is_set)
        yield from (self._watchdog, self._lease)
        yield from (self._settler, self._dispatcher, self._claimer)
        if self._prefetches_by_load:
            yield self._prefetch
        if self._settings.drain is None:  # a drain ends too soon for housekeeping
            yield self._housekeeper

    async def _run_part(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part; its error stops the worker, as cleanly as any other stop."""
        try:
            await run()
        except MeshHookError as error:
            self._error = self._error or error
            self.stop(str(error))

    async def _wind_down(self) -> StopReport:
        finished = self.reporter.count("processed")
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._abort_claim_when_asked)
            self._dispatcher.close()
            self._claimer.stop()
            self._settler.stop()
            self._dispatcher.release_waiting()
            async with anyio.create_task_group() as both:
                both.start_soon(self._wait_for_claim)
                both.start_soon(self._wait_for_handlers)
            self._dispatcher.release_waiting()
            until = anyio.current_time() + self._limit(self._settings.settle_seconds)
            await self._wait_for_settlement(until)
            await self._send_last_heartbeat(until)
            watch.cancel_scope.cancel()
        return StopReport(
            reason=self._reason,
            finished=self.reporter.count("processed") - finished,
            released=self.reporter.count("released"),
            given_up=tuple(delivery.key for delivery in self._in_flight if not delivery.lost),
        )

    async def _abort_claim_when_asked(self) -> None:
        await self._stop_now_asked.wait()
        # A claim that is cancelled may still reach the database, after the jobs here were handed
        # back; then it hides them again until the lease ends. So it gets a moment.
        await anyio.sleep(STOP_NOW_SECONDS)
        self._claimer.abort()

    async def _wait_for_claim(self) -> None:
        """Wait for a claim under way, for as long as for handlers; release the jobs it brings."""
        with anyio.move_on_after(max(STOP_NOW_SECONDS, self._settings.grace_seconds)):
            await self._claimer.ended.wait()
        self._claimer.abort()
        await self._claimer.ended.wait()
        self._dispatcher.release_waiting()

    async def _wait_for_handlers(self) -> None:
        async with anyio.create_task_group() as race:
            race.start_soon(self._cancel_when_asked, race.cancel_scope)
            with anyio.move_on_after(self._settings.grace_seconds):
                await self._dispatcher.wait_idle()
            race.cancel_scope.cancel()
        self._dispatcher.release_running()
        with anyio.move_on_after(self._limit(self._settings.cancel_seconds)):
            await self._dispatcher.wait_idle()

    async def _cancel_when_asked(self, scope: anyio.CancelScope) -> None:
        await self._stop_now_asked.wait()
        scope.cancel()

    async def _wait_for_settlement(self, until: float) -> None:
        """Wait until all outcomes are confirmed; a handler that does not end has none."""
        stubborn = self._dispatcher.running()
        with anyio.CancelScope(deadline=until):
            while len(self._in_flight) > len(stubborn):
                await self._in_flight.wait_change()
                self._dispatcher.release_waiting()
        for delivery in stubborn:
            self.reporter.gave_up(delivery, "its handler does not end")

    async def _send_last_heartbeat(self, until: float) -> None:
        """Report that the worker has stopped; after an error it stays listed, as gone."""
        last = self._heartbeat.last()
        is_reachable = self.reporter.stats().unhealthy_since is None
        if last is None or self._error is not None or not is_reachable:
            return
        call = settle.extend(next(iter(self._settings.weights)), (), 0, last)
        # A drain with little time keeps most of it for its jobs.
        patience = min(LAST_HEARTBEAT_SECONDS, self._settings.settle_seconds / 5)
        until = min(until, anyio.current_time() + patience)
        with anyio.CancelScope(deadline=until), contextlib.suppress(MeshHookError):
            await self._settings.transport.call(call)

    def _limit(self, seconds: float) -> float:
        return min(STOP_NOW_SECONDS, seconds) if self._stop_now_asked.is_set() else seconds
