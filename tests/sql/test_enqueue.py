"""Enqueue: what is put in the queue, when it is due, and what a repeat gets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.sql.client import JobQueue, ids, refused

DAY = 86_400
LONGEST_DELAY = 366 * DAY


def delays_of(queue: JobQueue) -> list[float]:
    """How many seconds the jobs have to wait from when they were enqueued, rounded."""
    return [round((row["vt"] - row["enqueued_at"]).total_seconds(), 1) for row in queue.rows()]


def test_ids_come_in_the_order_of_the_messages(queue: JobQueue) -> None:
    sent = queue.send(*({"n": n} for n in range(200)))

    assert sent == sorted(sent)
    assert [row["message"]["n"] for row in queue.rows()] == list(range(200))
    assert [row["msg_id"] for row in queue.rows()] == sent


def test_a_message_is_stamped_with_its_attempt_its_maximum_and_its_time(queue: JobQueue) -> None:
    queue.send({"run_id": "r"})

    row = queue.row()
    enqueued_at = row["message"].pop("enqueued_at")
    assert row["message"] == {
        "run_id": "r",
        "attempt": 1,
        "max_attempts": 5,
        "_meshhook": {"default_max_attempts": True},
    }
    assert queue.api.value("select %s::timestamptz - now() < interval '1 minute'", enqueued_at)


def test_what_the_sender_stamped_stays(queue: JobQueue) -> None:
    stamped = {"attempt": 3, "max_attempts": 9, "enqueued_at": "2020-02-02T02:02:02Z"}

    queue.send(stamped)

    assert queue.row()["message"] == stamped


def test_a_maximum_that_the_sender_left_open_follows_the_queue(queue: JobQueue) -> None:
    queue.send({}, {"max_attempts": 5})
    queue.create(max_attempts=8)

    assert [job["max_attempts"] for job in queue.claim_all()] == [8, 5]


@pytest.mark.parametrize("under_key", [None, "text", 7, [1], True], ids=repr)
def test_a_reserved_key_that_holds_no_object_does_not_make_the_default_the_senders(
    queue: JobQueue, under_key: Any
) -> None:
    queue.send({"_meshhook": under_key})

    assert queue.claim_one(max_attempts=3)["max_attempts"] == 3


def test_what_stands_under_the_reserved_key_stays_beside_the_mark(queue: JobQueue) -> None:
    queue.send({"_meshhook": {"priority": 7}})

    assert queue.row()["message"]["_meshhook"] == {"priority": 7, "default_max_attempts": True}


def test_a_message_that_was_copied_from_a_delivery_counts_its_own_deliveries(
    queue: JobQueue,
) -> None:
    queue.send({})
    queue.retry(queue.claim_one())
    copied = queue.claim_one()["message"]
    queue.purge()
    queue.send({**copied, "attempt": 1})

    attempts = [queue.claim_one(vt_seconds=0)["attempt"] for _ in range(3)]

    assert attempts == [1, 2, 3]


def test_a_copied_message_does_not_kill_more_workers_than_its_maximum(queue: JobQueue) -> None:
    queue.send({"max_attempts": 2, "_meshhook": {"reads": 40}})

    deliveries = [queue.claim(vt_seconds=0) for _ in range(4)]

    assert [len(jobs) for jobs in deliveries] == [1, 1, 0, 0]


@pytest.mark.parametrize("delay", [0, 0.5, 60, LONGEST_DELAY])
def test_a_delay_counts_from_now(queue: JobQueue, delay: float) -> None:
    queue.send({}, {}, delay_seconds=delay)

    assert queue.api.value(
        "select bool_and(abs(extract(epoch from vt - clock_timestamp()) - %s) < 5)"
        ' from pgmq."q_orders"',
        delay,
    )


def test_each_message_may_have_its_own_delay(queue: JobQueue) -> None:
    queue.send({}, {}, {}, delays=[100, None, 0], delay_seconds=50)

    waits = [row["vt"] for row in queue.rows()]
    assert waits[0] - waits[1] == pytest.approx(timedelta(seconds=50), abs=timedelta(seconds=1))
    assert waits[1] - waits[2] == pytest.approx(timedelta(seconds=50), abs=timedelta(seconds=1))


def test_a_delayed_job_is_not_handed_out_before_its_time(queue: JobQueue) -> None:
    queue.send({}, delay_seconds=60)

    assert queue.claim() == []
    queue.pass_time(61)
    assert len(queue.claim()) == 1


def test_no_two_jobs_are_due_at_the_same_moment(queue: JobQueue) -> None:
    queue.send(*[{}] * 500)

    assert len({row["vt"] for row in queue.rows()}) > 450


def test_an_empty_batch_enqueues_nothing(queue: JobQueue) -> None:
    assert queue.enqueue([]) == {"msg_ids": [], "duplicate": False}
    assert queue.enqueue([], delays=[]) == {"msg_ids": [], "duplicate": False}
    assert queue.rows() == []


def test_a_batch_has_at_most_10000_messages(queue: JobQueue) -> None:
    assert len(queue.send(*[{}] * 10_000)) == 10_000

    with refused("MH002") as refusal:
        queue.send(*[{}] * 10_001)

    assert (refusal.field, refusal.value) == ("messages", "10001")


def test_a_message_may_hold_whatever_json_can(queue: JobQueue) -> None:
    message = {
        "attempt": 1,
        "max_attempts": 1,
        "enqueued_at": "?",
        "": {"": [None, True, {}]},
        "ünïcödé 🐘": "\t\n\\\"'$$--;\u2028\uffff",
        "precise": 12345678901234567,
        "deep": [[[[[[[[[[{"a": "b"}]]]]]]]]]],
    }

    queue.send(message)

    assert queue.claim_one()["message"] == message


def test_a_batch_is_enqueued_whole_or_not_at_all(queue: JobQueue) -> None:
    with refused("MH002") as refusal:
        queue.send({}, {}, "no object", {})

    assert (refusal.field, refusal.value) == ("messages[2]", '"no object"')
    assert queue.rows() == []


REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "an object": ({"messages": {}}, "messages", "{}"),
    "null": ({"messages": None}, "messages", None),
    "a number": ({"messages": 7}, "messages", "7"),
    "null among messages": ({"messages": [{}, None]}, "messages[1]", "null"),
    "an array among messages": ({"messages": [[]]}, "messages[0]", "[]"),
    "a negative delay": ({"messages": [{}], "delay_seconds": -0.1}, "delay_seconds", "-0.1"),
    "a null delay": ({"messages": [{}], "delay_seconds": None}, "delay_seconds", None),
    "no number": ({"messages": [{}], "delay_seconds": "NaN"}, "delay_seconds", "NaN"),
    "for ever": ({"messages": [{}], "delay_seconds": "Infinity"}, "delay_seconds", "Infinity"),
    "more than a year": (
        {"messages": [{}], "delay_seconds": LONGEST_DELAY + 1},
        "delay_seconds",
        "31622401",
    ),
    "too few delays": ({"messages": [{}, {}], "delays": [1]}, "delays", "1"),
    "too many delays": ({"messages": [{}], "delays": [1, 2]}, "delays", "2"),
    "a bad one of many delays": (
        {"messages": [{}, {}, {}], "delays": [0, None, -1]},
        "delays[2]",
        "-1",
    ),
    "no number among delays": ({"messages": [{}], "delays": ["NaN"]}, "delays[0]", "NaN"),
    "an empty request id": ({"messages": [{}], "request_id": ""}, "request_id", ""),
    "a long request id": ({"messages": [{}], "request_id": "x" * 256}, "request_id", "x" * 200),
    "remembered for no time": (
        {"messages": [{}], "request_id": "r", "remember_seconds": 0},
        "remember_seconds",
        "0",
    ),
    "remembered for more than a year": (
        {"messages": [{}], "request_id": "r", "remember_seconds": LONGEST_DELAY + 1},
        "remember_seconds",
        "31622401",
    ),
}


@pytest.mark.parametrize(("arguments", "field", "value"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_with_the_argument_its_value_and_the_fix(
    queue: JobQueue, arguments: dict[str, Any], field: str, value: str | None
) -> None:
    with refused("MH002") as refusal:
        queue.enqueue(**arguments)

    assert (refusal.field, refusal.value) == (field, value)
    assert refusal.message.startswith(field)
    assert refusal.hint
    assert queue.rows() == []


def test_delays_must_be_a_plain_list(queue: JobQueue) -> None:
    with refused("MH002") as refusal:
        queue.send({}, {}, delays=[[60], [60]])

    assert refusal.field == "delays"


def test_an_unknown_queue_is_named(queue: JobQueue) -> None:
    unknown = JobQueue(queue.api, "unknown")

    with refused("MH001") as refusal:
        unknown.send({})

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")
    assert "meshhook_create_queue" in refusal.hint


def test_a_repeat_gets_the_first_ids_whatever_it_brings(queue: JobQueue) -> None:
    first = queue.enqueue([{}, {}], request_id="r")

    repeat = queue.enqueue([{"other": True}], request_id="r", delay_seconds=5)

    assert first["duplicate"] is False
    assert repeat == {"msg_ids": first["msg_ids"], "duplicate": True}
    assert len(queue.rows()) == 2


def test_request_ids_are_those_of_a_queue_and_a_verb(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()

    queue.send({}, request_id="r")
    other.send({}, request_id="r")
    job = queue.dequeue(request_id="r")["jobs"][0]
    queue.retry(job, request_id="r")
    queue.send({}, request_id="R")

    assert len(queue.rows()) == 2
    assert len(other.rows()) == 1


def test_a_request_id_may_have_255_characters_of_any_kind(queue: JobQueue) -> None:
    request_id = "🐘'\"$;--\n" * 40

    queue.send({}, request_id=request_id[:255])
    queue.send({}, request_id=request_id[:254])

    assert queue.enqueue([{}], request_id=request_id[:255])["duplicate"]
    assert len(queue.rows()) == 2


def test_a_request_is_forgotten_after_ten_minutes_unless_told_otherwise(queue: JobQueue) -> None:
    queue.send({}, request_id="short", remember_seconds=60)
    queue.send({}, request_id="default")
    queue.send({}, request_id="long", remember_seconds=DAY)

    duplicates = []
    for seconds in (59, 2, 538, 2, DAY):
        queue.pass_time(seconds)
        with queue.api.connection.transaction(force_rollback=True):
            duplicates.append(
                [
                    queue.enqueue([{}], request_id=request_id)["duplicate"]
                    for request_id in ("short", "default", "long")
                ]
            )

    assert duplicates == [
        [True, True, True],
        [False, True, True],
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]


def test_a_forgotten_request_is_carried_out_and_remembered_anew(queue: JobQueue) -> None:
    first = queue.send({}, request_id="r")
    queue.pass_time(601)

    second = queue.send({}, request_id="r")

    assert second != first
    assert queue.enqueue([{}], request_id="r") == {"msg_ids": second, "duplicate": True}


def test_a_refused_request_is_not_remembered(queue: JobQueue) -> None:
    with refused("MH002"):
        queue.enqueue([7], request_id="r")

    assert queue.enqueue([{}], request_id="r")["duplicate"] is False


def test_an_empty_batch_is_remembered_too(queue: JobQueue) -> None:
    queue.enqueue([], request_id="r")

    assert queue.enqueue([{}], request_id="r") == {"msg_ids": [], "duplicate": True}


def test_a_job_that_was_enqueued_twice_by_hand_is_two_jobs(queue: JobQueue) -> None:
    queue.send({"run_id": "r"})
    queue.send({"run_id": "r"})

    assert len(ids(queue.find_jobs("r"))) == 2
