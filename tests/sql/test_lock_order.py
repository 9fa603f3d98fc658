"""Lock order: whoever touches the same jobs at the same time waits, and never in a circle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sql.client import DeadLetterQueue, JobQueue, Json, ids, outcome
from tests.sql.databases import Database
from tests.sql.races import Call, Crew, uncommitted

SLOTS = 32
"""How many slots the totals of a queue have."""

OK = ["ok"] * 3


@pytest.fixture(scope="module")
def crew(database: Database) -> Iterator[Crew]:
    """Connections, more than there are slots for their totals."""
    with Crew(database, SLOTS + 1) as crew:
        yield crew


@pytest.fixture
def jobs(shared_queue: JobQueue) -> list[Json]:
    """Three claimed jobs."""
    shared_queue.send(*[{"run_id": f"r{n}"} for n in range(3)])
    return shared_queue.claim(3, vt_seconds=3600)


VERBS: dict[str, Callable[..., list[str]]] = {
    "acknowledge": JobQueue.acknowledge,
    "archive": JobQueue.archive,
    "retry": JobQueue.retry,
    "release": JobQueue.release,
    "dead_letter": JobQueue.dead_letter,
    "extend": JobQueue.extend,
    "delete": lambda queue, *jobs: queue.delete(*ids(jobs)),
}
ENDS = {"acknowledge", "archive", "dead_letter", "delete"}


@pytest.mark.parametrize("second", ["acknowledge", "extend", "delete"])
@pytest.mark.parametrize("first", VERBS)
def test_two_that_name_the_same_jobs_in_opposite_orders_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json], first: str, second: str
) -> None:
    one, two = crew.interleave(
        shared_queue.name,
        [jobs[1]["msg_id"]],
        lambda queue: VERBS[first](queue, *jobs),
        lambda queue: VERBS[second](queue, *reversed(jobs)),
    )

    assert one == OK
    assert set(two) <= ({"missing"} if first in ENDS else {"ok", "lost"})
    assert len(set(two)) == 1


def mixed(*kinds: str) -> Callable[[list[Json]], Call]:
    """Return a call that settles three jobs, each in its own way."""
    return lambda jobs: (
        lambda queue: queue.settle(
            [outcome(kind, job) for kind, job in zip(kinds, jobs, strict=True)]
        )
    )


MIXED = {
    "the first completed": mixed("complete", "release", "retry"),
    "the last completed": mixed("retry", "release", "complete"),
    "the first buried": mixed("dead_letter", "archive", "complete"),
    "the last buried": mixed("retry", "archive", "dead_letter"),
}


@pytest.mark.parametrize("second", ["the first completed", "extend", "retry", "delete"])
@pytest.mark.parametrize("first", MIXED)
def test_a_mixed_batch_and_any_other_call_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json], first: str, second: str
) -> None:
    def other(queue: JobQueue) -> Any:
        return MIXED[second](jobs)(queue) if second in MIXED else VERBS[second](queue, *jobs)

    one, two = crew.interleave(shared_queue.name, [jobs[1]["msg_id"]], MIXED[first](jobs), other)

    assert one == OK
    assert set(two) <= {"ok", "lost", "missing"}
    assert len(shared_queue.rows()) + len(shared_queue.history()) == 3


def test_a_worker_that_settles_some_jobs_while_it_extends_all_of_them_does_not_deadlock(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    failed, running, done = jobs

    extended, settled = crew.interleave(
        shared_queue.name,
        [running["msg_id"]],
        lambda queue: queue.extend(*jobs),
        lambda queue: queue.settle([outcome("complete", done), outcome("retry", failed)]),
    )

    assert settled == ["ok", "ok"]
    assert extended == OK


def test_a_mixed_batch_does_not_keep_the_totals_while_it_waits_for_a_job(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    """Two backends may share a slot of the totals: that lock must come after those of the jobs."""
    one, two, three = jobs
    first, second = crew.of_one_slot(SLOTS)

    with crew.holding(shared_queue.name, three["msg_id"]):
        completing = crew.begin(
            first, shared_queue.name, lambda queue: queue.acknowledge(two, three)
        )
        settling = crew.begin(
            second,
            shared_queue.name,
            lambda queue: queue.settle([outcome("complete", one), outcome("retry", two)]),
        )

    assert completing.result() == ["ok", "ok"]
    assert settling.result() == ["ok", "missing"]


def test_three_at_once_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    first, second, third = jobs

    answers = crew.interleave(
        shared_queue.name,
        [second["msg_id"]],
        lambda queue: queue.extend(first, second),
        lambda queue: queue.dead_letter(third, second),
        lambda queue: queue.acknowledge(second, third, first),
    )

    extended, buried, acknowledged = answers
    assert extended == ["ok", "ok"]
    assert sorted(buried + acknowledged) == ["missing", "missing", "ok", "ok", "ok"]
    assert shared_queue.rows() == []
    assert len(shared_queue.history()) == 3


def test_a_claim_waits_for_nobody(crew: Crew, shared_queue: JobQueue, jobs: list[Json]) -> None:
    (free,) = shared_queue.send({})
    shared_queue.pass_time(3601)
    with crew.holding(shared_queue.name, *ids(jobs)):
        claimed = shared_queue.claim(10)

    assert ids(claimed) == [free]
    assert sorted(ids(shared_queue.claim(10))) == sorted(ids(jobs))


@pytest.mark.parametrize("verb", VERBS)
def test_a_claim_waits_for_no_settle(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json], verb: str
) -> None:
    (free,) = shared_queue.send({})
    with uncommitted(crew, 0, shared_queue.name) as queue:
        assert VERBS[verb](queue, *jobs) == OK
        claimed = crew.queue(1, shared_queue.name).claim(10)

    assert ids(claimed) == [free]


def test_a_claim_waits_for_no_enqueue_no_replay_and_no_prune(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    shared_queue.dead_letter(jobs[0])
    (free,) = shared_queue.send({})
    with uncommitted(crew, 0, shared_queue.name) as queue:
        queue.send({}, request_id="r")
        queue.dlq.replay(1)
        queue.prune(0)
        claimed = crew.queue(1, shared_queue.name).claim(10)

    assert ids(claimed) == [free]


def test_two_that_bury_at_once_make_the_dead_letter_queue_once(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    shared_queue.dlq.as_queue.drop()
    first, second, _ = jobs
    with uncommitted(crew, 0, shared_queue.name) as queue:
        queue.dead_letter(first)
        burying = crew.begin(1, shared_queue.name, lambda queue: queue.dead_letter(second))

    assert burying.result() == ["ok"]
    assert len(shared_queue.dlq.letters()) == 2


def test_a_claim_gets_no_job_that_is_handed_back_for_later_while_it_looks(
    crew: Crew, shared_queue: JobQueue
) -> None:
    shared_queue.send({}, {})
    due, _ = shared_queue.claim(2, vt_seconds=0)
    with uncommitted(crew, 0, shared_queue.name) as queue:
        queue.retry(due, delay_seconds=600)
        claimed = shared_queue.claim(10)

    assert ids(claimed) == [2]


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "delete"])
def test_whoever_waited_for_a_claim_finds_its_lease_lost(
    crew: Crew, shared_queue: JobQueue, verb: str
) -> None:
    """The receipt is held against the job as it is after the wait, not as it was before."""
    shared_queue.send({})
    stale = shared_queue.claim_one(vt_seconds=0)
    with uncommitted(crew, 0, shared_queue.name) as queue:
        current = queue.claim_one()
        waiting = crew.begin(1, shared_queue.name, lambda queue: VERBS[verb](queue, stale))

    assert waiting.result() == ["lost"]
    assert shared_queue.acknowledge(current) == ["ok"]


@pytest.mark.parametrize("verb", ["acknowledge", "archive", "retry", "release", "dead_letter"])
def test_whoever_waited_for_a_change_of_a_job_works_on_the_job_as_it_became(
    crew: Crew, shared_queue: JobQueue, verb: str
) -> None:
    """A bare id settles whatever is there; it must not bring back what was there before."""
    shared_queue.send({"max_attempts": 9})
    job = shared_queue.claim_one()
    with uncommitted(crew, 0, shared_queue.name) as queue:
        queue.retry(job, error_message="boom")
        again = queue.claim_one()
        waiting = crew.begin(1, shared_queue.name, lambda queue: VERBS[verb](queue, job["msg_id"]))

    assert waiting.result() == ["ok"]
    assert again["attempt"] == 2
    kept = [*shared_queue.rows(), *shared_queue.archived(), *shared_queue.dlq.letters()]
    expected = 3 if verb == "retry" else 2
    assert [row["message"]["attempt"] for row in kept] == [expected] * len(kept)
    assert [record["attempts"] for record in shared_queue.history()] in ([], [2])


@pytest.fixture
def letters(shared_queue: JobQueue, jobs: list[Json]) -> Iterator[list[int]]:
    """Three dead letters, of two queues in turn."""
    other = JobQueue(shared_queue.api, f"a_{shared_queue.name}")
    other.create(dlq_name=shared_queue.dlq.name)
    other.send({"run_id": "r"})
    shared_queue.dead_letter(jobs[0])
    other.dead_letter(other.claim_one())
    shared_queue.dead_letter(jobs[1])
    yield ids(shared_queue.dlq.letters())
    other.drop()


LETTER_VERBS: dict[str, Callable[..., list[str]]] = {
    "replay": lambda queue, *letters: [
        answer["status"] for answer in DeadLetterQueue(queue.api, queue.name).replay(*letters)
    ],
    "delete": JobQueue.delete,
    "acknowledge": JobQueue.acknowledge,
}


@pytest.mark.parametrize("held", range(3))
@pytest.mark.parametrize(
    ("first", "second"),
    [("replay", "replay"), ("replay", "delete"), ("delete", "replay"), ("acknowledge", "replay")],
)
def test_two_that_name_the_same_letters_in_opposite_orders_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue, letters: list[int], first: str, second: str, held: int
) -> None:
    one, two = crew.interleave(
        shared_queue.dlq.name,
        [letters[held]],
        lambda queue: LETTER_VERBS[first](queue, *letters),
        lambda queue: LETTER_VERBS[second](queue, *reversed(letters)),
    )

    assert one == ["replayed" if first == "replay" else "ok"] * 3
    assert two == ["missing"] * 3


def test_letters_may_be_replayed_while_others_are_buried(
    crew: Crew, shared_queue: JobQueue, jobs: list[Json]
) -> None:
    first, second, third = jobs
    shared_queue.dead_letter(first)
    with uncommitted(crew, 0, shared_queue.dlq.name) as queue:
        (replayed,) = DeadLetterQueue(queue.api, queue.name).replay(1)
        buried = shared_queue.dead_letter(second, third)

    assert (replayed["status"], buried) == ("replayed", ["ok", "ok"])
    assert len(shared_queue.rows()) == 1
    assert len(shared_queue.dlq.letters()) == 2


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_do_anything_at_any_time_lose_no_job_and_never_deadlock(
    crew: Crew, shared_queue: JobQueue, seed: int
) -> None:
    """Each works on what it holds and on what it held; each job ends in exactly one place."""
    shared_queue.create(max_attempts=4)
    shared_queue.send(*[{"run_id": f"r{n}"} for n in range(60)])

    def worker(number: int) -> Call:
        chance = random.Random(f"{seed} {number}")

        def work(queue: JobQueue) -> Counter[str]:
            statuses: Counter[str] = Counter()
            known: list[Json] = []
            for _ in range(30):
                known = [*known[-12:], *queue.claim(chance.randint(1, 6), vt_seconds=0)]
                some = chance.sample(known, k=min(len(known), chance.randint(1, 8)))
                if chance.random() < 0.5:
                    weights = {
                        "complete": 1,
                        "archive": 1,
                        "retry": 4,
                        "release": 4,
                        "dead_letter": 1,
                    }
                    kinds = chance.choices([*weights], [*weights.values()], k=len(some))
                    batch = [outcome(k, job) for k, job in zip(kinds, some, strict=True)]
                    statuses.update(queue.settle(batch))
                else:
                    statuses.update(queue.extend(*some, vt_seconds=0))
                if chance.random() < 0.2:
                    queue.dlq.replay(*chance.sample(range(1, 40), k=10))
            return statuses

        return work

    statuses = sum(
        crew.at_once(shared_queue.name, [worker(number) for number in range(4)]), Counter[str]()
    )

    assert set(statuses) <= {"ok", "lost", "missing"}
    done = [job for job in shared_queue.history() if job["state"] != "dead_lettered"]
    letters, waiting = shared_queue.dlq.letters(), shared_queue.rows()
    places = Counter(job["run_id"] for job in done)
    places.update(row["message"]["run_id"] for row in [*letters, *waiting])
    assert places == Counter(f"r{n}" for n in range(60))
    totals = shared_queue.totals()
    assert totals["completed_jobs"] == len(done)
    assert (totals["pending_jobs"], totals["dlq_jobs"]) == (len(waiting), len(letters))
