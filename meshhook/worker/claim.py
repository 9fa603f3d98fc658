"""The claimer: asks for as many jobs as there is room for, from the queue whose turn it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import attrs

from meshhook._calls.settle_and_claim import settle_and_claim
from meshhook._http.repeat import Repeated
from meshhook.exceptions import RejectedError, RequestError
from meshhook.worker.health import Backoff
from meshhook.worker.in_flight import InFlightJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshhook._calls.base import Call
    from meshhook._calls.claim import Claim
    from meshhook._calls.settle_and_claim import SettledAndClaimed
    from meshhook.worker.heartbeat import Heartbeat
    from meshhook.worker.in_flight import InFlight
    from meshhook.worker.prefetch import Prefetch
    from meshhook.worker.queues import Turns, WorkedQueue
    from meshhook.worker.reporter import Reporter
    from meshhook.worker.settings import Drain, Settings
    from meshhook.worker.settle import Batch, Settler

MAX_CLAIM = 500
"""How many jobs one claim asks for, at most."""

LINGER_SECONDS = 0.02
"""How long a claim waits for more room, at most."""

LINGER_SHARE = 0.05
"""How long it waits, at most, as a share of the time that a job takes."""


class Asked:
    """A claim that is sent until it is answered.

    Args:
        batch: The outcomes that it settles on the way.
        quantity: How many jobs it asks for.
        make: Makes the call.
    """

    def __init__(
        self, batch: Batch, quantity: int, make: Callable[[], Call[SettledAndClaimed]]
    ) -> None:
        self.batch = batch
        self.quantity = quantity
        self.sent_at = 0.0
        self._repeated = Repeated(make)

    def call(self) -> Call[SettledAndClaimed]:
        """Return the call to send now."""
        self.sent_at = time.monotonic()
        return self._repeated.call()

    def batch_as_answered(self) -> Batch:
        """Return its outcomes, and whether an earlier call may have settled them."""
        return self.batch.answered(is_renewed=self._repeated.is_renewed)


class Lane:
    """Claims that are sent one after another.

    Attributes:
        unanswered: The claim of each queue that is sent again until it is answered.
        backoff: The pauses before it is sent again.
        asking: Cancels the wait for an answer.
    """

    def __init__(self) -> None:
        self.unanswered: dict[str, Asked] = {}
        self.backoff = Backoff()
        self.asking = anyio.CancelScope()


@attrs.define(eq=False)
class Claimer:
    """Polls the queues and passes the jobs on; each claim settles the outcomes that are ready.

    There are two lanes. In the first, one claim follows another. The second is used while there is
    a backlog: the database then works on the next claim while this process still decodes the answer
    to the last. Two claims may be answered in any order, so a worker that must keep the order of
    its jobs has no second lane.

    Error handling: an outage is waited out with growing pauses. The claim that it hit is sent again
    under the same request id, so that the database hands out the jobs of a lost answer again. An
    error that waiting does not fix is raised.

    Args:
        settings: The worker's settings.
        turns: The queues, and whose turn it is.
        in_flight: The jobs in flight; how many more there is room for.
        settler: Gives the outcomes that a claim takes along.
        reporter: Counts, logs and emits events.
        heartbeat: Goes with a claim every few seconds.
        pass_on: Called with each claimed job.
        prefetch: Adapts the room to the load; None if the room is fixed.
        finish: Called with the reason when a drain has done enough.

    Attributes:
        ended: Set when no claim is under way any longer.
    """

    _settings: Settings
    _turns: Turns
    _in_flight: InFlight
    _settler: Settler
    _reporter: Reporter
    _heartbeat: Heartbeat
    _pass_on: Callable[[InFlightJob], None]
    _prefetch: Prefetch | None
    _finish: Callable[[str], None]
    ended: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _claimed: int = attrs.field(default=0, init=False)
    _found: int = attrs.field(default=0, init=False)
    _has_backlog: bool = attrs.field(default=False, init=False)
    _first: Lane = attrs.field(factory=Lane, init=False)
    _second: Lane = attrs.field(factory=Lane, init=False)
    _waiting: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)
    _failure: RequestError | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Claim until stopped, or until enough is done.

        Raises:
            RequestError: A claim failed, and waiting does not fix it.
        """
        try:
            with self._waiting:
                async with anyio.create_task_group() as lanes:
                    lanes.start_soon(self._run_lane, self._claim_ahead)
                    await self._run_lane(self._claim_in_turn)
                    lanes.cancel_scope.cancel()
        finally:
            for lane in (self._first, self._second):
                for asked in lane.unanswered.values():
                    self._settler.resubmit(asked.batch)
            self.ended.set()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Claim no more. A claim under way is waited for, since its jobs must be handed back."""
        self._waiting.cancel()

    def abort(self) -> None:
        """Wait for nothing any longer, not even for a claim under way."""
        self._waiting.cancel()
        for lane in (self._first, self._second):
            lane.asking.cancel()

    async def _run_lane(self, claim: Callable[[], Awaitable[None]]) -> None:
        try:
            await claim()
        except RequestError as error:
            self._failure = self._failure or error
            self._waiting.cancel()

    async def _claim_in_turn(self) -> None:
        drain = self._settings.drain
        if drain is None:
            await self._claim_until_stopped()
        else:
            self._finish(await self._claim_enough(drain))

    async def _claim_ahead(self) -> None:
        while True:
            while not self._is_worth_another():
                await self._in_flight.wait_change()
            (queue, *_) = self._turns.due()
            await self._poll(queue, MAX_CLAIM, self._second)
            while self._second.unanswered:
                await self._poll(queue, MAX_CLAIM, self._second)

    def _is_worth_another(self) -> bool:
        """Return whether a second claim would probably be answered in full, too."""
        drain = self._settings.drain
        return (
            self._has_backlog
            and self._settings.concurrency > 1
            and self._room() >= MAX_CLAIM
            and self._turns.next_due() <= time.monotonic()
            and (drain is None or self._may_begin(drain))
        )

    def _room(self) -> float:
        """Return how many more jobs may be claimed."""
        drain = self._settings.drain
        if drain is None:
            return self._in_flight.free
        return min(self._in_flight.free, drain.max_jobs - self._claimed - self._in_flight.asked_for)

    async def _claim_until_stopped(self) -> None:
        while True:
            await self._in_flight.wait_free()
            await self._linger()
            await anyio.sleep(max(0.0, self._turns.next_due() - time.monotonic()))
            for queue in self._turns.due():
                if room := self._in_flight.free:
                    await self._poll(queue, room, self._first)

    async def _claim_enough(self, drain: Drain) -> str:
        """Claim until the queues are empty or the drain is at its limit; return why it ended."""
        while True:
            await self._in_flight.wait_free()
            await self._linger()
            if self._claimed + self._in_flight.asked_for >= drain.max_jobs:
                await self._in_flight.wait_empty()
                if self._claimed >= drain.max_jobs:
                    return "max_jobs"
            if not self._may_begin(drain):
                await self._in_flight.wait_empty()
                return "no time for another job"
            if not self._in_flight.is_empty:
                # A handler may enqueue more jobs, so the queues are asked again when all are done.
                with anyio.move_on_after(max(0.0, self._turns.next_due() - time.monotonic())):
                    await self._in_flight.wait_empty()
            has_found = await self._poll_all()
            # A claim without an answer says nothing, and may have jobs that only its repeat brings.
            if not has_found and self._in_flight.is_empty and not self._first.unanswered:
                return "empty"

    async def _poll_all(self) -> bool:
        """Ask every queue while there is room; return whether any had jobs."""
        before = self._found
        for queue in self._turns.all():
            room = int(min(self._room(), MAX_CLAIM))
            if room >= 1:
                await self._poll(queue, room, self._first)
        return self._found > before

    def _may_begin(self, drain: Drain) -> bool:
        """Return whether a job that takes as long as the others so far would end in time."""
        return time.monotonic() + self._reporter.typical_seconds() < drain.begin_until

    async def _linger(self) -> None:
        """Wait a little for more room, if other jobs are about to end: fuller claims cost less."""
        pause = min(LINGER_SECONDS, LINGER_SHARE * self._reporter.typical_seconds())
        if self._in_flight.free < self._in_flight.capacity / 2:
            await anyio.sleep(pause)

    async def _poll(self, queue: WorkedQueue, room: int, lane: Lane) -> None:
        asked = lane.unanswered.get(queue.name) or self._asked(queue, min(room, MAX_CLAIM))
        lane.unanswered[queue.name] = asked
        with self._in_flight.reserved(asked.quantity):
            await self._send(queue, asked, lane)

    async def _send(self, queue: WorkedQueue, asked: Asked, lane: Lane) -> None:
        try:
            answer = await self._ask_in_time(asked, lane)
        except RejectedError:
            # The database refuses an outcome; the settler finds out which.
            del lane.unanswered[queue.name]
            if not asked.batch.settlements:
                raise
            self._settler.resubmit(asked.batch)
            return
        except RequestError as error:
            self._reporter.failed(error, "claim", asked.sent_at)
            await anyio.sleep(lane.backoff.failed(error))
            return
        del lane.unanswered[queue.name]
        lane.backoff.succeeded()
        self._reporter.answered("claim")
        self._settler.confirmed(asked.batch_as_answered(), answer.statuses)
        taken = self._take(queue, answer.claim, asked.sent_at)
        is_short = answer.claim.is_short_of(asked.quantity)
        if self._prefetch is not None:
            self._prefetch.claimed(taken, is_full=not is_short)
        self._has_backlog = asked.quantity == MAX_CLAIM and not is_short
        if is_short:
            queue.note_short_claim(asked.sent_at, self._settings.poll_interval_seconds)

    async def _ask_in_time(self, asked: Asked, lane: Lane) -> SettledAndClaimed:
        """Ask; ask again if the event loop was blocked until the leases in the answer had ended.

        The repeat hands out under new leases the jobs that no other worker has claimed since.
        """
        answer = await self._ask(asked.call(), lane)
        if answer.claim.jobs and time.monotonic() > asked.sent_at + answer.claim.vt_seconds:
            answer = await self._ask(asked.call(), lane)
        return answer

    async def _ask(self, call: Call[SettledAndClaimed], lane: Lane) -> SettledAndClaimed:
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope(shield=True) as lane.asking:
            return await self._settings.transport.call(call)
        # Aborted: the scope around this one is cancelled too, and raises here.
        await anyio.lowlevel.checkpoint()
        raise AssertionError

    def _asked(self, queue: WorkedQueue, quantity: int) -> Asked:
        batch = self._settler.take_along(queue.name)
        strategy = self._settings.strategy
        return Asked(
            batch,
            quantity,
            lambda: settle_and_claim(
                queue.name,
                batch.outcomes,
                quantity,
                self._settings.vt_seconds,
                max_attempts=strategy.max_attempts if strategy else None,
                worker=self._heartbeat.due(),
            ),
        )

    def _take(self, queue: WorkedQueue, answer: Claim, asked_at: float) -> list[InFlightJob]:
        if queue.update_from(answer):
            self._reporter.paused(queue.name, is_paused=answer.paused)
        self._claimed += len(answer.jobs)
        self._found += len(answer.jobs) + len(answer.dead_lettered)
        for msg_id, error in answer.dead_lettered:
            self._reporter.dead_lettered(queue, msg_id, error)
        # The database counts a lease from when the call arrived. Counted from when it was sent, the
        # lease ends here first, which is the safe side.
        lease_ends = asked_at + queue.vt_seconds
        size = answer.bytes / max(1, len(answer.jobs))
        taken: list[InFlightJob] = []
        for job in answer.jobs:
            delivery = InFlightJob(job, queue, lease_ends, size)
            if self._needs_handler(delivery):
                taken.append(delivery)
                self._pass_on(delivery)
        return taken

    def _needs_handler(self, delivery: InFlightJob) -> bool:
        """Return whether a delivery is for a handler, and not the same job again that runs here."""
        earlier = self._in_flight.get(delivery.job)
        if earlier is None:
            return True
        if earlier.settling:
            earlier.successor = delivery
            return False
        if earlier.renew(delivery.job, delivery.lease_ends):
            return False
        if not (earlier.lost or earlier.released):
            self._reporter.lost(earlier, "another worker has read the job in between")
            earlier.lose()
        return True
