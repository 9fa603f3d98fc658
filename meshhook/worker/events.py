"""Events of a worker, and the calls of the user's hooks with them."""

from __future__ import annotations

import inspect
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import anyio
import attrs

from meshhook.worker.failure import describe
from meshhook.worker.handler import is_async

if TYPE_CHECKING:
    from meshhook.models import Job
    from meshhook.worker.threads import HandlerThreads

__all__ = ["EventKind", "HookCaller", "WorkerEvent"]

log = logging.getLogger("meshhook.worker")

HOOK_SECONDS = 5.0
"""How long a hook may take for one event."""

FLUSH_SECONDS = 2.0
"""How long a stop waits until a hook has had all its calls."""

MAX_WAITING = 10_000
"""How many events may wait for a slow hook; further ones are dropped."""

MAX_ERRORS_WAITING = 1_000
"""How many errors may wait for a slow hook: each keeps its handler's variables in memory."""

MAX_DIFFERENT = 100
"""How many different failures of a hook are counted apart."""

MAX_HANGS = 3
"""A hook that takes too long this many times in a row is switched off."""

EventKind = Literal[
    "claimed",
    "started",
    "succeeded",
    "failed",
    "retried",
    "dead_lettered",
    "snoozed",
    "released",
    "lost",
    "given_up",
    "outage",
    "recovered",
    "blocked",
    "paused",
    "resumed",
    "worker_started",
    "worker_stopping",
    "worker_stopped",
]


@attrs.frozen(kw_only=True)
class WorkerEvent:
    """Something that happened in a worker.

    A failed attempt makes two events: ``failed``, and then ``retried`` or ``dead_lettered``. An
    event about an outcome comes once the database has confirmed the outcome. ``blocked`` comes when
    an event loop that was blocked runs again.

    Attributes:
        kind: What happened.
        worker: The worker's name.
        at: When it happened here.
        queue_name: The job's queue; None for an event that is not about a job.
        msg_id: The job's id.
        run_id: The job's run id.
        attempt: The number of the attempt.
        seconds: How long the handler took, the outage lasted, or the event loop was blocked, in
            seconds.
        error_type: The class of the error.
        error_message: What the error said, or what blocked the event loop.
        error: The exception of a failed attempt; None where there is none, as for an attempt whose
            worker died.
    """

    kind: EventKind
    worker: str
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    queue_name: str | None = None
    msg_id: int | None = None
    run_id: str | None = None
    attempt: int | None = None
    seconds: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)


Hook = Callable[[WorkerEvent], None] | Callable[[WorkerEvent], Awaitable[None]]

ErrorHook = (
    Callable[[BaseException, "Job"], None] | Callable[[BaseException, "Job"], Awaitable[None]]
)


@attrs.define(eq=False)
class HookCaller:
    """Calls a function of the user, one call after another, without delaying the jobs.

    An ``async def`` runs in the event loop, a plain one in a thread. What it raises is logged. A
    call that takes too long is cancelled, and a function that often takes too long is switched off.

    Args:
        name: The argument that the user gave the function as, such as ``on_event``.
        hook: The function, or None for none, at no cost.
        threads: Where a plain function runs.
        max_waiting: How many calls may wait for a slow function; further ones are dropped.
    """

    _name: str
    _hook: Callable[..., object] | None
    _threads: HandlerThreads
    _max_waiting: int = MAX_WAITING
    _waiting: deque[tuple[str, tuple[object, ...]]] = attrs.field(factory=deque, init=False)
    _is_async: bool = attrs.field(init=False)
    _failures: _Failures = attrs.field(init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _hangs: int = attrs.field(default=0, init=False)
    _arrived: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _called: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _busy: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._is_async = self._hook is not None and is_async(self._hook)
        self._failures = _Failures(self._name)

    @property
    def is_set(self) -> bool:
        """Whether there is anything to call."""
        return self._hook is not None

    def emit(self, what: str, *arguments: object) -> None:
        """Queue a call of the hook; never blocks.

        Args:
            what: What the call is about, for the log.
            *arguments: The arguments of the call.
        """
        if self._hook is None:
            return
        if len(self._waiting) >= self._max_waiting:
            self._dropped += 1
            if self._dropped == 1:
                log.warning("%s is too slow: some calls are dropped", self._name)
            return
        self._waiting.append((what, arguments))
        self._arrived.set()

    async def run(self) -> None:
        """Make the queued calls, until cancelled."""
        while True:
            while self._waiting:
                self._busy = True
                await self._call_in_time(*self._waiting.popleft())
                self._busy = False
                self._called.set()
            self._arrived = anyio.Event()
            await self._arrived.wait()

    async def flush(self) -> None:
        """Wait, for a limited time, until all calls are made; log how many were dropped."""
        with anyio.move_on_after(FLUSH_SECONDS):
            while self._waiting or self._busy:
                self._called = anyio.Event()
                await self._called.wait()
        self._failures.log_repeats()
        if self._dropped:
            log.warning("%s was too slow: %d calls were dropped", self._name, self._dropped)

    async def _call_in_time(self, what: str, arguments: tuple[object, ...]) -> None:
        with anyio.move_on_after(HOOK_SECONDS) as scope:
            try:
                await self._call(*arguments)
            except (anyio.get_cancelled_exc_class(), KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - a hook may raise anything, SystemExit too
                self._failures.note(error, what)
        if not scope.cancelled_caught:
            self._hangs = 0
            return
        self._hangs += 1
        log.error("%s took more than %g seconds for %s", self._name, HOOK_SECONDS, what)
        if self._hangs >= MAX_HANGS:
            log.error(
                "%s is switched off: it took too long %d times in a row", self._name, MAX_HANGS
            )
            self._hook = None
            self._waiting.clear()

    async def _call(self, *arguments: object) -> None:
        hook = self._hook
        if hook is None:
            return
        if self._is_async:
            result = hook(*arguments)
        else:
            result = await self._threads.run(lambda: hook(*arguments), lambda: None)
        if inspect.isawaitable(result):
            await result


class _Failures:
    """The failures of a hook: each different one is logged once in full, then counted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, error: BaseException, what: str) -> None:
        """Log a new failure in full; of a known one, log its count at 10, 100 and so on."""
        described = describe(error)
        failure = (described.error_type, _place(error))
        if failure not in self._counts and len(self._counts) >= MAX_DIFFERENT:
            failure = ("other errors", "other places")
        self._counts[failure] += 1
        times = self._counts[failure]
        if times == 1:
            text = "%s raised for %s: %s"
            log.error(text, self._name, what, described.message, exc_info=described.exc_info())
        elif times in _MILESTONES:
            log.error("%s has raised %s at %s %d times so far", self._name, *failure, times)

    def log_repeats(self) -> None:
        """Log how often each failure came that was logged only once."""
        for failure, times in self._counts.items():
            if times > 1:
                text = "%s raised %s at %s %d times; only the first is logged in full"
                log.error(text, self._name, *failure, times)
        self._counts.clear()


_MILESTONES = frozenset(10**power for power in range(1, 10))


def _place(error: BaseException) -> str:
    """Return the file and the line where an exception was raised."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    if frames is None:
        return "an unknown place"
    return f"{frames.tb_frame.f_code.co_filename}:{frames.tb_lineno}"
