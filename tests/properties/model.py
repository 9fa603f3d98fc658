"""What a queue should do, said once more and in another way: dictionaries and a clock that stands.

The model knows nothing of SQL. Where the SQL finds an attempt by counting deliveries from the
message on, the model counts attempts as they happen; where the SQL locks, joins and deletes, the
model moves a value from one dictionary to another. Each job is in exactly one of them by
construction, so a database that agrees with the model has each job in exactly one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

REMEMBERED_SECONDS = 600
"""How long the answer to a request is known, but for an enqueue that says otherwise."""

OUTCOMES = ("complete", "archive", "retry", "release", "dead_letter")
"""The ways to settle, in the order in which one call carries them out."""


@attrs.define
class Job:
    """A job that is in its queue.

    Attributes:
        tag: What tells it from all others, replays and all.
        attempt: The attempt of its last delivery; of its next one while it rests.
        own_max: The last attempt that its sender chose.
        vt: When it becomes visible.
        is_malformed: Whether its message is no JSON object.
        read_ct: How often it was delivered.
        handed_back: At which delivery it was last retried or released, if it was.
        turns: How often it was retried or released.
        keeps_place: Whether the last of these was a release at once, which gives it its old place
            in the order.
    """

    tag: str
    attempt: int
    own_max: int | None
    vt: int
    is_malformed: bool = False
    read_ct: int = 0
    handed_back: int | None = None
    turns: int = 0
    keeps_place: bool = False

    @property
    def rests(self) -> bool:
        """Whether nobody has had it since it came or was handed back."""
        return self.read_ct == 0 or self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether its receipt has been used up by a retry or a release."""
        return self.handed_back == self.read_ct

    def deliver(self, vt: int) -> bool:
        """Deliver it; return whether its last delivery was never settled."""
        has_lapsed = not self.rests and not self.is_malformed
        if self.is_malformed:
            # Nothing can be noted in it, so all that is known of it is how often it was read.
            self.attempt = self.read_ct + 1
        elif has_lapsed:
            self.attempt += 1
        self.read_ct += 1
        self.vt = vt
        return has_lapsed

    def hand_back(self, attempt: int, vt: int, *, keeps_place: bool) -> None:
        """Make it visible again for that attempt."""
        self.vt = vt
        self.turns += 1
        self.keeps_place = keeps_place
        if not self.is_malformed:
            self.attempt = attempt
            self.handed_back = self.read_ct


@attrs.define
class Letter:
    """A dead letter; what it was, and what is written on it."""

    tag: str
    own_max: int | None
    is_malformed: bool
    original_msg_id: int
    read_count: int
    attempt: int | None


@attrs.define
class Finished:
    """What the history says of a job that is not in its queue any more."""

    state: str
    attempts: int
    dlq_msg_id: int | None = None
    is_replayed: bool = False


@attrs.define
class Totals:
    """The running totals of a queue."""

    completed: int = 0
    dead_lettered: int = 0
    retried: int = 0
    attempts: int = 0
    max_attempt: int = 0

    def count(self, verb: str, attempt: int) -> None:
        """Count one job that was settled."""
        setattr(self, verb, getattr(self, verb) + 1)
        self.attempts += attempt if verb != "retried" else 0
        self.max_attempt = max(self.max_attempt, attempt)


@attrs.frozen
class Outcome:
    """What is to become of a job, under a receipt or, with no read count, whoever holds it."""

    kind: str
    msg_id: int
    read_ct: int | None
    delay: int = 0


@attrs.define
class Claim:
    """What a claim handed out, as receipts, and which jobs it buried."""

    receipts: list[tuple[int, int]] = attrs.field(factory=list)
    buried: list[int] = attrs.field(factory=list)


