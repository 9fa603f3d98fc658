"""Dequeue: who gets which job, for how long, as which attempt, and what a repeat gets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.locks import wait_until_blocked
from tests.sql.client import Api, JobQueue, Json, ids, refused
from tests.sql.databases import Database


def receipts_of(jobs: list[Json]) -> list[tuple[int, int]]:
    return [(job["msg_id"], job["read_ct"]) for job in jobs]


def test_the_job_that_has_been_due_longest_comes_first(queue: JobQueue) -> None:
    late, early, now, not_yet = queue.send({}, {}, {}, {}, delays=[20, 10, 0, 60])
    queue.pass_time(30)

    assert ids(queue.claim_all()) == [now, early, late]
    assert not_yet not in ids(queue.claim_all())


def test_jobs_of_one_batch_come_in_the_order_of_the_batch(queue: JobQueue) -> None:
    sent = queue.send(*[{}] * 300)

    assert ids(queue.claim_all()) == sent


@pytest.mark.parametrize(("waiting", "quantity", "claimed"), [(0, 5, 0), (3, 5, 3), (5, 3, 3)])
def test_a_claim_gets_what_is_due_and_never_more_than_it_asked_for(
    queue: JobQueue, waiting: int, quantity: int, claimed: int
) -> None:
    queue.send(*[{}] * waiting)

    assert len(queue.claim(quantity)) == claimed
    assert sum(row["read_ct"] for row in queue.rows()) == claimed


def test_what_others_are_claiming_is_skipped_and_not_waited_for(
    database: Database, shared_queue: JobQueue
) -> None:
    sent = shared_queue.send(*[{}] * 10)
    with database.admin() as connection, connection.transaction():
        first = JobQueue(Api(connection), shared_queue.name).claim(4)
        second = shared_queue.claim(4)
        third = shared_queue.claim(4)

    assert sorted(ids(first + second + third)) == sent
    assert [len(jobs) for jobs in (first, second, third)] == [4, 4, 2]


def test_a_claim_that_is_rolled_back_never_happened(
    database: Database, shared_queue: JobQueue
) -> None:
    shared_queue.send({})
    with database.admin() as connection, connection.transaction(force_rollback=True):
        JobQueue(Api(connection), shared_queue.name).claim_one()

    assert shared_queue.claim_one()["read_ct"] == 1


def test_a_claim_says_how_long_it_lasts_and_how_to_back_off(queue: JobQueue) -> None:
    queue.create(vt_seconds=45.5, base_delay_ms=10, max_delay_ms=20)
    queue.send({})

    answer = queue.dequeue()

    assert (answer["vt_seconds"], answer["base_delay_ms"], answer["max_delay_ms"]) == (45.5, 10, 20)
    assert queue.api.value("select %s::timestamptz = %s", answer["vt"], queue.row()["vt"])


@pytest.mark.parametrize("seconds", [0.25, 1, 3600, 86_400])
def test_a_claimed_job_is_hidden_for_the_time_of_the_claim(queue: JobQueue, seconds: float) -> None:
    queue.send({})

    answer = queue.dequeue(vt_seconds=seconds)

    assert answer["vt_seconds"] == seconds
    assert queue.api.value(
        "select abs(extract(epoch from vt - clock_timestamp()) - %s) < 5 from pgmq.q_orders",
        seconds,
    )
    queue.pass_time(seconds + 1)
    assert queue.claim_one()["read_ct"] == 2


def test_a_timeout_of_zero_takes_a_job_without_hiding_it(queue: JobQueue) -> None:
    queue.send({}, {})

    assert len(queue.claim(2, vt_seconds=0)) == 2
    assert [job["read_ct"] for job in queue.claim(2)] == [2, 2]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", 1001),
        ("quantity", 2_147_483_647),
        ("quantity", None),
        ("vt_seconds", -0.5),
        ("vt_seconds", 86_401),
        ("vt_seconds", "NaN"),
        ("vt_seconds", "Infinity"),
        ("vt_seconds", "-Infinity"),
        ("vt_seconds", -1e300),
        ("max_attempts", 0),
        ("max_attempts", -5),
        ("max_attempts", 1_000_001),
    ],
)
def test_what_is_out_of_bounds_is_refused(queue: JobQueue, argument: str, value: Any) -> None:
    queue.send({})

    with refused("MH002") as refusal:
        queue.dequeue(**{argument: value})

    assert refusal.field == argument
    assert queue.row()["read_ct"] == 0


def test_a_job_has_its_message_as_it_is_stored(queue: JobQueue) -> None:
    queue.send({"b": 1, "a": [1.50, "é"]}, delay_seconds=0)

    job = queue.claim_one()

    assert job["message"] == queue.row()["message"]
    assert set(job) == {"msg_id", "read_ct", "enqueued_at", "attempt", "max_attempts", "message"}


def test_a_repeat_hands_out_the_same_jobs_under_the_same_receipts_in_the_same_order(
    queue: JobQueue,
) -> None:
    queue.send(*[{"n": n} for n in range(5)], delays=[4, 3, 2, 1, 0])
    queue.pass_time(10)
    first = queue.dequeue(quantity=3, request_id="r")

    repeat = queue.dequeue(quantity=3, request_id="r")

    assert repeat["jobs"] == first["jobs"]
    assert sum(row["read_ct"] for row in queue.rows()) == 3


def test_a_repeat_that_overtakes_its_first_try_waits_for_it(
    database: Database, shared_queue: JobQueue
) -> None:
    shared_queue.send({}, {}, {})
    with database.admin() as first, database.admin() as second, ThreadPoolExecutor() as threads:
        with first.transaction():
            claimed = JobQueue(Api(first), shared_queue.name).claim(2, request_id="r")
            repeating = threads.submit(
                JobQueue(Api(second), shared_queue.name).claim, 2, request_id="r"
            )
            wait_until_blocked(shared_queue.api.connection, second.info.backend_pid)
        repeated = repeating.result()

    assert repeated == claimed
    assert len(shared_queue.claim(2)) == 1


def test_a_repeat_renews_the_leases_but_never_shortens_them(queue: JobQueue) -> None:
    queue.send({}, {})
    first, second = queue.claim(2, vt_seconds=30, request_id="r")
    queue.extend(second, vt_seconds=600)
    queue.pass_time(20)

    queue.claim(2, vt_seconds=30, request_id="r")

    left = queue.api.look(
        "select msg_id, round(extract(epoch from vt - clock_timestamp()))::integer as seconds"
        " from pgmq.q_orders order by msg_id"
    )
    assert left == [
        {"msg_id": first["msg_id"], "seconds": 30},
        {"msg_id": second["msg_id"], "seconds": 580},
    ]


def test_a_repeat_gets_only_what_nobody_else_has_read_since(queue: JobQueue) -> None:
    queue.send(*[{}] * 3)
    jobs = queue.claim(3, vt_seconds=30, request_id="r")
    queue.pass_time(31)
    (taken,) = queue.claim(1)

    repeat = queue.claim(3, request_id="r")

    assert receipts_of(repeat) == [r for r in receipts_of(jobs) if r[0] != taken["msg_id"]]
    assert queue.acknowledge(taken) == ["ok"]


def test_a_repeat_gets_nothing_that_was_settled(queue: JobQueue) -> None:
    queue.send(*[{}] * 3)
    first, second, third = queue.claim(3, request_id="r")
    queue.acknowledge(first)
    queue.dead_letter(second)

    assert receipts_of(queue.claim(3, request_id="r")) == receipts_of([third])


def test_a_repeat_takes_nothing_new_in_place_of_what_is_gone(queue: JobQueue) -> None:
    queue.send({}, {})
    queue.acknowledge(queue.claim_one(request_id="r"))

    assert queue.claim(request_id="r") == []
    assert len(queue.claim(request_id="another")) == 1


def test_a_repeat_tells_of_the_dead_letters_again(queue: JobQueue) -> None:
    queue.send({"max_attempts": 1})
    queue.claim_one(vt_seconds=0)
    first = queue.dequeue(request_id="r")

    assert len(first["dead_lettered"]) == 1
    assert queue.dequeue(request_id="r")["dead_lettered"] == first["dead_lettered"]
    assert len(queue.dlq.letters()) == 1


def test_an_empty_claim_is_not_remembered(queue: JobQueue) -> None:
    assert queue.claim(request_id="r") == []
    queue.send({})

    assert len(queue.claim(request_id="r")) == 1


def test_a_repeat_after_its_time_claims_anew(queue: JobQueue) -> None:
    queue.send({})
    queue.claim_one(vt_seconds=30, request_id="r")
    queue.pass_time(601)

    assert queue.claim_one(request_id="r")["read_ct"] == 2


def test_a_retried_job_is_not_handed_out_by_a_repeat_before_its_time(queue: JobQueue) -> None:
    queue.send({})
    job = queue.claim_one(request_id="r")
    queue.retry(job, delay_seconds=300)

    assert queue.claim(request_id="r") == []
    queue.pass_time(301)
    assert queue.claim_one(request_id="other")["attempt"] == 2


@pytest.mark.parametrize(
    ("message", "worker", "expected"),
    [({"max_attempts": 2}, 3, 2), ({}, 3, 3), ({}, None, 4), ({"max_attempts": 9}, None, 9)],
)
def test_a_jobs_maximum_wins_over_the_workers_and_that_over_the_queues(
    queue: JobQueue, message: Json, worker: int | None, expected: int
) -> None:
    queue.create(max_attempts=4)
    queue.send(message)

    assert queue.claim_one(max_attempts=worker)["max_attempts"] == expected


def test_the_last_attempt_is_handed_out_and_the_one_after_it_is_not(queue: JobQueue) -> None:
    queue.send({"max_attempts": 3})

    deliveries = [queue.dequeue(vt_seconds=0) for _ in range(4)]

    assert [[job["attempt"] for job in d["jobs"]] for d in deliveries] == [[1], [2], [3], []]
    assert ids(deliveries[3]["dead_lettered"]) == [1]
    letter = queue.dlq.one()["message"]
    assert (letter["attempt"], letter["read_count"]) == (3, 3)


def test_a_smaller_maximum_of_a_worker_buries_jobs_that_are_past_it(queue: JobQueue) -> None:
    queue.send({})
    for _ in range(3):
        queue.claim_one(vt_seconds=0)

    assert queue.claim(max_attempts=2) == []
    assert queue.dlq.one()["message"]["attempt"] == 3


def test_only_deliveries_that_nobody_settled_are_recorded_as_lapsed(queue: JobQueue) -> None:
    queue.send({})
    queue.claim_one(vt_seconds=0)
    queue.release(queue.claim_one())
    queue.retry(queue.claim_one(), error_message="boom")
    queue.claim_one(vt_seconds=0)
    queue.claim_one()

    assert [(a["read_ct"], a["attempt"], a["outcome"]) for a in queue.attempts()] == [
        (1, 1, "lapsed"),
        (3, 2, "retried"),
        (4, 3, "lapsed"),
    ]


def test_jobs_that_may_not_be_handed_out_do_not_use_up_the_quantity(queue: JobQueue) -> None:
    queue.send(*[{"max_attempts": 1}] * 5)
    queue.claim_all()
    queue.pass_time(31)
    good = queue.send({}, {}, {})

    answer = queue.dequeue(quantity=3)

    assert ids(answer["jobs"])
    assert set(ids(answer["jobs"])) <= set(good)
    assert len(answer["dead_lettered"]) + len(ids(answer["jobs"])) >= 3


def test_no_number_of_jobs_that_may_not_be_handed_out_hides_one_that_may(queue: JobQueue) -> None:
    queue.send(*[{"max_attempts": 1}] * 50)
    queue.claim_all()
    queue.pass_time(31)
    (good,) = queue.send({})

    assert ids(queue.claim(1)) == [good]


def test_a_claim_buries_a_bounded_number_of_jobs(queue: JobQueue) -> None:
    queue.send(*[{"max_attempts": 1}] * 5000)
    for _ in range(5):
        queue.claim_all()
    queue.pass_time(31)

    answer = queue.dequeue(quantity=100)

    assert answer["jobs"] == []
    assert 0 < len(answer["dead_lettered"]) <= 2000


MALFORMED: dict[str, str] = {
    "null": "null",
    "a list": "[1]",
    "a text": '"text"',
    "attempt zero": '{"attempt": 0}',
    "attempt below zero": '{"attempt": -1}',
    "a fraction of an attempt": '{"attempt": 1.5}',
    "attempt in words": '{"attempt": "1"}',
    "no attempt": '{"attempt": null}',
    "a huge attempt": '{"attempt": 1e400}',
    "an attempt too many": '{"attempt": 1000001}',
    "a maximum of zero": '{"max_attempts": 0}',
    "a maximum in words": '{"max_attempts": "5"}',
    "a huge maximum": '{"max_attempts": 1e400}',
    "a huge negative maximum": '{"max_attempts": -1e400}',
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_a_message_that_makes_no_sense_is_buried_as_it_is(queue: JobQueue, message: str) -> None:
    queue.api.value("select pgmq.send('orders', %s::jsonb)", message)

    (buried,) = queue.dequeue()["dead_lettered"]

    assert buried["error_message"].startswith("MalformedMessage: ")
    assert queue.dlq.one()["message"]["read_count"] == 0
    assert queue.api.value(
        "select coalesce(message -> '_meshhook' -> 'original', message) @> %s::jsonb"
        " from pgmq.q_orders_dlq",
        message,
    )


def test_a_message_that_is_no_json_at_all_is_buried(queue: JobQueue) -> None:
    queue.api.value("select pgmq.send('orders', null::jsonb, 0)")

    (buried,) = queue.dequeue()["dead_lettered"]

    assert buried["error_message"] == "MalformedMessage: the message is not a JSON object"


@pytest.mark.parametrize(
    "state",
    [
        "null",
        "7",
        '"x"',
        "[]",
        '{"reads": "x"}',
        '{"reads": -5}',
        '{"reads": 1e400}',
        '{"reads": null}',
    ],
)
def test_whatever_stands_under_the_reserved_key_a_job_is_handed_out(
    queue: JobQueue, state: str
) -> None:
    queue.api.value("select pgmq.send('orders', ('{\"_meshhook\": ' || %s || '}')::jsonb)", state)

    job = queue.claim_one()
    assert job["attempt"] == 1
    assert queue.retry(job) == ["ok"]
    assert queue.claim_one()["attempt"] == 2


def test_a_job_past_its_last_attempt_is_buried_with_its_last_error(queue: JobQueue) -> None:
    queue.send({"max_attempts": 1})
    queue.retry(queue.claim_one(), error_message="ValueError: boom", error_stack="where")

    queue.claim()

    letter = queue.dlq.one()
    assert letter["message"]["error_message"] == "ValueError: boom"
    assert letter["message"]["read_count"] == 1


def test_a_job_whose_last_failure_said_nothing_is_not_said_to_have_lost_its_lease(
    queue: JobQueue,
) -> None:
    queue.send({"max_attempts": 1})
    queue.retry(queue.claim_one())

    (buried,) = queue.dequeue()["dead_lettered"]

    assert not buried["error_message"].startswith("LeaseExpired")


def test_a_job_that_came_past_its_last_attempt_is_not_said_to_have_been_delivered(
    queue: JobQueue,
) -> None:
    queue.send({"attempt": 6, "max_attempts": 5})

    (buried,) = queue.dequeue()["dead_lettered"]

    assert not buried["error_message"].startswith("LeaseExpired")
    letter = queue.dlq.one()["message"]
    assert (letter["attempt"], letter["read_count"]) == (5, 0)


def test_a_job_that_somebody_read_with_pgmq_counts_that_as_a_delivery(queue: JobQueue) -> None:
    queue.send({})
    queue.api.look("select pgmq.read('orders', 0, 1)")

    assert (job := queue.claim_one())["attempt"] == 2
    assert queue.acknowledge(job) == ["ok"]


def test_a_queue_without_history_hands_out_and_buries_without_writing_any(queue: JobQueue) -> None:
    queue.create(keeps_history=False)
    queue.send({"max_attempts": 2})

    for _ in range(3):
        queue.claim(vt_seconds=0)

    assert len(queue.dlq.letters()) == 1
    assert (queue.history(), queue.attempts()) == ([], [])
    assert queue.totals()["failed_jobs"] == 1


def test_an_unknown_queue_is_named(queue: JobQueue) -> None:
    with refused("MH001") as refusal:
        JobQueue(queue.api, "unknown").dequeue()

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")
