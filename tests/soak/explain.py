"""Why a delivery was never settled: every one that lapsed must have been made to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from tests.soak.behaviour import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.ledger import Delivery, Ledger, Receipt
    from tests.soak.story import Story

# The proxies see answers a little later than the database gives them.
TOLERANCE_SECONDS = 0.5


@attrs.frozen
class Explainer:
    """Looks for what was done to the worker that had a delivery."""

    story: Story
    ledger: Ledger

    def why_lapsed(self, receipt: Receipt) -> str | None:
        """Return why a delivery was never settled, None if nothing was done that explains it."""
        deliveries = self.ledger.deliveries.get(receipt)
        if not deliveries:
            return self._why_unheard(receipt)
        # What happens after the lease is over is not why it ended.
        over = self.ledger.held[receipt] + LEASE_SECONDS + TOLERANCE_SECONDS
        until = min(self.next_delivery(receipt), over)
        for delivery in deliveries:
            for reason in self._reasons(receipt, delivery, until):
                return reason
        return None

    def next_delivery(self, receipt: Receipt) -> float:
        """Return when the job was delivered again, as far as the proxies saw it."""
        msg_id, read_ct = receipt
        later = self.ledger.deliveries.get((msg_id, read_ct + 1))
        return later[0].at if later else math.inf

    def came_too_early(self, receipt: Receipt) -> bool:
        """Return whether a job was delivered again though its lease lived and nobody settled it."""
        msg_id, read_ct = receipt
        before = (msg_id, read_ct - 1)
        if before not in self.ledger.held or self.ledger.settled(before):
            return False
        over = self.ledger.held[before] + LEASE_SECONDS - TOLERANCE_SECONDS
        return self.ledger.deliveries[receipt][0].at < over

    def _reasons(self, receipt: Receipt, delivery: Delivery, until: float) -> Iterator[str]:
        story, worker, (msg_id, _) = self.story, delivery.worker, receipt
        if story.killed.get(worker, math.inf) < until:
            yield "crashed" if worker in story.crashed else "killed"
        if story.was_frozen(worker, delivery.at, until):
            yield "frozen"
        is_struck = story.was_struck(worker, self.ledger.held[receipt], until)
        if msg_id in story.given_up.get(worker, ()) and is_struck:
            yield "given up at a stop in an outage"
        if not delivery.passed and is_struck:
            yield "claimed, and the answer lost in an outage"
        if story.stopped_now.get(worker, math.inf) < until:
            yield "held by a worker that was asked to stop now"
        if is_struck and delivery.passed:
            yield "lease not extended in an outage"

    def _why_unheard(self, receipt: Receipt) -> str | None:
        """Return whether a claim whose answer nobody saw, not even the proxy, can explain it."""
        msg_id, read_ct = receipt
        before = self.ledger.deliveries.get((msg_id, read_ct - 1))
        begin = before[0].at if before else -math.inf
        end = self.next_delivery(receipt) - LEASE_SECONDS + TOLERANCE_SECONDS
        if any(begin < at < end for at in self.ledger.unheard_claims):
            return "claimed, and the answer lost with the gateway or the database"
        return None
