"""Times instead of delays: kept as they are, at once if they have passed, refused too far ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sql.client import JobQueue, outcome, refused

NINE = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=40)
LONG_AGO = "2001-01-01T00:00:00Z"
TOO_FAR = (datetime.now(UTC) + timedelta(days=367)).isoformat()


def test_jobs_are_due_at_their_time_exactly(queue: JobQueue) -> None:
    queue.send({}, {}, run_at=NINE.isoformat())

    assert [row["vt"] for row in queue.rows()] == [NINE, NINE]


def test_each_message_has_its_own_time_or_else_the_delay(queue: JobQueue) -> None:
    queue.send({}, {}, {}, run_ats=[None, NINE.isoformat(), LONG_AGO], delays=[60, None, None])

    later, exact, now = queue.rows()
    assert round((later["vt"] - later["enqueued_at"]).total_seconds()) == 60
    assert exact["vt"] == NINE
    assert timedelta(0) <= now["vt"] - now["enqueued_at"] < timedelta(seconds=1)


def test_a_time_in_the_past_jumps_no_queue(queue: JobQueue) -> None:
    (first,) = queue.send({})
    (late,) = queue.send({}, run_at=LONG_AGO)

    assert [job["msg_id"] for job in queue.claim_all()] == [first, late]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"run_at": TOO_FAR}, "run_at"),
        ({"run_at": "infinity"}, "run_at"),
        ({"run_at": NINE.isoformat(), "delay_seconds": 1}, "run_at"),
        ({"run_at": NINE.isoformat(), "delays": [1]}, "run_at"),
        ({"run_at": NINE.isoformat(), "run_ats": [None]}, "run_at"),
        ({"run_ats": []}, "run_ats"),
        ({"run_ats": [TOO_FAR]}, "run_ats[0]"),
    ],
    ids=["too far", "infinity", "and a delay", "and delays", "and times", "too few", "one too far"],
)
def test_a_time_that_makes_no_sense_is_refused(
    queue: JobQueue, more: dict[str, Any], field: str
) -> None:
    with refused("MH002") as refusal:
        queue.send({}, **more)

    assert refusal.field == field
    assert queue.rows() == []


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_job_that_is_handed_back_comes_again_at_its_time(queue: JobQueue, verb: str) -> None:
    queue.send({}, {})
    one, two = queue.claim_all()

    assert getattr(queue, verb)(one, run_at=NINE.isoformat()) == ["ok"]
    assert queue.settle([outcome(verb, two, run_at=NINE.isoformat(), delay_seconds=5)]) == ["ok"]

    assert [row["vt"] for row in queue.rows()] == [NINE, NINE]


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_job_that_is_handed_back_for_the_past_is_due_at_once(queue: JobQueue, verb: str) -> None:
    queue.send({}, {})
    one, two = queue.claim_all()

    getattr(queue, verb)(one, run_at=LONG_AGO)
    queue.settle([outcome(verb, two, run_at=LONG_AGO, delay_seconds=5)])

    assert len(queue.claim_all()) == 2
    assert min(row["vt"] for row in queue.rows()).year > 2001


@pytest.mark.parametrize(
    "wrong", [TOO_FAR, "soon", 17, {}], ids=["far", "word", "number", "object"]
)
def test_an_outcome_with_a_time_that_makes_no_sense_is_refused(queue: JobQueue, wrong: Any) -> None:
    queue.send({})
    job = queue.claim_one()

    with refused("MH002") as refusal:
        queue.settle([outcome("retry", job, run_at=wrong)])

    assert refusal.field == "run_at"


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_job_is_not_handed_back_for_a_time_and_a_delay(queue: JobQueue, verb: str) -> None:
    queue.send({})

    with refused("MH002") as refusal:
        getattr(queue, verb)(queue.claim_one(), run_at=NINE.isoformat(), delay_seconds=5)

    assert refusal.field == "run_at"
