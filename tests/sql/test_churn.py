"""The cost of a claim where the entries of jobs that are done cannot be cleaned away.

A long transaction anywhere in the database does that. Here it is the test's own, in which
everything happens: what it has deleted stays in the index until it ends.
"""

from __future__ import annotations

import pytest

from tests.sql.client import JobQueue, Json

DONE = 11_000
"""More than a claim walks past without remembering it."""


def walked(queue: JobQueue) -> int:
    """Return how many entries of the index of vt have been walked past so far."""
    index = f"pgmq.q_{queue.name}_vt_idx"
    return int(queue.api.value("select pg_stat_get_xact_tuples_returned(%s::regclass)", index))


def claim(queue: JobQueue, quantity: int = 1) -> tuple[list[Json], int]:
    """Claim jobs; return them, and how many entries that walked past."""
    before = walked(queue)
    jobs = queue.claim(quantity)
    return jobs, walked(queue) - before


def remembered(queue: JobQueue) -> str:
    """Return what the connection remembers of the queue."""
    return str(
        queue.api.value(
            "select coalesce(current_setting('meshhook.due_from_' || queue_id, true), '')"
            " from meshhook.queues where queue_name = %s",
            queue.name,
        )
    )


def let_walks_be_due(queue: JobQueue) -> None:
    """Let so much time pass that a walk from the beginning is due."""
    queue.api.value(
        "select set_config('meshhook.due_from_' || queue_id, %s, false)"
        " from meshhook.queues where queue_name = %s",
        f"{remembered(queue).partition(' ')[0] or 0} 0",
        queue.name,
    )


def add(queue: JobQueue, jobs: int, seconds_ago: float) -> None:
    """Put jobs in the queue that have been due for a while."""
    queue.api.value(
        f"with added as (insert into pgmq.q_{queue.name} (vt, message)"
        " select clock_timestamp() - make_interval(secs => %s), jsonb_build_object('number', n)"
        " from generate_series(0, %s - 1) n returning 1) select count(*) from added",
        seconds_ago,
        jobs,
    )


@pytest.fixture
def churned(queue: JobQueue) -> JobQueue:
    """A queue with many jobs done and five waiting, of which the first has just been claimed."""
    add(queue, DONE, 3600)
    while jobs := queue.claim_all():
        queue.acknowledge(*jobs)
    add(queue, 5, 60)
    if remembered(queue):
        let_walks_be_due(queue)
    jobs, past = claim(queue)
    assert [job["message"]["number"] for job in jobs] == [0]
    assert past > DONE
    return queue


def test_a_claim_walks_past_what_is_done_once_and_the_next_does_not(churned: JobQueue) -> None:
    for number in range(1, 5):
        jobs, past = claim(churned)
        assert [job["message"]["number"] for job in jobs] == [number]
        assert past < 20


def test_an_empty_claim_does_not_walk_either(churned: JobQueue) -> None:
    claim(churned, 10)
    jobs, past = claim(churned, 10)

    assert jobs == []
    assert past < 20


def test_what_came_in_behind_is_found_by_the_next_walk(churned: JobQueue) -> None:
    add(churned, 1, 7200)
    assert [job["message"]["number"] for job in churned.claim(10)] == [1, 2, 3, 4]
    assert churned.claim(10) == []

    let_walks_be_due(churned)

    assert [job["message"]["number"] for job in churned.claim(10)] == [0]


def test_what_comes_now_is_found_at_once(churned: JobQueue) -> None:
    churned.claim(10)
    for _ in range(3):
        (msg_id,) = churned.send({})
        assert [job["msg_id"] for job in churned.claim(10)] == [msg_id]


def test_a_walk_is_due_after_twenty_times_what_the_last_one_took(churned: JobQueue) -> None:
    start, walk = (float(part) for part in remembered(churned).split())
    now = float(churned.api.value("select extract(epoch from clock_timestamp())"))

    assert start == pytest.approx(now - 60, abs=10)
    assert now - 10 < walk < now + 60


def test_a_claim_that_does_not_walk_puts_off_no_walk(churned: JobQueue) -> None:
    _, _, walk = remembered(churned).partition(" ")
    churned.claim(2)

    assert remembered(churned).partition(" ")[2] == walk


@pytest.fixture
def quiet(queue: JobQueue) -> JobQueue:
    """A queue of which the tests before this one have left nothing in the index."""
    quiet = JobQueue(queue.api, "quiet")
    quiet.create()
    return quiet


def test_where_little_is_done_nothing_is_remembered(quiet: JobQueue) -> None:
    for _ in range(3):
        quiet.send(*[{}] * 100)
        quiet.acknowledge(*quiet.claim_all())

    assert remembered(quiet) == ""


def test_it_is_forgotten_when_there_is_little_to_walk_past(quiet: JobQueue) -> None:
    let_walks_be_due(quiet)
    assert remembered(quiet) != ""
    quiet.claim()

    assert remembered(quiet) == ""
