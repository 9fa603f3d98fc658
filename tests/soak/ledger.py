"""The ledger: what the proxies saw the database hand out and take back, receipt by receipt."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs

from tests.faults import verbs

if TYPE_CHECKING:
    from tests.network.proxy import Exchange
    from tests.network.wire import Message

WORKER_HEADER = "x-soak-worker"

OK = 200

ENDINGS = {"complete", "dead_letter"}

Receipt = tuple[int, int]


@attrs.frozen
class Delivery:
    """A job in an answer to a claim."""

    at: float
    worker: str
    attempt: int
    passed: bool


@attrs.frozen
class Settle:
    """An outcome that the database has answered."""

    at: float
    worker: str
    outcome: str
    status: str
    request_id: str


class Ledger:
    """Notes claims and settles that pass through the proxies.

    Attributes:
        deliveries: By receipt: usually one, more where an answer was lost and asked for again.
        settles: By receipt.
        held: By receipt, when a claim or an extension of the lease was last answered.
        unheard_claims: When claims ended that were sent on and that the proxy got no good answer
            to: what the database handed out under them nobody knows.
        unheard_settles: The jobs in settles of which the same is true.
        calls: How many requests there were.
    """

    def __init__(self) -> None:
        self.deliveries: defaultdict[Receipt, list[Delivery]] = defaultdict(list)
        self.settles: defaultdict[Receipt, list[Settle]] = defaultdict(list)
        self.held: dict[Receipt, float] = {}
        self.unheard_claims: list[float] = []
        self.unheard_settles: set[int] = set()
        self.calls = 0

    def observe(self, exchange: Exchange) -> None:
        """Note what an exchange did."""
        self.calls += 1
        function = exchange.request.function
        if exchange.answer is not None and exchange.answer.status == OK:
            self._note(function, exchange, exchange.answer.data)
        elif exchange.sent_on:
            self._note_unheard(function, exchange)

    def _note(self, function: str, exchange: Exchange, answer: Any) -> None:
        match function:
            case "meshhook_dequeue":
                self._note_deliveries(exchange, answer)
            case "meshhook_settle":
                self._note_settles(exchange, answer)
            case "meshhook_settle_and_dequeue":
                self._note_settles(exchange, answer["statuses"])
                self._note_deliveries(exchange, answer["claim"])
            case "meshhook_extend":
                self._note_extensions(exchange, answer)

    def _note_unheard(self, function: str, exchange: Exchange) -> None:
        if "meshhook_dequeue" in verbs(function):
            self.unheard_claims.append(time.monotonic())
        if "meshhook_settle" in verbs(function):
            outcomes = exchange.request.data["outcomes"]
            self.unheard_settles.update(outcome["msg_id"] for outcome in outcomes)

    def _note_deliveries(self, exchange: Exchange, answer: Any) -> None:
        at, worker = exchange.answered_at, worker_of(exchange.request)
        for job in answer["jobs"]:
            receipt = job["msg_id"], job["read_ct"]
            delivery = Delivery(at, worker, job["attempt"], exchange.passed)
            self.deliveries[receipt].append(delivery)
            self.held[receipt] = at

    def _note_settles(self, exchange: Exchange, answer: Any) -> None:
        at, worker = exchange.answered_at, worker_of(exchange.request)
        sent = exchange.request.data
        for outcome, status in zip(sent["outcomes"], answer, strict=True):
            settle = Settle(at, worker, outcome["outcome"], status, sent["request_id"])
            self.settles[outcome["msg_id"], outcome["read_ct"]].append(settle)

    def _note_extensions(self, exchange: Exchange, answer: Any) -> None:
        sent = exchange.request.data
        if not sent["msg_ids"]:
            return  # a worker says good-bye with it
        receipts = zip(sent["msg_ids"], sent["read_cts"], answer["statuses"], strict=True)
        for msg_id, read_ct, status in receipts:
            if status == "ok":
                self.held[msg_id, read_ct] = exchange.answered_at

    def endings(self) -> dict[int, list[Settle]]:
        """Return the settles of each job that were accepted and after which it is finished."""
        endings: defaultdict[int, list[Settle]] = defaultdict(list)
        for receipt in self.settles:
            for settle in self.settled(receipt):
                if settle.outcome in ENDINGS:
                    endings[receipt[0]].append(settle)
        return endings

    def settled(self, receipt: Receipt, outcome: str | None = None) -> list[Settle]:
        """Return what was accepted under a receipt, each request once."""
        accepted = {
            settle.request_id: settle
            for settle in self.settles.get(receipt, ())
            if settle.status == "ok" and outcome in {None, settle.outcome}
        }
        return list(accepted.values())


def worker_of(request: Message) -> str:
    """Return the worker that sent a request."""
    for line in request.head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == WORKER_HEADER:
            return value.strip()
    return ""
