"""Anything that workers and operators may do to a queue, in any order, beside the model of it."""

from __future__ import annotations

import uuid
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.properties.model import OUTCOMES, Claim, Job, Model, Outcome
from tests.properties.observed import Tables, Times, expected
from tests.sql.client import Api, JobQueue, Json, ids

# The model's clock stands while a step runs, so all times are far longer than any run.
SECONDS = st.sampled_from([0, 1000, 3000])
STEPS = st.sampled_from([300, 1000, 3000])
REQUEST_IDS = st.sampled_from([None, None, None, "a", "b"])
LAST_ATTEMPTS = st.sampled_from([None, None, 1, 2, 3])
# Which of the receipts, jobs or letters so far; taken modulo their number.
PICK = st.integers(0, 40)
SETTLES = st.lists(
    st.tuples(st.sampled_from(OUTCOMES), PICK, st.booleans(), SECONDS), min_size=1, max_size=4
)
VERBS = {
    "complete": JobQueue.acknowledge,
    "archive": JobQueue.archive,
    "retry": JobQueue.retry,
    "release": JobQueue.release,
    "dead_letter": JobQueue.dead_letter,
}


@attrs.frozen
class Terms:
    """What a claim asks for."""

    quantity: int
    vt_seconds: int
    max_attempts: int | None


