"""The one place that settles jobs.

Outcomes are sent in batches: while one call is on its way, those that come in the meantime wait for
the next. So a lone job is settled at once, and a busy worker needs few calls.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import anyio
import attrs

from meshhook._calls import settle
from meshhook.exceptions import OutageError, RejectedError, UnexpectedAnswerError
from meshhook.worker.health import Backoff, Repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshhook._calls.settle import Outcome
    from meshhook._transport import Transport
    from meshhook.worker.held import Hand, HeldJob
    from meshhook.worker.reporter import Reporter

    Settlement = tuple[HeldJob, Outcome]

MAX_BATCH = 1000


class Settler:
    """Sends outcomes to the database until it has confirmed them.

    Args:
        transport: What sends each call once.
        hand: The jobs in hand, from which a settled one is dropped.
        reporter: Who is told.
    """

    def __init__(self, transport: Transport, hand: Hand, reporter: Reporter) -> None:
        self._transport = transport
        self._hand = hand
        self._reporter = reporter
        self._pending: defaultdict[str, list[Settlement]] = defaultdict(list)
        self._arrived = anyio.Event()
        self._pass_on: Callable[[HeldJob], None] = hand.drop

    def pass_successors_on(self, pass_on: Callable[[HeldJob], None]) -> None:
        """Say what is called with the next delivery of a job when the last one is settled.

        Args:
            pass_on: What is called.
        """
        self._pass_on = pass_on

    def submit(self, held: HeldJob, outcome: Outcome) -> None:
        """Have a job settled; returns at once.

        Args:
            held: The job.
            outcome: What becomes of it.
        """
        held.settling = True
        self._pending[held.job.queue_name].append((held, outcome))
        self._arrived.set()

    async def run(self) -> None:
        """Settle what comes, for ever.

        Raises:
            RequestError: A call failed with what waiting does not mend.
        """
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            for queue_name in tuple(self._pending):
                while batch := self._pending[queue_name][:MAX_BATCH]:
                    del self._pending[queue_name][:MAX_BATCH]
                    await self._settle(queue_name, batch)

    async def _settle(self, queue_name: str, batch: Sequence[Settlement]) -> None:
        try:
            statuses = await self._send(queue_name, [outcome for _, outcome in batch])
        except RejectedError as error:
            await self._settle_rest(queue_name, batch, error)
            return
        for (held, outcome), status in zip(batch, statuses, strict=True):
            self._confirmed(held, outcome, status)

    async def _settle_rest(
        self, queue_name: str, batch: Sequence[Settlement], error: RejectedError
    ) -> None:
        """One outcome that the database refuses must not keep the others from being settled."""
        if len(batch) == 1:
            held, _ = batch[0]
            self._reporter.gave_up(held, str(error))
            self._let_go(held)
            return
        for settlement in batch:
            await self._settle(queue_name, [settlement])

    async def _send(self, queue_name: str, outcomes: Sequence[Outcome]) -> list[str]:
        repeated = Repeated(lambda: settle.settle(queue_name, outcomes))
        backoff = Backoff()
        while True:
            try:
                statuses = await self._transport.run(repeated.call())
            except (OutageError, UnexpectedAnswerError) as error:
                self._reporter.outage(error, news=False)
                await anyio.sleep(backoff.failed(error))
            else:
                # Where an older try may have been carried out without our hearing of it, a job that
                # is gone was settled by us.
                return ["ok" if repeated.is_renewed and s == "missing" else s for s in statuses]

    def _confirmed(self, held: HeldJob, outcome: Outcome, status: str) -> None:
        if status == "lost" and held.successor is not None:
            # We ourselves had claimed the job again before this arrived.
            held.job, held.successor = held.successor.job, None
            self.submit(held, attrs.evolve(outcome, read_ct=held.job.read_ct))
            return
        if status == "ok":
            self._reporter.settled(held, outcome)
        elif not held.lost:
            held.lost = True
            self._reporter.lost(held, f"its outcome ({outcome.outcome}) came too late: {status}")
        self._let_go(held)

    def _let_go(self, held: HeldJob) -> None:
        self._hand.drop(held)
        if held.successor is not None:
            self._pass_on(held.successor)
