"""The short form of the soak, and that its accountant finds what he is there to find."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.accounting import Accountant, Accounts
from tests.soak.chaos import WEIGHTS
from tests.soak.journal import Entry
from tests.soak.ledger import Delivery, Ledger, Settle
from tests.soak.records import FailedAttempt, Finished, Records
from tests.soak.run import Plan, soak
from tests.soak.story import tell_story

# The long ones first, so that they are done in time.
KINDS = {"over time": 2, "slow": 6, "crash": 1, "fail": 40, "snooze": 20, "hopeless": 15}
PLAN = Plan(
    seed=7,
    jobs=300,
    workers=3,
    seconds=8,
    settle_seconds=60,
    kinds={**KINDS, "give up": 6, "succeed": 210},
)


@pytest.fixture
def anyio_backend() -> str:
    """Run the soak once: its workers run on both event loops anyhow."""
    return "asyncio"


async def test_every_job_of_a_short_soak_is_accounted_for() -> None:
    accounts = await soak(PLAN)

    rows = dict(accounts.rows)
    assert accounts.problems == [], rows
    assert (rows["jobs enqueued"], rows["lost"], rows["stuck"]) == (300, 0, 0)
    assert rows["succeeded"] + rows["dead-lettered"] == 300  # type: ignore[operator]
    assert accounts.strikes.keys() == WEIGHTS.keys()


RECEIPT = (1, 1)


class Books:
    """The books of one job that was delivered to one worker and succeeded, to be falsified."""

    def __init__(self) -> None:
        self.kinds = {1: "succeed"}
        self.finished = {1: Finished("completed", 1)}
        self.failed: dict[int, list[FailedAttempt]] = {}
        self.queued: list[int] = []
        self.dead: list[int] = []
        self.statistics: dict[str, Any] = {}
        self.ledger = Ledger()
        self.deliver(RECEIPT, at=1)
        self.ledger.settles[RECEIPT] = [Settle(1.2, "w0.1", "complete", "ok", "request")]
        self.journal = [
            Entry(0.5, "w0.1", "worker_started", {}),
            *self.execution("w0.1", RECEIPT, 1.0, 1.1),
            Entry(9, "soak", "term", {"worker": "w0.1"}),
            Entry(9.1, "w0.1", "report", {"given_up": []}),
            Entry(9.2, "soak", "exit", {"worker": "w0.1", "code": 0}),
        ]

    def deliver(self, receipt: tuple[int, int], at: float, worker: str = "w0.1") -> None:
        """Let the database hand the job out."""
        self.ledger.deliveries[receipt].append(Delivery(at, worker, receipt[1], passed=True))
        self.ledger.held[receipt] = at

    def execution(
        self, worker: str, receipt: tuple[int, int], began: float, ended: float
    ) -> list[Entry]:
        """Return what a handler writes down that returns."""
        what = {"msg_id": receipt[0], "read_ct": receipt[1], "attempt": receipt[1]}
        return [
            Entry(began, worker, "start", {**what, "is_plain": False}),
            Entry(ended, worker, "end", {**what, "how": "returned", "late": False}),
        ]

    def deliver_twice(self) -> None:
        """Let the first delivery lapse after its handler has returned, and a second succeed."""
        self.ledger.settles[1, 2] = self.ledger.settles.pop(RECEIPT)
        self.deliver((1, 2), at=5)
        self.journal += self.execution("w0.1", (1, 2), 5.0, 5.1)
        self.failed = {1: [FailedAttempt(1, 1, "lapsed", "LeaseExpired")]}
        self.finished = {1: Finished("completed", 2)}

    def time_out_in_a_thread(
        self, *, is_plain: bool = True, error_type: str = "JobTimeoutError", again_at: float = 6.7
    ) -> None:
        """Let a plain handler take too long, and go on in its thread until its process exits.

        Its attempt fails, and another worker has the job again before that process exits: the
        thread cannot write down its end.
        """
        end = again_at + 5.6
        self.kinds[1] = "over time"
        self.finished = {1: Finished("dead_lettered", 2)}
        self.failed = {
            1: [
                FailedAttempt(1, 1, "retried", error_type),
                FailedAttempt(2, 2, "dead_lettered", "JobTimeoutError"),
            ]
        }
        self.dead = [1]
        self.deliver((1, 2), at=again_at, worker="w1.1")
        self.ledger.settles = defaultdict(
            list,
            {
                RECEIPT: [Settle(again_at - 0.1, "w0.1", "retry", "ok", "first")],
                (1, 2): [Settle(end, "w1.1", "dead_letter", "ok", "second")],
            },
        )
        begun, _ = self.execution("w0.1", RECEIPT, 1.0, math.inf)
        begun.more["is_plain"] = is_plain
        self.journal = [
            *(entry for entry in self.journal if entry.what not in {"start", "end"}),
            begun,
            *self.execution("w1.1", (1, 2), again_at, end),
        ]

    def account(self) -> Accounts:
        """Have everything accounted for."""
        states = Counter(job.state for job in self.finished.values())
        failed = [attempt for job in self.failed.values() for attempt in job]
        attempts = [job.attempts for job in self.finished.values()] or [0]
        statistics = {
            "total_jobs": len(self.finished),
            "completed_jobs": states["completed"],
            "failed_jobs": states["dead_lettered"],
            "dlq_jobs": len(self.dead),
            "pending_jobs": len(self.queued),
            "avg_attempts": sum(attempts) / len(attempts),
            "max_attempts_seen": max(attempts),
        }
        records = Records(
            finished=self.finished,
            failed=self.failed,
            queued=self.queued,
            dead=self.dead,
            statistics={**statistics, **self.statistics},
            retried=sum(attempt.outcome == "retried" for attempt in failed),
        )
        story = tell_story(sorted(self.journal, key=lambda entry: entry.at))
        return Accountant(self.kinds, records, story, self.ledger).account()


def leave_queued(books: Books) -> None:
    books.finished.clear()
    books.queued.append(1)


def never_run(books: Books) -> None:
    books.journal = [entry for entry in books.journal if entry.what not in {"start", "end"}]


def try_too_often(books: Books) -> None:
    books.kinds[1] = "over time"
    books.deliver((1, 3), at=5)
    books.journal += books.execution("w0.1", (1, 3), 5.0, 5.1)


def complete_twice(books: Books) -> None:
    books.deliver_twice()
    books.ledger.settles[RECEIPT] = [Settle(1.2, "w0.1", "complete", "ok", "another")]


def deliver_too_early(books: Books) -> None:
    books.deliver_twice()
    books.ledger.held[RECEIPT] = 4


def run_at_once(books: Books) -> None:
    books.deliver_twice()
    books.journal = [e for e in books.journal if (e.what, e.at) != ("end", 1.1)]
    books.journal += books.execution("w0.1", RECEIPT, 1.0, 6.0)[1:]


def run_on_for_good(books: Books) -> None:
    books.time_out_in_a_thread()
    books.journal = [entry for entry in books.journal if entry.what != "exit"]


def dead_letter_instead(books: Books) -> None:
    books.finished[1] = Finished("dead_lettered", 1)
    books.failed[1] = [FailedAttempt(1, 1, "dead_lettered", "ValueError")]
    books.dead.append(1)


def dead_letter_unrun(books: Books) -> None:
    never_run(books)
    dead_letter_instead(books)


def settled(outcome: str, at: float) -> Settle:
    """Return another settlement of the job."""
    return Settle(at, "w0.1", outcome, "ok", "another")


def exited(at: float, worker: str, code: int) -> Entry:
    return Entry(at, "soak", "exit", {"worker": worker, "code": code})


FALSIFIED: dict[str, tuple[Callable[[Books], object], str]] = {
    "lost": (lambda books: books.finished.clear(), "lost"),
    "left in the queue": (leave_queued, "stuck"),
    "enqueued twice": (
        lambda books: books.finished.update({2: Finished("completed", 1)}),
        "enqueued twice",
    ),
    "dead-lettered, too": (lambda books: books.dead.append(1), "with 1 dead letters"),
    "dead-lettered instead": (dead_letter_instead, "dead_lettered instead of completed"),
    "never run": (never_run, "completed, and never run to its end"),
    "dead-lettered, never run": (dead_letter_unrun, "dead_lettered, and never run"),
    "never settled": (lambda books: books.ledger.settles.clear(), "finished 0 times, not 1"),
    "settled twice": (
        lambda books: books.ledger.settles[RECEIPT].append(settled("dead_letter", 1.3)),
        "finished 2 times, not 1",
    ),
    "an attempt forgotten": (
        lambda books: books.finished.update({1: Finished("completed", 2)}),
        "says 2 attempts, and has 1",
    ),
    "tried too often": (try_too_often, "attempt 3 of 2"),
    "lapsed": (Books.deliver_twice, "lapsed for no reason"),
    "completed twice": (complete_twice, "completed twice"),
    "delivered too early": (deliver_too_early, "too early"),
    "run by two": (run_at_once, "overlap"),
    "run on in no thread": (lambda books: books.time_out_in_a_thread(is_plain=False), "overlap"),
    "run on within its time": (lambda books: books.time_out_in_a_thread(again_at=6.4), "overlap"),
    "run on after another error": (
        lambda books: books.time_out_in_a_thread(error_type="SoakError"),
        "overlap",
    ),
    "run on for good": (run_on_for_good, "overlap"),
    "counted wrongly": (
        lambda books: books.statistics.update(completed_jobs=2),
        "statistics say completed_jobs 2, and it is 1",
    ),
    "a worker that ended": (
        lambda books: books.journal.append(exited(9.2, "w0.2", 1)),
        "ended with code 1",
    ),
    "a slow stop": (lambda books: books.journal.append(exited(99, "w0.1", 0)), "to stop"),
}


def test_books_that_are_right_have_no_problem() -> None:
    assert Books().account().problems == []


def test_a_thread_that_ends_with_its_process_after_its_time_was_up_is_no_problem() -> None:
    books = Books()
    books.time_out_in_a_thread()

    assert books.account().problems == []


@pytest.mark.parametrize(("falsify", "problem"), FALSIFIED.values(), ids=FALSIFIED)
def test_books_that_are_wrong_have_a_problem(
    falsify: Callable[[Books], object], problem: str
) -> None:
    books = Books()
    falsify(books)

    assert any(problem in found for found in books.account().problems)


def outage(whom: str | None, begin: float, end: float, kind: str = "reset") -> list[Entry]:
    """Return what is written down of a strike at a worker's network, or at everybody's."""
    strike = {"strike": kind, "whom": whom, "kind": kind}
    return [Entry(begin, "soak", "strike", strike), Entry(end, "soak", "struck", strike)]


EXPLAINED: dict[str, list[Entry]] = {
    "killed": [Entry(2, "soak", "kill", {"worker": "w0.1"})],
    "crashed": [Entry(2, "w0.1", "crash", {})],
    "frozen": [
        Entry(2, "soak", "freeze", {"worker": "w0.1"}),
        Entry(6, "soak", "thaw", {"worker": "w0.1"}),
    ],
    "lease not extended in an outage": outage("w0.", 1.5, 4),
}


@pytest.mark.parametrize(("why", "entries"), EXPLAINED.items(), ids=EXPLAINED)
def test_a_duplicate_that_something_explains_is_none(why: str, entries: list[Entry]) -> None:
    books = Books()
    books.deliver_twice()
    books.journal += entries
    if entries[0].what in {"kill", "crash"}:
        books.journal = [e for e in books.journal if e.what not in {"term", "report"}]
        books.ledger.deliveries[1, 2] = [Delivery(5, "w1.1", 2, passed=True)]

    accounts = books.account()

    assert accounts.problems == []
    assert dict(accounts.rows)[f"  {why}"] in {1, 2}


NO_REASONS = {
    "an outage of another worker": outage("w1.", 1.5, 4),
    "an outage long ago": outage("w0.", -math.inf, -9),
    "slow answers": outage(None, 1.5, 4, "slow answers"),
}


@pytest.mark.parametrize("entries", NO_REASONS.values(), ids=NO_REASONS)
def test_what_did_not_stop_the_worker_explains_nothing(entries: list[Entry]) -> None:
    books = Books()
    books.deliver_twice()
    books.journal += entries

    assert len(books.account().problems) == 2
