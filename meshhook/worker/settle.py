"""The settler: the one place that settles jobs.

Outcomes are sent in batches. A claim takes along the outcomes that are ready when it is sent, so a
busy worker settles and claims in one round trip. Outcomes that no claim takes soon are sent alone.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook._calls import settle
from meshhook._http.repeat import Repeated
from meshhook.exceptions import RejectedError, RequestError
from meshhook.worker.health import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshhook._calls.settle import Outcome
    from meshhook._http.transport import Transport
    from meshhook.worker.in_flight import InFlight, InFlightJob
    from meshhook.worker.reporter import Reporter

    Settlement = tuple[InFlightJob, Outcome]

MAX_BATCH = 1000
"""How many outcomes one call settles, at most."""

MAX_BATCH_CHARACTERS = 1_000_000
"""About how long the texts of all errors in one call are together, at most."""

LINGER_SECONDS = 0.02
"""How long an outcome waits for a claim that takes it along, at most."""

STOPPING_SECONDS = 0.1
"""How long the settler waits before the next try while the worker stops."""


@attrs.frozen
class Batch:
    """Outcomes of one queue that are sent together.

    Attributes:
        queue_name: The queue.
        settlements: Each job with its outcome.
        may_be_done: Whether they were sent before without an answer, so that the database may have
            settled them already. A job that is missing was settled by us then.
    """

    queue_name: str
    settlements: tuple[Settlement, ...] = ()
    may_be_done: bool = False

    def answered(self, *, is_renewed: bool) -> Batch:
        """Return the batch for an answer; *is_renewed* if an earlier request id may have worked."""
        return attrs.evolve(self, may_be_done=self.may_be_done or is_renewed)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of the jobs, in order."""
        return [outcome for _, outcome in self.settlements]


@attrs.define(eq=False)
class Settler:
    """Sends outcomes to the database until it has confirmed them.

    A worker can claim a job again while the outcome of its earlier delivery is being sent: the
    lease ended on the way, or a retry was visible at once. Which of the two reached the database
    first, only the answer to the outcome shows. So the new delivery waits as the `successor` of the
    earlier one. If the outcome was settled, the successor is a new attempt and gets a handler. If
    the answer is ``lost``, our own claim made the receipt stale: the outcome is sent again with the
    receipt of the successor, and the job is not run twice.

    Args:
        transport: Sends each call once.
        in_flight: The jobs in flight; settled ones are removed.
        reporter: Counts, logs and emits events.

    Attributes:
        pass_on: Called with the successor of a delivery that is settled; to be set before it runs.
    """

    _transport: Transport
    _in_flight: InFlight
    _reporter: Reporter
    pass_on: Callable[[InFlightJob], None] = attrs.field(init=False)
    _pending: defaultdict[str, deque[Settlement]] = attrs.field(
        factory=lambda: defaultdict(deque), init=False
    )
    _returned: deque[Batch] = attrs.field(factory=deque, init=False)
    _arrived: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _stopping: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    def stop(self) -> None:
        """Make only short pauses from now on: the worker stops."""
        self._stopping.set()

    def submit(self, delivery: InFlightJob, outcome: Outcome) -> None:
        """Queue an outcome to be sent; never blocks."""
        delivery.settling = True
        self._pending[delivery.job.queue_name].append((delivery, outcome))
        self._arrived.set()

    def take_along(self, queue_name: str) -> Batch:
        """Return outcomes of a queue for one call, possibly none.

        The caller sends them, and then passes the answer to `confirmed`, or calls `resubmit`.
        """
        pending = self._pending[queue_name]
        batch: list[Settlement] = []
        characters = 0
        while pending and len(batch) < MAX_BATCH and characters < MAX_BATCH_CHARACTERS:
            delivery, outcome = pending.popleft()
            batch.append((delivery, outcome))
            characters += len(outcome.error_message or "") + len(outcome.error_stack or "")
        return Batch(queue_name, tuple(batch))

    def resubmit(self, batch: Batch) -> None:
        """Queue the outcomes of a claim again that got no answer."""
        if batch.settlements:
            self._returned.append(attrs.evolve(batch, may_be_done=True))
            self._arrived.set()

    def confirmed(self, batch: Batch, statuses: Sequence[str]) -> None:
        """Act on the database's answer to a batch: ``ok``, ``lost`` or ``missing`` for each."""
        for (delivery, outcome), status in zip(batch.settlements, statuses, strict=True):
            is_done = status == "missing" and batch.may_be_done
            self._confirmed(delivery, outcome, "ok" if is_done else status)

    async def run(self) -> None:
        """Settle the outcomes that no claim takes along, until cancelled.

        Raises:
            RequestError: A call failed, and waiting does not fix it.
        """
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            if self._a_claim_comes():
                await anyio.sleep(LINGER_SECONDS)
            while self._returned:
                await self._settle(self._returned.popleft())
            for queue_name in tuple(self._pending):
                while (batch := self.take_along(queue_name)).settlements:
                    await self._settle(batch)

    def _a_claim_comes(self) -> bool:
        """Return whether claims will soon take along all outcomes that wait."""
        soon = time.monotonic() + LINGER_SECONDS
        return not self._returned and all(
            settlements[0][0].queue.next_poll < soon
            for settlements in self._pending.values()
            if settlements
        )

    async def _settle(self, batch: Batch) -> None:
        repeated = Repeated(lambda: settle.settle(batch.queue_name, batch.outcomes))
        try:
            statuses = await self._send(repeated)
        except RejectedError as error:
            await self._settle_rest(batch, error)
        else:
            self.confirmed(batch.answered(is_renewed=repeated.is_renewed), statuses)

    async def _settle_rest(self, batch: Batch, error: RejectedError) -> None:
        """Settle each outcome alone, so that a refused one does not hold up the others."""
        if len(batch.settlements) == 1:
            delivery, _ = batch.settlements[0]
            self._reporter.gave_up(delivery, str(error))
            self._remove(delivery)
            return
        for settlement in batch.settlements:
            await self._settle(attrs.evolve(batch, settlements=(settlement,)))

    async def _send(self, repeated: Repeated[list[str]]) -> list[str]:
        backoff = Backoff()
        while True:
            sent_at = time.monotonic()
            try:
                statuses = await self._transport.call(repeated.call())
            except RejectedError:
                self._reporter.answered("settle")
                raise
            except RequestError as error:
                self._reporter.failed(error, "settle", sent_at)
                await self._pause(backoff.failed(error))
            else:
                self._reporter.answered("settle")
                return statuses

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stopping.wait()
            await anyio.sleep(STOPPING_SECONDS)

    def _confirmed(self, delivery: InFlightJob, outcome: Outcome, status: str) -> None:
        if status == "lost" and delivery.successor is not None:
            # Our own claim came first: the job is ours still, under the receipt of the successor.
            delivery.job, delivery.successor = delivery.successor.job, None
            self.submit(delivery, attrs.evolve(outcome, read_ct=delivery.job.read_ct))
            return
        if status == "ok":
            self._reporter.settled(delivery, outcome)
        elif not delivery.lost:
            delivery.lost = True
            self._reporter.lost(
                delivery, f"its outcome ({outcome.outcome}) came too late: {status}"
            )
        self._remove(delivery)

    def _remove(self, delivery: InFlightJob) -> None:
        self._in_flight.drop(delivery)
        if delivery.successor is not None:
            self.pass_on(delivery.successor)
