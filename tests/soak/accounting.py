"""Accounting for every job: its outcome, how often it was executed, and why."""

from __future__ import annotations

import math
import signal
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from tests.soak.behaviour import DEAD, JOB_TIMEOUT_SECONDS, max_attempts_of
from tests.soak.explain import Explainer

if TYPE_CHECKING:
    from tests.soak.ledger import Ledger, Receipt
    from tests.soak.records import Records
    from tests.soak.story import Execution, Story

# The grace period, five seconds for handlers to clean up, ten for the last outcomes, and some for
# a machine that is busy with other things.
STOP_SECONDS = 2 + 5 + 10 + 5


@attrs.frozen
class Accounts:
    """The outcome of a soak."""

    rows: list[tuple[str, object]]
    problems: list[str]
    strikes: Counter[str]


class Accountant:
    """Goes through the books."""

    def __init__(
        self, kinds: dict[int, str], records: Records, story: Story, ledger: Ledger
    ) -> None:
        self._kinds = kinds
        self._records = records
        self._story = story
        self._ledger = ledger
        self._explainer = Explainer(story, ledger)
        self._executions = story.by_job()
        self._endings = ledger.endings()
        self._lapses: Counter[str] = Counter()
        self._duplicates: Counter[str] = Counter()
        self._early_deaths = 0
        self._late_successes = 0
        self.problems: list[str] = []

    def account(self) -> Accounts:
        """Account for everything."""
        self._check_nothing_is_lost_or_stuck()
        for msg_id in self._kinds:
            if msg_id in self._records.finished:
                self._check_job(msg_id)
        for receipt in self._ledger.deliveries:
            if self._explainer.came_too_early(receipt):
                self._problem(receipt[0], f"delivered again too early: {receipt}")
        self._check_statistics()
        self._check_workers()
        return Accounts(self._rows(), self.problems, self._story.kinds)

    def _problem(self, msg_id: int | None, text: str) -> None:
        if msg_id is None:
            self.problems.append(text)
            return
        self.problems.append(f"job {msg_id} ({self._kinds.get(msg_id)}): {text}")

    def _check_nothing_is_lost_or_stuck(self) -> None:
        finished, queued = set(self._records.finished), set(self._records.queued)
        for msg_id in self._kinds.keys() - finished - queued:
            self._problem(msg_id, "lost: neither finished nor queued")
        for msg_id in (finished | queued) - self._kinds.keys():
            self._problem(msg_id, "not enqueued, or it was enqueued twice")
        for msg_id in queued:
            self._problem(msg_id, "stuck: still queued")
        for msg_id in finished & queued:
            self._problem(msg_id, "finished and still queued")

    def _check_job(self, msg_id: int) -> None:
        self._check_end(msg_id)
        self._check_runs(msg_id)
        self._check_endings(msg_id)
        self._check_attempts(msg_id)
        self._check_lapses(msg_id)
        self._check_duplicates(msg_id)
        self._check_overlaps(msg_id)

    def _check_end(self, msg_id: int) -> None:
        state, kind = self._records.finished[msg_id].state, self._kinds[msg_id]
        letters = self._records.dead.count(msg_id)
        if letters != (state == "dead_lettered"):
            self._problem(msg_id, f"{state}, with {letters} dead letters")
        expected = "dead_lettered" if kind in DEAD else "completed"
        if state == expected:
            return
        if expected == "completed" and self._was_dead_lettered_by_a_claim(msg_id):
            self._early_deaths += 1  # Its lapses used up its attempts, and each is looked at.
        elif kind == "over time" and self._returned_before_its_clock_went_on(msg_id):
            self._late_successes += 1
        else:
            self._problem(msg_id, f"{state} instead of {expected}")

    def _was_dead_lettered_by_a_claim(self, msg_id: int) -> bool:
        """Return whether it was a claim that moved the job to the dead letter queue."""
        last = self._records.failed.get(msg_id, [])[-1:]
        is_dead = self._records.finished[msg_id].state == "dead_lettered"
        return is_dead and bool(last) and last[0].outcome == "lapsed"

    def _returned_before_its_clock_went_on(self, msg_id: int) -> bool:
        """Return whether a handler that works too long had ended when its frozen worker woke up."""
        return any(
            self._story.was_frozen(e.worker, e.began + JOB_TIMEOUT_SECONDS, e.ended)
            for e in self._returned(msg_id)
        )

    def _returned(self, msg_id: int) -> list[Execution]:
        return [e for e in self._executions.get(msg_id, ()) if e.how == "returned"]

    def _check_runs(self, msg_id: int) -> None:
        """A completed job has run to its end, and one that failed was at least begun."""
        state, failed = self._records.finished[msg_id].state, self._records.failed.get(msg_id, ())
        if state == "completed" and not self._returned(msg_id):
            self._problem(msg_id, "completed, and never run to its end")
        lapsed = all(attempt.outcome == "lapsed" for attempt in failed)
        if state == "dead_lettered" and not lapsed and msg_id not in self._executions:
            self._problem(msg_id, "dead_lettered, and never run")

    def _check_endings(self, msg_id: int) -> None:
        """One settle, and no more, has finished the job; or a claim that found it past its last."""
        endings = self._endings.get(msg_id, [])
        expected = 0 if self._was_dead_lettered_by_a_claim(msg_id) else 1
        unheard = not endings and msg_id in self._ledger.unheard_settles
        if len(endings) != expected and not unheard:
            self._problem(msg_id, f"finished {len(endings)} times, not {expected}: {endings}")

    def _check_attempts(self, msg_id: int) -> None:
        job, failed = self._records.finished[msg_id], self._records.failed.get(msg_id, [])
        limit = max_attempts_of(self._kinds[msg_id])
        begun = [execution.attempt for execution in self._executions.get(msg_id, ())]
        if max([job.attempts, *begun]) > limit:
            self._problem(msg_id, f"attempt {max([job.attempts, *begun])} of {limit}")
        expected = len(failed) + (job.state == "completed")
        if job.attempts != expected:
            self._problem(msg_id, f"says {job.attempts} attempts, and has {expected}")
        numbers = [attempt.attempt for attempt in failed]
        if numbers != list(range(1, len(failed) + 1)):
            self._problem(msg_id, f"the attempts in its history are {numbers}")

    def _check_lapses(self, msg_id: int) -> None:
        for attempt in self._records.failed.get(msg_id, ()):
            if attempt.outcome != "lapsed":
                self._check_failure(msg_id, attempt.read_ct, attempt.error_type)
                continue
            why = self._explainer.why_lapsed((msg_id, attempt.read_ct))
            self._lapses[why or "unexplained"] += 1
            if why is None:
                seen = self._ledger.deliveries.get((msg_id, attempt.read_ct))
                self._problem(msg_id, f"delivery {attempt.read_ct} lapsed for no reason: {seen}")

    def _check_failure(self, msg_id: int, read_ct: int, error_type: str | None) -> None:
        """A failed attempt must have failed in the way that its kind of job fails."""
        expected = {
            "fail": {"SoakError"},
            "hopeless": {"SoakError"},
            "give up": {"DeadLetter"},
            "over time": {"JobTimeoutError"},
        }.get(self._kinds[msg_id], set())
        if error_type in expected:
            return
        ran = [e for e in self._executions.get(msg_id, ()) if e.receipt[1] <= read_ct]
        # Time goes on for a worker that stands still.
        if error_type == "JobTimeoutError" and any(
            self._story.was_frozen(e.worker, e.began, e.ended) for e in ran
        ):
            return
        self._problem(msg_id, f"delivery {read_ct} failed with {error_type}")

    def _check_duplicates(self, msg_id: int) -> None:
        """Every execution that ran to its end and did not count needs a reason."""
        returned = [e for e in self._returned(msg_id) if not e.late]
        if len(returned) < 2:
            return
        for execution in returned:
            if self._counted(execution.receipt):
                continue
            why = self._why_for_nothing(execution)
            self._duplicates[why or "unexplained"] += 1
            if why is None:
                self._problem(msg_id, f"ran to its end for nothing: {execution}")
        if sum(self._counted(e.receipt) for e in returned) > 1:
            self._problem(msg_id, "was completed twice")

    def _counted(self, receipt: Receipt) -> bool:
        return bool(self._ledger.settled(receipt, "complete"))

    def _check_overlaps(self, msg_id: int) -> None:
        """Two handlers are at work on one job only if the first has lost it."""
        executions = self._executions.get(msg_id, [])
        for first, second in pairwise(executions):
            if second.began < self._ended(first) and not self._may_overlap(first, second):
                self._problem(msg_id, f"overlap: {first} and {second}")

    def _ended(self, execution: Execution) -> float:
        killed = self._story.killed.get(execution.worker, execution.ended)
        exited = self._story.exits.get(execution.worker, (0, execution.ended))[1]
        return min(execution.ended, killed, exited)

    def _may_overlap(self, first: Execution, second: Execution) -> bool:
        # A plain handler cannot be stopped: it goes on when its time is up or its lease is lost.
        went_on = first.late or self._went_on_until_its_process_ended(first, second)
        return went_on or self._why_for_nothing(first) is not None

    def _went_on_until_its_process_ended(self, first: Execution, second: Execution) -> bool:
        """Return whether a thread outlived its attempt's time, and could not write down its end.

        Only the thread of a plain handler may do that, only if its time was up before the second
        began and its attempt is known to have failed of that, and only until its process is gone.
        An async handler writes its end before its time-out is reported.
        """
        return (
            first.is_plain
            and first.ended == math.inf
            and self._ended(first) < math.inf
            and second.began >= first.began + JOB_TIMEOUT_SECONDS
            and self._timed_out(first.receipt)
        )

    def _timed_out(self, receipt: Receipt) -> bool:
        """Return whether the database received that an attempt ran out of time."""
        msg_id, read_ct = receipt
        failed = self._records.failed.get(msg_id, ())
        return any(a.read_ct == read_ct and a.error_type == "JobTimeoutError" for a in failed)

    def _why_for_nothing(self, execution: Execution) -> str | None:
        """Return why what a handler did does not count, None if nothing explains it."""
        asked = self._story.asked.get(execution.worker, math.inf)
        if asked < execution.ended and self._ledger.settled(execution.receipt, "release"):
            return "handed back at a stop, and its thread went on"
        return self._explainer.why_lapsed(execution.receipt)

    def _check_statistics(self) -> None:
        finished = self._records.finished.values()
        states = Counter(job.state for job in finished)
        failed = [attempt for job in self._records.failed.values() for attempt in job]
        retried = sum(attempt.outcome == "retried" for attempt in failed)
        average = sum(job.attempts for job in finished) / max(1, len(finished))
        expected = {
            "total_jobs": len(finished),
            "completed_jobs": states["completed"],
            "failed_jobs": states["dead_lettered"],
            "dlq_jobs": len(self._records.dead),
            "pending_jobs": len(self._records.queued),
            "avg_attempts": round(average, 9),
            "max_attempts_seen": max((job.attempts for job in finished), default=0),
        }
        said = {**self._records.statistics, "retried": self._records.retried}
        said["avg_attempts"] = round(said["avg_attempts"] or 0.0, 9)
        for name, value in {**expected, "retried": retried}.items():
            if said[name] != value:
                self._problem(None, f"statistics say {name} {said[name]}, and it is {value}")

    def _check_workers(self) -> None:
        """Workers end because they are killed, or are asked to stop, and then in time."""
        story = self._story
        for worker, (code, at) in story.exits.items():
            if worker in story.killed or self._ended_early(worker, code):
                continue
            if code or worker not in story.asked:
                what = story.errors.get(worker, "by itself")
                self._problem(None, f"worker {worker} ended with code {code}: {what}")
            elif at - story.asked[worker] > STOP_SECONDS:
                seconds = at - story.asked[worker]
                self._problem(None, f"worker {worker} took {seconds:.1f} s to stop")

    def _ended_early(self, worker: str, code: int) -> bool:
        """Return whether a worker was asked to stop before it, or after it, handled signals."""
        story = self._story
        handles = worker in story.began and worker not in story.given_up
        return code == -signal.SIGTERM and worker in story.asked and not handles

    def _rows(self) -> list[tuple[str, object]]:
        states = Counter(job.state for job in self._records.finished.values())
        failed = [a for job in self._records.failed.values() for a in job]
        outcomes = Counter(attempt.outcome for attempt in failed)
        lost = self._kinds.keys() - self._records.finished.keys() - set(self._records.queued)
        expected_dead = sum(kind in DEAD for kind in self._kinds.values())
        executions = len(self._story.executions)
        return [
            ("jobs enqueued", len(self._kinds)),
            ("succeeded", states["completed"]),
            ("  of them too late, but frozen at the time", self._late_successes),
            ("dead-lettered", states["dead_lettered"]),
            ("  of them expected to", expected_dead),
            ("  of them out of attempts by lapses", self._early_deaths),
            ("lost", len(lost)),
            ("stuck", len(self._records.queued)),
            ("deliveries", len(self._ledger.deliveries)),
            ("executions", executions),
            ("executions per job", round(executions / max(1, len(self._kinds)), 3)),
            ("attempts retried", outcomes["retried"]),
            ("deliveries lapsed", outcomes["lapsed"]),
            *[(f"  {why}", times) for why, times in self._lapses.most_common()],
            ("jobs run to their end again", sum(self._duplicates.values())),
            *[(f"  {why}", times) for why, times in self._duplicates.most_common()],
            *self._rows_of_workers(),
            ("unaccounted for", len(self.problems)),
        ]

    def _rows_of_workers(self) -> list[tuple[str, object]]:
        story, ledger = self._story, self._ledger
        stops = [at - story.asked[w] for w, (_, at) in story.exits.items() if w in story.asked]
        return [
            ("calls", ledger.calls),
            ("leases lost", story.count["lost"]),
            ("jobs released at stops", story.count["released"]),
            ("workers", len(story.exits)),
            ("  killed", len(story.killed) - len(story.crashed)),
            ("  killed by their own job", len(story.crashed)),
            ("  frozen", story.count["freeze"]),
            ("  asked to stop", len(story.asked)),
            ("slowest stop, s", round(max(stops, default=0.0), 1)),
            ("strikes", sum(story.kinds.values())),
            *[(f"  {kind}", times) for kind, times in story.kinds.most_common()],
        ]