class QueueMachine(RuleBasedStateMachine):
    """A queue and its model.

    The receipts of every claim are kept for ever, so that a rule may settle under any of them: that
    of the worker that holds the job, and those of all that held it before.

    Args:
        api: The functions; each call is a transaction of its own.
    """

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api
        self.queue = JobQueue(api, f"p_{uuid.uuid4().hex[:10]}")
        self.queue.create()
        self.tables = Tables(api.connection, self.queue.name)
        self.model = Model()
        self.receipts: list[tuple[int, int]] = []
        self.read_cts: dict[str, int] = {}

    @initialize(count=st.integers(2, 6), vt_seconds=SECONDS)
    def begin(self, count: int, vt_seconds: int) -> None:
        """Have jobs, and a worker that holds some of them."""
        self.send(min(count, 3), None, 1, 0, None)
        self.send(count, 2, 1, 0, None)
        self.dequeue(count, vt_seconds, None, None)

    @rule(
        count=st.integers(1, 3),
        own_max=LAST_ATTEMPTS,
        attempt=st.sampled_from([1, 1, 1, 3]),
        delay=SECONDS,
        request_id=REQUEST_IDS,
    )
    def send(
        self, count: int, own_max: int | None, attempt: int, delay: int, request_id: str | None
    ) -> None:
        """Enqueue jobs, perhaps as a repeat of an enqueue whose answer was lost."""
        tags = [f"job {self.model.last_msg_id + n + 1}" for n in range(count)]
        more = {} if own_max is None else {"max_attempts": own_max}
        answer = self.queue.enqueue(
            [{"run_id": tag, "attempt": attempt, **more} for tag in tags],
            delay_seconds=delay,
            request_id=request_id,
            remember_seconds=2000,
        )
        known = self.model.recall("enqueue", request_id)
        sent = known or [
            self.model.add(Job(tag, attempt, own_max, self.model.now + delay)) for tag in tags
        ]
        if known is None:
            self.model.remember("enqueue", request_id, sent, 2000)
        assert answer == {"msg_ids": sent, "duplicate": known is not None}

    @rule()
    def send_by_hand(self) -> None:
        """Put a message in the queue that is no job."""
        tag = f"raw {self.model.last_msg_id + 1}"
        sent = self.api.value(
            "select pgmq.send(%s, jsonb_build_array(%s::text))", self.queue.name, tag
        )
        assert sent == self.model.add(Job(tag, 1, None, self.model.now, is_malformed=True))

    @rule(
        quantity=st.integers(1, 4),
        vt_seconds=SECONDS,
        max_attempts=LAST_ATTEMPTS,
        request_id=REQUEST_IDS,
    )
    def dequeue(
        self, quantity: int, vt_seconds: int, max_attempts: int | None, request_id: str | None
    ) -> None:
        """Claim jobs, perhaps again under the request id of an earlier claim."""
        due = {msg_id: times.due for msg_id, times in self.tables.times().items()}
        terms = Terms(quantity, vt_seconds, max_attempts)
        answer = self.queue.dequeue(request_id=request_id, **attrs.asdict(terms))
        earlier = self.model.recall("dequeue", request_id)
        claim = self._claim(earlier, due, answer, terms)
        if earlier is None and (claim.receipts or claim.buried):
            self.model.remember("dequeue", request_id, claim)

    @rule(settles=SETTLES, request_id=REQUEST_IDS)
    def settle(self, settles: list[Any], request_id: str | None) -> None:
        """Settle jobs, each in its own way, under receipts that may be stale."""
        outcomes = self._outcomes(settles)
        answer = self.queue.settle(_rows(outcomes), request_id=request_id)
        assert answer == self._once("settle", request_id, lambda: self.model.settle(outcomes))

    @rule(settles=SETTLES, request_id=REQUEST_IDS)
    def settle_in_one_way(self, settles: list[Any], request_id: str | None) -> None:
        """Settle jobs by the function that does one thing to all."""
        kind, _, _, delay = settles[0]
        outcomes = [Outcome(kind, o.msg_id, o.read_ct, delay) for o in self._outcomes(settles)]
        more: Json = {"delay_seconds": delay} if kind in {"retry", "release"} else {}
        jobs: list[Any] = [{"msg_id": o.msg_id, "read_ct": o.read_ct} for o in outcomes]
        answer = VERBS[kind](self.queue, *jobs, request_id=request_id, **more)
        assert answer == self._once(kind, request_id, lambda: self.model.settle(outcomes))

    @rule(
        settles=SETTLES,
        quantity=st.integers(1, 4),
        vt_seconds=SECONDS,
        max_attempts=LAST_ATTEMPTS,
        request_id=REQUEST_IDS,
    )
    def settle_and_dequeue(
        self,
        settles: list[Any],
        quantity: int,
        vt_seconds: int,
        max_attempts: int | None,
        request_id: str | None,
    ) -> None:
        """Settle and claim in one call, perhaps as a repeat of an earlier one."""
        outcomes = self._outcomes(settles)
        times, turns = self.tables.times(), self._turns()
        terms = Terms(quantity, vt_seconds, max_attempts)
        answer = self.queue.settle_and_dequeue(
            _rows(outcomes), request_id=request_id, **attrs.asdict(terms)
        )
        memory = self.model.recall("settle_and_dequeue", request_id)
        if memory is None:
            statuses, earlier = self.model.settle(outcomes), None
        else:
            statuses, earlier = memory
        assert answer["statuses"] == statuses
        due = self._due_after_settling(times, turns)
        claim = self._claim(earlier, due, answer["claim"], terms)
        kept = claim if earlier is None and (claim.receipts or claim.buried) else None
        if memory is None or kept is not None:
            self.model.remember("settle_and_dequeue", request_id, (statuses, kept))

    @rule(settles=SETTLES, vt_seconds=SECONDS)
    def extend(self, settles: list[Any], vt_seconds: int) -> None:
        """Extend leases, those that are lost too."""
        receipts = [Outcome("extend", o.msg_id, o.read_ct) for o in self._outcomes(settles)]
        jobs: list[Any] = [{"msg_id": o.msg_id, "read_ct": o.read_ct} for o in receipts]
        answer = self.queue.extend(*jobs, vt_seconds=vt_seconds)
        assert answer == self.model.extend(receipts, vt_seconds)

    @rule(
        verb=st.sampled_from(["delete", "cancel"]),
        picks=st.lists(PICK, min_size=1, max_size=3),
        request_id=REQUEST_IDS,
    )
    def remove(self, verb: str, picks: list[int], request_id: str | None) -> None:
        """Delete or cancel jobs whoever holds them."""
        msg_ids = [1 + pick % (self.model.last_msg_id + 1) for pick in picks]
        state = {"delete": "deleted", "cancel": "cancelled"}[verb]
        answer = self.api.call(
            f"meshhook_{verb}", queue_name=self.queue.name, msg_ids=msg_ids, request_id=request_id
        )
        assert answer == self._once(verb, request_id, lambda: self.model.remove(msg_ids, state))

    @rule(picks=st.lists(PICK, min_size=1, max_size=3))
    def replay(self, picks: list[int]) -> None:
        """Move dead letters back, some of which may be gone."""
        letter_ids = [1 + pick % (self.model.last_letter_id + 1) for pick in picks]
        answer = self.queue.dlq.replay(*letter_ids)
        new_ids = self.model.replay(letter_ids)
        assert [(row["msg_id"], row.get("new_msg_id")) for row in answer] == [
            (letter_id, new_ids.get(letter_id)) for letter_id in letter_ids
        ]

    @rule(picks=st.lists(PICK, min_size=1, max_size=2))
    def delete_letters(self, picks: list[int]) -> None:
        """Delete dead letters."""
        letter_ids = [1 + pick % (self.model.last_letter_id + 1) for pick in picks]
        answer = self.queue.dlq.as_queue.delete(*letter_ids)
        assert answer == self.model.delete_letters(letter_ids)

    @rule(
        action=st.sampled_from(["purge", "purge_letters", "prune", "configure", "pause"]),
        max_attempts=st.sampled_from([1, 2, 3, 5]),
        request_id=REQUEST_IDS,
    )
    def administer(self, action: str, max_attempts: int, request_id: str | None) -> None:
        """Do what is seldom done, while jobs are waiting and running."""
        if action == "configure":
            self._configure(max_attempts, keeps_history=max_attempts != 1)
        elif action == "pause":
            self._pause_or_resume()
        elif action == "prune":
            self._prune()
        elif action == "purge_letters":
            self._purge_letters()
        else:
            self._purge(request_id)

    @rule(seconds=STEPS)
    def pass_time(self, seconds: int) -> None:
        """Let leases and delays end and memories fade."""
        self.queue.pass_time(seconds)
        self.model.now += seconds

    @rule(pick=PICK)
    def look_up(self, pick: int) -> None:
        """Look a job up, wherever it is."""
        msg_id = 1 + pick % (self.model.last_msg_id + 1)
        job = self.queue.get_job(msg_id)
        assert (job and job["state"]) == self.model.state(msg_id)

    def teardown(self) -> None:
        """Compare what the metrics and the views count, and drop the queue."""
        try:
            if self.tables.snapshot() == expected(self.model):
                self._measure()
        finally:
            self.queue.drop(drop_dlq=True)

    def _measure(self) -> None:
        waiting, letters = len(self.model.jobs), len(self.model.letters)
        metrics, totals = self.queue.metrics(), self.queue.totals()
        visible = sum(map(self.model.is_visible, self.model.jobs))
        assert (metrics["queue_length"], metrics["visible_jobs"]) == (waiting, visible)
        assert self.queue.dlq.metrics()["total_jobs"] == letters
        assert (totals["pending_jobs"], totals["dlq_jobs"]) == (waiting, letters)
        assert totals["completed_jobs"] == self.model.totals.completed
        assert totals["failed_jobs"] == self.model.totals.dead_lettered
        assert totals["total_jobs"] == totals["completed_jobs"] + totals["failed_jobs"]
        assert totals["max_attempts_seen"] == self.model.totals.max_attempt

    @invariant()
    def each_job_is_where_the_model_has_it(self) -> None:
        """Compare all tables: one place for each job, totals that agree, and receipts that grow."""
        snapshot = self.tables.snapshot()
        assert snapshot == expected(self.model)
        for msg_id, job in snapshot["jobs"].items():
            assert job["read_ct"] >= self.read_cts.get(msg_id, 0)
            self.read_cts[msg_id] = job["read_ct"]

    def _configure(self, max_attempts: int, *, keeps_history: bool) -> None:
        has_dead_letters = max_attempts != 3
        self.queue.create(
            max_attempts=max_attempts,
            keeps_history=keeps_history,
            has_dead_letters=has_dead_letters,
        )
        self.model.max_attempts = max_attempts
        self.model.keeps_history = keeps_history
        self.model.has_dead_letters = has_dead_letters

    def _pause_or_resume(self) -> None:
        verb = "resume" if self.model.is_paused else "pause"
        assert self.api.call(f"meshhook_{verb}_queue", queue_name=self.queue.name) is True
        self.model.is_paused = not self.model.is_paused

    def _prune(self) -> None:
        answer = self.queue.prune(0)
        assert (answer["jobs"], answer["attempts"], answer["archived"]) == (
            len(self.model.history),
            len(self.model.failures),
            len(self.model.archive),
        )
        self.model.prune()

    def _purge_letters(self) -> None:
        assert self.queue.dlq.as_queue.purge() == len(self.model.letters)
        self.model.letters.clear()

    def _purge(self, request_id: str | None) -> None:
        known = self.model.recall("purge", request_id)
        expected_count = len(self.model.jobs) if known is None else known
        assert self.queue.purge(request_id=request_id) == expected_count
        if known is None:
            self.model.remember("purge", request_id, expected_count)
            self.model.jobs.clear()

    def _outcomes(self, settles: list[Any]) -> list[Outcome]:
        """Return outcomes for receipts of any age, and for bare ids."""
        outcomes = []
        for kind, pick, is_bare, delay in settles:
            if is_bare or not self.receipts:
                outcomes.append(Outcome(kind, 1 + pick % (self.model.last_msg_id + 1), None, delay))
            else:
                # The latest first, so that small numbers stand for leases that may still hold.
                msg_id, read_ct = self.receipts[-1 - pick % len(self.receipts)]
                outcomes.append(Outcome(kind, msg_id, read_ct, delay))
        return outcomes

    def _claim(
        self, earlier: Claim | None, due: dict[int, int], answer: Json, terms: Terms
    ) -> Claim:
        """Hold the answer to a claim against the model's."""
        given = ids(answer["jobs"])
        if earlier is None:
            # Jobs that are due since the same moment may come in any order among themselves.
            met = [*ids(answer["dead_lettered"]), *given]
            order = sorted(due, key=lambda job: (due[job], job not in met, _place(met, job)))
            claim = self.model.claim(order, terms.quantity, terms.vt_seconds, terms.max_attempts)
        else:
            claim = self.model.claim_again(earlier, terms.vt_seconds)
        assert [(job["msg_id"], job["read_ct"]) for job in answer["jobs"]] == claim.receipts
        assert sorted(ids(answer["dead_lettered"])) == sorted(claim.buried)
        for job in answer["jobs"]:
            self._check_job(job, terms.max_attempts, is_new=earlier is None)
        self.receipts += claim.receipts
        return claim

    def _check_job(self, job: Json, max_attempts: int | None, *, is_new: bool) -> None:
        known = self.model.jobs[job["msg_id"]]
        limit = known.own_max or max_attempts or self.model.max_attempts
        assert (job["attempt"], job["max_attempts"]) == (known.attempt, limit)
        # A repeat may ask for fewer attempts than the claim it repeats.
        assert job["attempt"] <= job["max_attempts"] or not is_new
        assert job["message"]["run_id"] == known.tag

    def _turns(self) -> dict[int, int]:
        return {msg_id: job.turns for msg_id, job in self.model.jobs.items()}

    def _due_after_settling(self, times: dict[int, Times], turns: dict[int, int]) -> dict[int, int]:
        """Return when jobs are due after a settle, which knows of no row as it was before."""
        late = 1 + max((time.due for time in times.values()), default=0)
        due = {msg_id: times[msg_id].due for msg_id in self.model.jobs}
        for msg_id, job in self.model.jobs.items():
            if job.turns != turns[msg_id]:
                due[msg_id] = times[msg_id].came if job.keeps_place else late
        return due

    def _once(self, verb: str, request_id: str | None, carry_out: Any) -> Any:
        """Return the answer that a request had before, or carry it out."""
        answer = self.model.recall(verb, request_id)
        if answer is None:
            answer = carry_out()
            self.model.remember(verb, request_id, answer)
        return answer


def _place(met: list[int], msg_id: int) -> int:
    return met.index(msg_id) if msg_id in met else 0


def _rows(outcomes: list[Outcome]) -> list[Json]:
    return [
        {"outcome": o.kind, "msg_id": o.msg_id, "read_ct": o.read_ct, "delay_seconds": o.delay}
        for o in outcomes
    ]
