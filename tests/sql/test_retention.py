"""Prune: history, archives and memories go after their time, a bounded number at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.client import JobQueue, Json, refused
from tests.sql.databases import Database

DAY = 86_400.0
NOTHING = {"jobs": 0, "attempts": 0, "archived": 0, "requests": 0, "more": False}


@pytest.fixture(autouse=True)
def without_requests(queue: JobQueue) -> None:
    """Forget what other tests have committed."""
    queue.api.connection.execute("delete from meshhook.requests where true")


def finish(queue: JobQueue, jobs: int) -> None:
    """Finish jobs: each leaves a row in the history, in the archive, and of a failed attempt."""
    queue.send(*[{}] * jobs)
    queue.retry(*queue.claim(jobs))
    queue.archive(*queue.claim(jobs))


def left(queue: JobQueue) -> tuple[int, int, int]:
    return len(queue.history()), len(queue.attempts()), len(queue.archived())


def test_what_is_older_goes_and_what_is_younger_stays(queue: JobQueue) -> None:
    finish(queue, 3)
    queue.pass_time(8 * DAY)
    finish(queue, 2)

    assert queue.prune(7) == {"jobs": 3, "attempts": 3, "archived": 3, "requests": 0, "more": False}
    assert left(queue) == (2, 2, 2)
    assert queue.prune(7) == NOTHING


def test_a_prune_of_everything_takes_everything(queue: JobQueue) -> None:
    finish(queue, 2)

    assert queue.prune(0)["jobs"] == 2
    assert left(queue) == (0, 0, 0)


def test_a_prune_takes_at_most_so_many_rows_and_says_whether_there_are_more(
    queue: JobQueue,
) -> None:
    finish(queue, 4)
    queue.pass_time(8 * DAY)

    answers = [queue.prune(7, max_rows=5) for _ in range(4)]

    removed = [a["jobs"] + a["attempts"] + a["archived"] for a in answers]
    assert removed == [5, 5, 2, 0]
    assert [a["more"] for a in answers] == [True, True, False, False]
    assert left(queue) == (0, 0, 0)


def test_the_oldest_go_first(queue: JobQueue) -> None:
    for _ in range(3):
        finish(queue, 1)
        queue.pass_time(1 * DAY)

    queue.prune(0.5, max_rows=1)

    assert [job["msg_id"] for job in queue.history()] == [2, 3]


def test_a_prune_of_one_queue_leaves_the_others(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    for each in (queue, other):
        finish(each, 2)
        each.pass_time(8 * DAY)

    queue.prune(7)
    assert (left(queue), left(other)) == ((0, 0, 0), (2, 2, 2))

    queue.api.call("meshhook_prune", older_than_days=7)
    assert left(other) == (0, 0, 0)


def test_each_queue_is_pruned_by_its_own_retention(queue: JobQueue) -> None:
    kept, other = JobQueue(queue.api, "kept"), JobQueue(queue.api, "other")
    kept.create()
    other.create(retention_days=30)
    queue.configure(retention_days=7)
    for one in (queue, kept, other):
        one.send({})
        one.acknowledge(one.claim_one())
        one.pass_time(8 * DAY)

    answer: Json = queue.api.call("meshhook_prune")

    assert answer == {**NOTHING, "jobs": 1}
    assert [len(one.history()) for one in (queue, kept, other)] == [0, 1, 1]


def test_a_retention_can_be_set_back_to_without_end(queue: JobQueue) -> None:
    queue.configure(retention_days=7)

    assert queue.configure(retention_days="Infinity")["retention_days"] is None
    assert queue.configure(max_attempts=3)["retention_days"] is None
    assert queue.create(retention_days=7)["retention_days"] == 7
    assert queue.create(retention_days="Infinity")["retention_days"] is None


def test_a_queue_without_retention_keeps_everything(queue: JobQueue) -> None:
    queue.send({})
    queue.acknowledge(queue.claim_one())
    queue.pass_time(366 * DAY)

    assert queue.prune() == NOTHING


def test_a_prune_of_all_queues_keeps_to_its_bound(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create(retention_days=7)
    queue.configure(retention_days=7)
    for one in (queue, other):
        one.send({}, {}, {})
        one.acknowledge(*one.claim(3))
        one.pass_time(8 * DAY)

    answers = [queue.api.call("meshhook_prune", max_rows=4) for _ in range(2)]

    assert [(answer["jobs"], answer["more"]) for answer in answers] == [(4, True), (2, False)]


def test_the_history_of_a_dropped_queue_can_be_pruned(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    finish(other, 2)
    other.pass_time(8 * DAY)
    other.drop()

    answer: Json = queue.api.call("meshhook_prune", older_than_days=7)

    assert (answer["jobs"], answer["attempts"]) == (2, 2)


def test_a_dropped_queue_leaves_no_totals_behind(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    finish(other, 2)
    queue_id = queue.api.value("select queue_id from meshhook.queues where queue_name = 'other'")

    other.drop()

    assert (
        queue.api.value("select count(*) from meshhook.totals where queue_id = %s", queue_id) == 0
    )


def test_expired_requests_go_and_live_ones_stay(queue: JobQueue) -> None:
    queue.send({}, request_id="expired", remember_seconds=60)
    queue.send({}, request_id="alive")
    queue.pass_time(61)

    assert queue.prune(365)["requests"] == 1
    assert queue.enqueue([{}], request_id="alive")["duplicate"]


def test_waiting_jobs_and_dead_letters_are_never_pruned(queue: JobQueue) -> None:
    queue.send({}, {})
    queue.dead_letter(queue.claim_one())
    queue.pass_time(365 * DAY)

    queue.prune(1)

    assert (len(queue.rows()), len(queue.dlq.letters())) == (1, 1)
    assert queue.dlq.replay(1)[0]["status"] == "replayed"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"older_than_days": -1}, "older_than_days"),
        ({"older_than_days": 36_601}, "older_than_days"),
        ({"older_than_days": "NaN"}, "older_than_days"),
        ({"older_than_days": "Infinity"}, "older_than_days"),
        ({"older_than_days": 1e300}, "older_than_days"),
        ({"older_than_days": 1, "max_rows": 0}, "max_rows"),
        ({"older_than_days": 1, "max_rows": 100_001}, "max_rows"),
        ({"older_than_days": 1, "max_rows": None}, "max_rows"),
    ],
)
def test_what_is_out_of_bounds_is_refused(queue: JobQueue, arguments: Any, field: str) -> None:
    with refused("MH002") as refusal:
        queue.prune(**arguments)

    assert refusal.field == field


def test_an_unknown_queue_is_named(queue: JobQueue) -> None:
    with refused("MH001") as refusal:
        JobQueue(queue.api, "unknown").prune(1)

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")


def test_two_prunes_at_once_wait_for_no_one_another(
    database: Database, shared_queue: JobQueue
) -> None:
    finish(shared_queue, 6)
    with database.admin() as connection, connection.transaction():
        connection.execute("select from meshhook.jobs where msg_id <= 3 for update")
        answer = shared_queue.prune(0)

    assert answer["jobs"] == 3
    assert [job["msg_id"] for job in shared_queue.history()] == [1, 2, 3]
