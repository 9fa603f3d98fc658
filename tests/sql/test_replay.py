"""Replay: dead letters become jobs again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.client import JobQueue, Json, ids, refused
from tests.sql.databases import on_plain, on_those_with_headers


def bury(queue: JobQueue, *messages: Json) -> list[int]:
    """Bury a job for each message, and return the ids of their letters."""
    queue.send(*messages)
    before = set(ids(queue.dlq.letters()))
    queue.dead_letter(*queue.claim(len(messages)), error_message="boom", error_stack="where")
    return [msg_id for msg_id in ids(queue.dlq.letters()) if msg_id not in before]


def test_a_replayed_job_begins_anew_with_what_its_sender_gave(queue: JobQueue) -> None:
    queue.send({"run_id": "r", "max_attempts": 2, "_meshhook": {"mine": 1}})
    queue.retry(queue.claim_one(), error_message="first")
    queue.dead_letter(queue.claim_one(), error_message="second")
    letter = queue.dlq.one()

    (answer,) = queue.dlq.replay(letter["msg_id"])

    assert answer == {
        "msg_id": letter["msg_id"],
        "status": "replayed",
        "new_msg_id": 2,
        "target_queue": "orders",
    }
    assert queue.dlq.letters() == []
    job = queue.claim_one()
    assert (job["msg_id"], job["read_ct"], job["attempt"], job["max_attempts"]) == (2, 1, 1, 2)
    assert job["message"] == {
        "run_id": "r",
        "max_attempts": 2,
        "attempt": 1,
        "enqueued_at": letter["message"]["enqueued_at"],
        "_meshhook": {"mine": 1, "replayed_from": {"dlq_name": "orders_dlq", "msg_id": 1}},
    }


def test_a_replayed_job_may_fail_again_and_be_replayed_again(queue: JobQueue) -> None:
    (letter,) = bury(queue, {"max_attempts": 2})
    queue.dlq.replay(letter)

    attempts = [queue.claim_one(vt_seconds=0)["attempt"] for _ in range(2)]
    assert attempts == [1, 2]
    queue.claim()
    queue.dlq.replay(queue.dlq.one()["msg_id"])

    assert queue.claim_one()["attempt"] == 1


def test_new_ids_are_in_the_order_of_the_old_ones_and_answers_in_that_of_the_question(
    queue: JobQueue,
) -> None:
    letters = bury(queue, *({"n": n} for n in range(20)))
    asked = letters[10:] + letters[:10]

    answers = queue.dlq.replay(*asked)

    assert ids(answers) == asked
    new_ids = {answer["msg_id"]: answer["new_msg_id"] for answer in answers}
    assert [new_ids[letter] for letter in letters] == sorted(new_ids.values())
    assert [job["message"]["n"] for job in queue.claim_all()] == list(range(20))


def test_letters_that_are_gone_are_told_and_keep_no_other_back(queue: JobQueue) -> None:
    first, second = bury(queue, {}, {})
    queue.dlq.as_queue.delete(first)

    answers = queue.dlq.replay(first, second, 999)

    assert [answer["status"] for answer in answers] == ["missing", "replayed", "missing"]


def test_a_letter_that_is_named_twice_is_replayed_once(queue: JobQueue) -> None:
    (letter,) = bury(queue, {})

    first, second = queue.dlq.replay(letter, letter)

    assert first == second
    assert len(queue.rows()) == 1


def test_nothing_may_be_replayed(queue: JobQueue) -> None:
    assert queue.dlq.replay() == []


def test_a_repeat_gets_the_first_answer(queue: JobQueue) -> None:
    (letter,) = bury(queue, {})
    first = queue.dlq.replay(letter, 999, request_id="r")

    assert queue.dlq.replay(letter, 999, request_id="r") == first
    assert len(queue.rows()) == 1


def test_each_letter_goes_back_to_the_queue_that_it_came_from(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create(dlq_name="orders_dlq")
    for n, source in enumerate((queue, other, queue, other)):
        source.send({"n": n})
        source.dead_letter(source.claim_one())

    answers = queue.dlq.replay(*ids(queue.dlq.letters()))

    assert [a["target_queue"] for a in answers] == ["orders", "other"] * 2
    assert [row["message"]["n"] for row in queue.rows()] == [0, 2]
    assert [row["message"]["n"] for row in other.rows()] == [1, 3]


def test_letters_whose_queue_is_gone_stay_and_say_why_while_the_others_go(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create(dlq_name="orders_dlq")
    for source in (queue, other, queue):
        source.send({})
        source.dead_letter(source.claim_one())
    other.drop()
    letters = ids(queue.dlq.letters())

    answers = queue.dlq.replay(*letters)

    assert [answer["status"] for answer in answers] == ["replayed", "failed", "replayed"]
    assert answers[1]["error"] == 'The queue "other" does not exist.'
    assert ids(queue.dlq.letters()) == [letters[1]]
    assert len(queue.rows()) == 2


def test_letters_whose_queue_was_dropped_with_pgmq_stay_and_say_why(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create(dlq_name="orders_dlq")
    for source in (queue, other):
        source.send({})
        source.dead_letter(source.claim_one())
    queue.api.value("select pgmq.drop_queue('other')")

    answers = queue.dlq.replay(*ids(queue.dlq.letters()))

    assert [answer["status"] for answer in answers] == ["replayed", "failed"]


def test_all_letters_can_be_sent_to_one_queue(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    letters = bury(queue, {"n": 1}, {"n": 2})

    answers = queue.dlq.replay(*letters, target_queue="other")

    assert {answer["target_queue"] for answer in answers} == {"other"}
    assert [row["message"]["n"] for row in other.rows()] == [1, 2]
    assert queue.rows() == []


@pytest.mark.parametrize(
    ("target", "code"), [("unknown", "MH001"), ("orders_dlq", "MH002"), ("'; drop", "MH002")]
)
def test_a_target_must_be_another_queue_that_there_is(
    queue: JobQueue, target: str, code: str
) -> None:
    (letter,) = bury(queue, {})

    with refused(code) as refusal:
        queue.dlq.replay(letter, target_queue=target)

    assert (refusal.field, refusal.value) == ("target_queue", target)
    assert ids(queue.dlq.letters()) == [letter]


@on_plain
def test_ids_must_be_ids(queue: JobQueue) -> None:
    with refused("MH002"):
        queue.api.call("meshhook_replay", dlq_name="orders_dlq", msg_ids=[1, None])
    with refused("MH002"):
        queue.dlq.replay(*range(10_001))


def test_a_letter_that_was_put_there_by_hand_goes_to_the_queue_of_the_name(queue: JobQueue) -> None:
    queue.api.value("select pgmq.send('orders_dlq', '{\"run_id\": \"r\"}'::jsonb)")

    queue.dlq.replay(1)

    job = queue.claim_one()
    assert (job["attempt"], job["message"]["run_id"]) == (1, "r")


def test_a_letter_that_does_not_say_its_queue_is_not_replayed_to_where_it_is(
    queue: JobQueue,
) -> None:
    letters = JobQueue(queue.api, "letters")
    letters.create()
    sent = letters.send({"run_id": "r"})

    (answer,) = queue.api.call("meshhook_replay", dlq_name="letters", msg_ids=sent)

    assert answer["status"] == "failed"
    assert ids(letters.rows()) == sent


@on_plain
@pytest.mark.parametrize(
    "state",
    [
        "null",
        "7",
        '"original"',
        '["original"]',
        '{"queue": 7}',
        '{"queue": "x; y"}',
        '{"queue": {}}',
    ],
)
def test_whatever_stands_under_the_reserved_key_the_job_is_not_lost(
    queue: JobQueue, state: str
) -> None:
    message = f'{{"run_id": "r", "_meshhook": {state}}}'
    queue.api.value("select pgmq.send('orders_dlq', %s::jsonb)", message)

    (answer,) = queue.dlq.replay(1)

    kept = queue.rows() if answer["status"] == "replayed" else queue.dlq.as_queue.rows()
    assert [row["message"]["run_id"] for row in kept] == ["r"]


def test_the_history_tells_where_a_job_went_on(queue: JobQueue) -> None:
    (letter,) = bury(queue, {"run_id": "r"})
    (answer,) = queue.dlq.replay(letter)

    first, second = queue.find_jobs("r")

    assert (first["state"], first["replayed_to"]) == ("replayed", "orders")
    assert first["replayed_msg_id"] == second["msg_id"] == answer["new_msg_id"]
    assert second["state"] == "available"


def test_a_replay_does_not_touch_the_history_of_another_letter_with_that_id(
    queue: JobQueue,
) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    (letter,) = bury(queue, {"run_id": "mine"})
    bury(other, {"run_id": "others"})

    queue.dlq.replay(letter)

    assert [job["replayed_at"] for job in other.history()] == [None]


@on_those_with_headers
def test_headers_stay_with_a_job_all_its_life(queue: JobQueue) -> None:
    queue.api.value("""select pgmq.send('orders', '{"run_id": "r"}'::jsonb, '{"h": 1}'::jsonb)""")
    seen: list[Any] = []

    queue.retry(queue.claim_one())
    seen.append(queue.row()["headers"])
    queue.release(queue.claim_one())
    seen.append(queue.row()["headers"])
    queue.dead_letter(queue.claim_one())
    seen.append(queue.dlq.as_queue.row()["headers"])
    queue.dlq.replay(1)
    seen.append(queue.row()["headers"])
    queue.archive(queue.claim_one())
    seen.extend(row["headers"] for row in queue.archived())

    assert seen == [{"h": 1}] * 5
