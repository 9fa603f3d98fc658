"""Settle and dequeue: both in one transaction, and a repeat does neither again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.client import JobQueue, Json, ids, outcome, refused


def test_the_outcomes_are_settled_and_the_next_jobs_handed_out(queue: JobQueue) -> None:
    sent = queue.send(*[{}] * 5)
    done = queue.claim(2)

    answer = queue.settle_and_dequeue([outcome("complete", job) for job in done], 2)

    assert answer["statuses"] == ["ok", "ok"]
    assert ids(answer["claim"]["jobs"]) == sent[2:4]
    assert ids(queue.rows()) == sent[2:]
    assert queue.totals()["completed_jobs"] == 2


def test_the_claim_is_as_that_of_dequeue(queue: JobQueue) -> None:
    queue.send({}, {})
    alone = queue.dequeue(quantity=1)

    with_outcomes = queue.settle_and_dequeue([], 1)

    assert with_outcomes["statuses"] == []
    assert with_outcomes["claim"].keys() == alone.keys()
    assert with_outcomes["claim"]["jobs"][0].keys() == alone["jobs"][0].keys()


def test_a_job_that_is_settled_for_a_retry_at_once_is_handed_out_again(queue: JobQueue) -> None:
    queue.send({})
    retry = outcome("retry", queue.claim_one(), error_message="no", delay_seconds=0)

    (again,) = queue.settle_and_dequeue([retry], 5)["claim"]["jobs"]

    assert (again["attempt"], again["read_ct"]) == (2, 2)


def test_a_repeat_settles_nothing_again_and_hands_out_the_same_jobs(queue: JobQueue) -> None:
    queue.send(*[{}] * 6)
    outcomes = [outcome("complete", job) for job in queue.claim(2)]
    first = queue.settle_and_dequeue(outcomes, 2, request_id="r")

    repeat = queue.settle_and_dequeue(outcomes, 2, request_id="r")

    assert repeat["statuses"] == ["ok", "ok"]
    assert receipts_of(repeat) == receipts_of(first)
    assert queue.totals()["completed_jobs"] == 2
    assert [row["read_ct"] for row in queue.rows()] == [1, 1, 0, 0]


def test_a_repeat_of_an_empty_claim_claims_what_has_come_since(queue: JobQueue) -> None:
    queue.send({})
    outcomes = [outcome("complete", queue.claim_one())]
    assert queue.settle_and_dequeue(outcomes, 2, request_id="r")["claim"]["jobs"] == []
    (sent,) = queue.send({})

    repeat = queue.settle_and_dequeue(outcomes, 2, request_id="r")
    once_more = queue.settle_and_dequeue(outcomes, 2, request_id="r")

    assert repeat["statuses"] == ["ok"]
    assert ids(repeat["claim"]["jobs"]) == [sent]
    assert receipts_of(once_more) == receipts_of(repeat)
    assert queue.totals()["completed_jobs"] == 1


def test_a_request_id_of_another_call_is_not_mistaken_for_a_repeat(queue: JobQueue) -> None:
    queue.send({}, {})
    first = queue.dequeue(quantity=1, request_id="r")

    other = queue.settle_and_dequeue([], 1, request_id="r")

    assert ids(other["claim"]["jobs"]) != ids(first["jobs"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0},
        {"vt_seconds": -1},
        {"max_attempts": 0},
        {"max_bytes": 0},
        {"outcomes": [{"outcome": "eat", "msg_id": 1, "read_ct": 1}]},
        {"outcomes": {}},
    ],
    ids=str,
)
def test_what_is_refused_settles_and_claims_nothing(queue: JobQueue, wrong: Json) -> None:
    queue.send({}, {})
    job = queue.claim_one()
    right: dict[str, Any] = {"outcomes": [outcome("complete", job)], "quantity": 1}

    with refused("MH002") as refusal:
        queue.settle_and_dequeue(**{**right, **wrong})

    assert refusal.field is not None
    assert [row["read_ct"] for row in queue.rows()] == [1, 0]


def receipts_of(answer: Json) -> list[tuple[int, int]]:
    return [(job["msg_id"], job["read_ct"]) for job in answer["claim"]["jobs"]]


@pytest.mark.parametrize(
    ("max_bytes", "claimed"), [(1, 1), (1_500, 2), (3_000, 3), (4_194_304, 10)]
)
def test_a_claim_takes_jobs_until_they_are_large_enough(
    queue: JobQueue, max_bytes: int, claimed: int
) -> None:
    queue.send(*[{"text": letters(1_000)}] * 10)

    answer = queue.dequeue(quantity=100, max_bytes=max_bytes)

    assert len(answer["jobs"]) == claimed
    assert 1_000 * claimed <= answer["bytes"] <= 1_250 * claimed
    assert len(queue.claim_all()) == 10 - claimed


def test_a_message_that_is_stored_compressed_counts_with_its_whole_size(queue: JobQueue) -> None:
    queue.send(*[{"text": "a" * 100_000}] * 3)

    answer = queue.dequeue(quantity=3, max_bytes=150_000)

    assert len(answer["jobs"]) == 2
    assert answer["bytes"] > 200_000


def letters(count: int) -> str:
    """Return text that Postgres cannot compress much and that stays below where it tries."""
    return (
        "".join(chr(33 + (i * 7919) % 90) for i in range(count))
        .replace('"', "'")
        .replace("\\", "/")
    )