@attrs.define
class Model:
    """A queue with its dead letter queue.

    Attributes:
        now: What time it is, in seconds; it passes only when told to.
        max_attempts: The queue's last attempt.
        keeps_history: Whether what is finished or failed is noted.
        has_dead_letters: Whether jobs that are given up go to the dead letter queue, or else to the
            archive.
        is_paused: Whether nothing is handed out.
        jobs: What is in the queue, by msg_id.
        letters: What is in the dead letter queue, by the ids there.
        archive: What is in the archive: the tags of the jobs.
        history: Jobs that were finished, wherever they went.
        failures: Failed attempts, by msg_id and read count: how, and which attempt it was.
        totals: What has been counted.
        requests: Answers, and until when they are known.
        last_msg_id: The last id that was given to a job.
        last_letter_id: The last id that was given to a dead letter.
    """

    now: int = 0
    max_attempts: int = 5
    keeps_history: bool = True
    has_dead_letters: bool = True
    is_paused: bool = False
    jobs: dict[int, Job] = attrs.field(factory=dict)
    letters: dict[int, Letter] = attrs.field(factory=dict)
    archive: dict[int, str] = attrs.field(factory=dict)
    history: dict[int, Finished] = attrs.field(factory=dict)
    failures: dict[tuple[int, int], tuple[str, int]] = attrs.field(factory=dict)
    totals: Totals = attrs.field(factory=Totals)
    requests: dict[tuple[str, str], tuple[Any, int]] = attrs.field(factory=dict)
    last_msg_id: int = 0
    last_letter_id: int = 0

    def recall(self, verb: str, request_id: str | None) -> Any:
        """Return what a request was answered before, or None."""
        answer, expires = self.requests.get((verb, request_id or ""), (None, 0))
        return answer if expires > self.now else None

    def remember(
        self, verb: str, request_id: str | None, answer: Any, seconds: int = REMEMBERED_SECONDS
    ) -> None:
        """Keep the answer to a request."""
        if request_id is not None:
            self.requests[verb, request_id] = answer, self.now + seconds

    def add(self, job: Job) -> int:
        """Put a job in the queue and return its id: ids only ever grow."""
        self.last_msg_id += 1
        self.jobs[self.last_msg_id] = job
        return self.last_msg_id

    def is_visible(self, msg_id: int) -> bool:
        """Tell whether a job can be claimed."""
        return self.jobs[msg_id].vt <= self.now

    def state(self, msg_id: int) -> str | None:
        """Return the state that a look-up tells, None if there is no trace."""
        if msg_id in self.jobs:
            if self.is_visible(msg_id):
                return "available"
            return "scheduled" if self.jobs[msg_id].rests else "leased"
        finished = self.history.get(msg_id)
        if finished is None:
            return None
        return "replayed" if finished.is_replayed else finished.state

    def claim(
        self, order: Iterable[int], quantity: int, vt_seconds: int, max_attempts: int | None
    ) -> Claim:
        """Claim jobs.

        Args:
            order: The jobs in the order in which they are due.
            quantity: How many at the most.
            vt_seconds: For how long.
            max_attempts: The worker's last attempt, which stands behind the job's own.
        """
        due = [msg_id for msg_id in order if self.is_visible(msg_id)]
        claim = Claim()
        while due and not claim.receipts and not self.is_paused:
            batch, due = due[:quantity], due[quantity:]
            for msg_id in batch:
                job = self.jobs[msg_id]
                if job.deliver(self.now + vt_seconds):
                    self._fail(msg_id, job.read_ct - 1, "lapsed", job.attempt - 1)
                limit = job.own_max or max_attempts or self.max_attempts
                if job.is_malformed or job.attempt > limit:
                    claim.buried.append(msg_id)
                else:
                    claim.receipts.append((msg_id, job.read_ct))
            for msg_id in sorted(claim.buried):
                if msg_id in self.jobs:
                    self._bury(msg_id, is_delivered=False)
        return claim

    def claim_again(self, claim: Claim, vt_seconds: int) -> Claim:
        """Hand out again what is left of a claim whose answer was lost."""
        again = Claim(buried=claim.buried)
        for msg_id, read_ct in claim.receipts:
            job = self.jobs.get(msg_id)
            if job is not None and job.read_ct == read_ct and not job.is_spent:
                job.vt = max(job.vt, self.now + vt_seconds)
                again.receipts.append((msg_id, read_ct))
        return again

    def settle(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Settle jobs, each in its own way, and return what happened to each."""
        done: set[int] = set()
        for kind in OUTCOMES:
            settled: set[int] = set()
            named = [(n, o) for n, o in enumerate(outcomes) if o.kind == kind]
            matching = [(n, o) for n, o in named if self._holds(o)]
            done.update(n for n, _ in matching)
            # A dead letter's id shows the order of burials, which is that of the jobs.
            for _, outcome in sorted(matching, key=lambda one: (one[1].msg_id, one[0])):
                if outcome.msg_id not in settled and not self._is_spent(outcome):
                    settled.add(outcome.msg_id)
                    self._settle_one(outcome)
        return [self._status(o.msg_id, is_done=n in done) for n, o in enumerate(outcomes)]

    def extend(self, receipts: Iterable[Outcome], vt_seconds: int) -> list[str]:
        """Extend leases, and return what happened to each."""
        statuses = []
        for receipt in receipts:
            holds = self._holds(receipt) and not self._is_spent(receipt)
            if holds:
                self.jobs[receipt.msg_id].vt = self.now + vt_seconds
            statuses.append(self._status(receipt.msg_id, is_done=holds))
        return statuses

    def remove(self, msg_ids: Sequence[int], state: str) -> list[str]:
        """Delete or cancel jobs whoever holds them."""
        statuses = ["ok" if msg_id in self.jobs else "missing" for msg_id in msg_ids]
        for msg_id in set(msg_ids) & self.jobs.keys():
            self._finish(msg_id, Finished(state, self.jobs.pop(msg_id).attempt))
        return statuses

    def delete_letters(self, msg_ids: Sequence[int]) -> list[str]:
        """Delete dead letters."""
        statuses = ["ok" if msg_id in self.letters else "missing" for msg_id in msg_ids]
        for msg_id in set(msg_ids) & self.letters.keys():
            del self.letters[msg_id]
        return statuses

    def replay(self, msg_ids: Sequence[int]) -> dict[int, int]:
        """Move dead letters back as new jobs, and return their new ids."""
        new_ids = {}
        for letter_id in sorted(set(msg_ids) & self.letters.keys()):
            letter = self.letters.pop(letter_id)
            job = Job(letter.tag, 1, letter.own_max, self.now, is_malformed=letter.is_malformed)
            new_ids[letter_id] = self.add(job)
            finished = self.history.get(letter.original_msg_id)
            if finished is not None and finished.dlq_msg_id == letter_id:
                finished.is_replayed = True
        return new_ids

    def prune(self) -> None:
        """Forget all that is finished."""
        self.history.clear()
        self.failures.clear()
        self.archive.clear()

    def _holds(self, outcome: Outcome) -> bool:
        job = self.jobs.get(outcome.msg_id)
        return job is not None and outcome.read_ct in {None, job.read_ct}

    def _is_spent(self, outcome: Outcome) -> bool:
        """Tell whether an outcome comes after another under the same receipt, and adds nothing."""
        reusable = outcome.kind in {"retry", "release", "extend"}
        return reusable and outcome.read_ct is not None and self.jobs[outcome.msg_id].is_spent

    def _status(self, msg_id: int, *, is_done: bool) -> str:
        if is_done:
            return "ok"
        return "lost" if msg_id in self.jobs else "missing"

    def _settle_one(self, outcome: Outcome) -> None:
        msg_id, job = outcome.msg_id, self.jobs[outcome.msg_id]
        if outcome.kind in {"complete", "archive"}:
            state = {"complete": "completed", "archive": "archived"}[outcome.kind]
            if outcome.kind == "archive":
                self.archive[msg_id] = job.tag
            self.totals.count("completed", job.attempt)
            del self.jobs[msg_id]
            self._finish(msg_id, Finished(state, job.attempt))
        elif outcome.kind == "dead_letter":
            self._bury(msg_id, is_delivered=True)
        elif outcome.kind == "retry":
            self._fail(msg_id, job.read_ct, "retried", job.attempt)
            self.totals.count("retried", job.attempt)
            job.hand_back(job.attempt + 1, self.now + outcome.delay, keeps_place=False)
        else:
            is_at_once = outcome.delay == 0
            job.hand_back(job.attempt, self.now + outcome.delay, keeps_place=is_at_once)

    def _bury(self, msg_id: int, *, is_delivered: bool) -> None:
        job = self.jobs.pop(msg_id)
        undelivered = not is_delivered
        attempts, reads = job.attempt - undelivered, job.read_ct - undelivered
        self.totals.count("dead_lettered", attempts)
        if not self.has_dead_letters:
            self.archive[msg_id] = job.tag
            self._finish(msg_id, Finished("failed", attempts))
        else:
            self.last_letter_id += 1
            shown = None if job.is_malformed and undelivered else max(1, attempts)
            self.letters[self.last_letter_id] = Letter(
                job.tag, job.own_max, job.is_malformed, msg_id, reads, shown
            )
            self._finish(msg_id, Finished("dead_lettered", attempts, self.last_letter_id))
        if is_delivered:
            outcome = "dead_lettered" if self.has_dead_letters else "failed"
            self._fail(msg_id, job.read_ct, outcome, job.attempt)

    def _fail(self, msg_id: int, read_ct: int, outcome: str, attempt: int) -> None:
        if self.keeps_history:
            self.failures.setdefault((msg_id, read_ct), (outcome, attempt))

    def _finish(self, msg_id: int, finished: Finished) -> None:
        if self.keeps_history:
            self.history[msg_id] = finished
