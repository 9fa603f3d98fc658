"""A key for each job of a batch: which go in, what is answered, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.client import JobQueue, refused
from tests.sql.databases import Database
from tests.sql.races import Crew, uncommitted


def enqueue(queue: JobQueue, *keys: str | None, **more: Any) -> tuple[list[int], list[bool]]:
    """Enqueue a message for each key, and return the ids and which of them were known."""
    answer = queue.enqueue([{"key": key} for key in keys], keys=keys, **more)
    return answer["msg_ids"], answer["duplicates"]


def stored(queue: JobQueue) -> list[str | None]:
    """Return the keys of the jobs that are in the queue."""
    return [row["message"]["key"] for row in queue.rows()]


@pytest.fixture(scope="module")
def crew(database: Database) -> Iterator[Crew]:
    """Three connections."""
    with Crew(database, 3) as crew:
        yield crew


def test_only_jobs_whose_keys_are_new_go_in(queue: JobQueue) -> None:
    (a, b), _ = enqueue(queue, "a", "b")

    ids, known = enqueue(queue, "b", "c", None, "c", "a", None)

    assert known == [True, False, False, True, True, False]
    assert ids == [b, ids[1], ids[2], ids[1], a, ids[5]]
    assert stored(queue) == ["a", "b", "c", None, None]
    assert [row["msg_id"] for row in queue.rows()] == [a, b, ids[1], ids[2], ids[5]]


def test_each_job_keeps_its_own_delay_and_time(queue: JobQueue) -> None:
    enqueue(queue, "a")

    enqueue(
        queue, "a", "b", "c", delays=[7, 60, None], run_ats=[None, None, "2001-01-01T00:00:00Z"]
    )

    _, b, c = queue.rows()
    assert round((b["vt"] - b["enqueued_at"]).total_seconds()) == 60
    assert round((c["vt"] - c["enqueued_at"]).total_seconds()) == 0


def test_a_jobs_key_and_the_key_of_a_call_for_one_job_are_the_same(queue: JobQueue) -> None:
    one = queue.send({"key": "one"}, request_id="one")
    (two,), _ = enqueue(queue, "two")

    assert enqueue(queue, "one") == (one, [True])
    assert queue.enqueue([{}], request_id="two") == {"msg_ids": [two], "duplicate": True}


def test_keys_are_remembered_as_long_as_was_said(queue: JobQueue) -> None:
    enqueue(queue, "a", remember_seconds=3600)

    queue.pass_time(3599)
    assert enqueue(queue, "a")[1] == [True]
    queue.pass_time(2)
    assert enqueue(queue, "a")[1] == [False]


def test_a_repeat_of_the_call_gets_its_first_answer(queue: JobQueue) -> None:
    first = queue.enqueue([{}, {}], keys=["a", None], request_id="r")

    again = queue.enqueue([{}, {}], keys=["a", None], request_id="r")

    assert again == {**first, "duplicate": True}
    assert len(queue.rows()) == 2


def test_a_key_that_names_several_jobs_is_refused_and_nothing_goes_in(queue: JobQueue) -> None:
    queue.send({}, {}, request_id="batch")

    with refused("MH002") as refusal:
        enqueue(queue, "new", "batch")

    assert refusal.field == "keys[1]"
    assert len(queue.rows()) == 2
    assert enqueue(queue, "new")[1] == [False]


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ([], "keys"),
        (["a", "b"], "keys"),
        ([""], "keys[0]"),
        (["x" * 256], "keys[0]"),
        (["r"], "keys[0]"),
    ],
    ids=["none", "too many", "empty", "too long", "that of the call"],
)
def test_keys_that_make_no_sense_are_refused(queue: JobQueue, keys: list[str], field: str) -> None:
    with refused("MH002") as refusal:
        queue.enqueue([{}], keys=keys, request_id="r")

    assert refusal.field == field


def test_ten_thousand_keys_go_in_in_one_call(queue: JobQueue) -> None:
    keys = [f"key {n}" for n in range(10_000)]

    assert not any(enqueue(queue, *keys)[1])
    assert all(enqueue(queue, *reversed(keys))[1])
    assert len(queue.rows()) == 10_000


def test_two_batches_with_the_same_keys_in_other_orders_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue
) -> None:
    with uncommitted(crew, 0, shared_queue.name) as holder:
        enqueue(holder, "m")
        one = crew.begin(1, shared_queue.name, lambda queue: enqueue(queue, "a", "m", "z"))
        two = crew.begin(2, shared_queue.name, lambda queue: enqueue(queue, "z", "m", "a"))
    (a, m, z), known = one.result()

    assert known == [False, True, False]
    assert two.result() == ([z, m, a], [True, True, True])
    assert sorted(map(str, stored(shared_queue))) == ["a", "m", "z"]


def test_a_call_for_one_job_and_a_batch_under_way_with_its_key_enqueue_one_job(
    crew: Crew, shared_queue: JobQueue
) -> None:
    def single(queue: JobQueue) -> list[int]:
        return queue.send({"key": "k"}, request_id="k")

    with uncommitted(crew, 0, shared_queue.name) as batch:
        ids, _ = enqueue(batch, "k", "other")
        late = crew.begin(1, shared_queue.name, single)

    # An outage to the SDK, which calls again.
    with pytest.raises(psycopg.errors.LockNotAvailable):
        late.result()
    assert single(shared_queue) == ids[:1]
    assert stored(shared_queue) == ["k", "other"]


def test_a_batch_waits_for_a_call_under_way_with_one_of_its_keys(
    crew: Crew, shared_queue: JobQueue
) -> None:
    with uncommitted(crew, 0, shared_queue.name) as single:
        first = single.send({"key": "k"}, request_id="k")
        batch = crew.begin(1, shared_queue.name, lambda queue: enqueue(queue, "j", "k"))

    ids, known = batch.result()
    assert (ids[1:], known) == (first, [False, True])


def test_a_batch_under_way_and_a_drop_of_its_queue_do_not_deadlock(
    crew: Crew, shared_queue: JobQueue
) -> None:
    enqueue(shared_queue, "a", "b")
    with crew.connections[0].transaction():
        crew.connections[0].execute(
            "select from meshhook.requests where queue_name = %s and request_id = 'b' for update",
            [shared_queue.name],
        )
        batch = crew.begin(1, shared_queue.name, lambda queue: enqueue(queue, "a", "b", "c"))
        dropped = crew.begin(2, shared_queue.name, JobQueue.drop)

    assert batch.result()[1] == [True, True, False]
    assert dropped.result()
    shared_queue.create()
    assert enqueue(shared_queue, "a")[1] == [False]
