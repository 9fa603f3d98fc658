"""What each call makes of its answer, and that it makes nothing of an answer of another shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from meshhook import (
    AttemptRecord,
    DeadLetterMessage,
    JobMessage,
    JobNotFoundError,
    QueueNotFoundError,
)
from meshhook._calls import claim, dead_letters, enqueue, jobs, queues, settle
from tests.unit.builders import (
    BUILDERS,
    CLAIM,
    CLAIMED_ROW,
    DEAD_ROW,
    QUEUE_ROW,
    RECORD_ROW,
    Built,
    enqueue_many,
)
from tests.unit.examples import RUN, TIME, TIME_TEXT, job_data, named

ATTEMPT_ROW: dict[str, Any] = {
    "attempt": 1,
    "read_ct": 1,
    "outcome": "retried",
    "failed_at": TIME_TEXT,
    "error_type": "OSError",
    "error_message": "boom",
    "error_stack": None,
    "worker": "w",
    "seconds": 0.5,
}
ATTEMPT = AttemptRecord(**{**ATTEMPT_ROW, "failed_at": TIME})

REPLAYED_RECORD_ROW: dict[str, Any] = {
    **RECORD_ROW,
    "state": "replayed",
    "read_ct": 3,
    "vt": TIME_TEXT,
    "finished_at": TIME_TEXT,
    "seconds": 1.5,
    "dlq_name": "q_dlq",
    "dlq_msg_id": 9,
    "replayed_at": TIME_TEXT,
    "replayed_to": "other",
    "replayed_msg_id": 12,
    "attempts": [ATTEMPT_ROW],
    "message": job_data(),
}

JUNK: list[Any] = [None, True, 17, 1.5, "x", [], [1], {}, {"a": 1}, [{}]]
# What looks like junk and is a good answer of that call.
GOOD_JUNK: dict[str, list[Any]] = {
    "get job": [None],
    "get dead letter": [None],
    "find jobs": [[]],
    "list jobs": [[]],
    "list all jobs of a queue": [[]],
    "list workers": [[]],
    "list workers of all queues": [[]],
    "pause queue": [True],
    "resume queue": [True],
    "list dead letters": [[]],
    "list queues": [[]],
    "group dead letters": [[]],
    "replay many": [[]],
    "drop queue": [True],
    "purge": [17],
    "doctor": JUNK,
    "version": JUNK,
    "allow users": [{}, {"a": 1}],
    "disallow users": [True],
}


@pytest.mark.parametrize("built", BUILDERS, ids=lambda built: built.name)
def test_a_good_answer_becomes_values(built: Built) -> None:
    assert built.make().decode(built.answer) == built.result


@pytest.mark.parametrize(
    ("built", "answer"),
    [
        pytest.param(built, answer, id=f"{built.name}: {answer!r}")
        for built in BUILDERS
        for answer in JUNK
        if not any(
            answer == good and type(answer) is type(good) for good in GOOD_JUNK.get(built.name, [])
        )
        # Lists of statuses have tests of their own below.
        and not (built.name in {"acknowledge", "settle"} and isinstance(answer, list))
        and not (isinstance(built.result, bool) and isinstance(answer, list) and len(answer) == 1)
    ],
)
def test_an_answer_of_another_shape_is_a_key_type_or_value_error(built: Built, answer: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        built.make().decode(answer)


@pytest.mark.parametrize("answer", [[], ["ok"], ["ok", "ok", "ok"]], ids=named)
def test_a_settle_of_two_jobs_has_two_statuses(answer: list[str]) -> None:
    outcomes = [settle.Outcome(outcome="complete", msg_id=i, read_ct=1) for i in (1, 2)]

    for call in (settle.acknowledge("q", [1, 2]), settle.settle("q", outcomes)):
        with pytest.raises(ValueError, match=r"."):
            call.decode(answer)
    with pytest.raises(ValueError, match=r"."):
        settle.extend("q", [1, 2], 30).decode({"vt": TIME_TEXT, "statuses": answer})


@pytest.mark.parametrize("status", [None, 1, True, ["ok"], {}], ids=named)
@pytest.mark.parametrize("name", ["acknowledge", "settle"])
def test_a_status_is_a_text(name: str, status: object) -> None:
    (built,) = (built for built in BUILDERS if built.name == name)

    with pytest.raises((KeyError, TypeError, ValueError)):
        built.make().decode([status] * len(built.answer))


@pytest.mark.parametrize(
    "msg_ids",
    [[], [5], [5, 6, 7], "56", ["5", "6"], [5, None], [5.0, 6.0], [True, False]],
    ids=named,
)
def test_an_enqueue_of_two_jobs_has_two_ids(msg_ids: object) -> None:
    call = enqueue_many("q", [job_data(), job_data()])

    with pytest.raises((TypeError, ValueError)):
        call.decode({"msg_ids": msg_ids, "duplicate": False})


@pytest.mark.parametrize("msg_ids", [[], [5, 6], "5", ["5"], [None], [True]], ids=named)
def test_an_enqueue_of_one_job_has_one_id(msg_ids: object) -> None:
    call = enqueue.one("q", job_data())

    with pytest.raises((TypeError, ValueError)):
        call.decode({"msg_ids": msg_ids, "duplicate": False})


def test_a_key_that_was_used_before_is_a_duplicate() -> None:
    answer = {"msg_ids": [5], "duplicate": True}

    assert enqueue.one("q", job_data(), idempotency_key="a").decode(answer).duplicate
    assert enqueue_many("q", [job_data()], idempotency_key="a").decode(answer).duplicate


def test_a_claim_of_nothing_is_none_or_an_empty_list() -> None:
    answer = {**CLAIM, "jobs": [], "dead_lettered": []}

    assert claim.one("q", 30).decode(answer) is None
    assert claim.many("q", 5, 30).decode(answer) == []


def test_a_claimed_job_has_the_attempt_that_this_delivery_is() -> None:
    row = {**CLAIMED_ROW, "attempt": 4, "max_attempts": 9}

    job = claim.one("q", 30).decode({**CLAIM, "jobs": [row]})

    assert job is not None
    assert (job.attempt, job.max_attempts) == (4, 9)
    assert (job.message.attempt, job.message.max_attempts) == (4, 9)
    assert job.queue_name == "q"


def test_what_meshhook_keeps_for_itself_is_not_shown() -> None:
    job = claim.one("q", 30).decode(CLAIM)
    record = jobs.job("q", 7).decode({**RECORD_ROW, "message": CLAIMED_ROW["message"]})
    dead = dead_letters.get("q_dlq", 9).decode(DEAD_ROW)

    for found in (job, record, dead):
        assert found is not None
        assert found.message is not None
        assert "_meshhook" not in found.message


def test_the_answer_itself_is_left_as_it_was() -> None:
    claim.one("q", 30).decode(CLAIM)
    dead_letters.get("q_dlq", 9).decode(DEAD_ROW)

    assert CLAIMED_ROW["message"] == job_data(attempt=1, _meshhook={"reads": 1})
    assert DEAD_ROW["message"] == job_data(error_message="boom", _meshhook={"queue": "q"})


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1+00:00", datetime(2026, 1, 2, 3, 4, 5, 100_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.12345+00:00", datetime(2026, 1, 2, 3, 4, 5, 123_450, tzinfo=UTC)),
        ("2026-01-02T08:34:05.123456+05:30", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
    ],
    ids=["whole", "one digit", "five digits", "another zone"],
)
def test_a_time_is_read_as_postgres_writes_it_and_is_aware(text: str, time: datetime) -> None:
    job = claim.one("q", 30).decode({**CLAIM, "vt": text})

    assert job is not None
    assert job.vt == time
    assert job.vt.utcoffset() in {timedelta(0), timedelta(hours=5, minutes=30)}


@pytest.mark.parametrize("text", ["infinity", "-infinity", "yesterday", "", None, 5], ids=named)
def test_a_time_that_is_none_is_not_taken_for_one(text: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        claim.one("q", 30).decode({**CLAIM, "vt": text})


def test_the_life_of_a_job_is_read_as_far_as_it_has_come() -> None:
    record = jobs.job("q", 7).decode(REPLAYED_RECORD_ROW)

    assert record is not None
    assert attrs.asdict(record, recurse=False) == {
        **REPLAYED_RECORD_ROW,
        "enqueued_at": TIME,
        "vt": TIME,
        "finished_at": TIME,
        "replayed_at": TIME,
        "attempts": (ATTEMPT,),
        "message": JobMessage(job_data()),
    }


def test_a_dead_letter_comes_with_its_failed_attempts() -> None:
    dead = dead_letters.get("q_dlq", 9).decode({**DEAD_ROW, "attempts": [ATTEMPT_ROW]})

    assert dead is not None
    assert dead.attempts == (ATTEMPT,)


@pytest.mark.parametrize("message", [None, 5, "text", [1, 2], True], ids=named)
def test_a_dead_letter_sent_by_hand_is_shown_as_well(message: object) -> None:
    (dead,) = dead_letters.list_page("q_dlq", 1, 0).decode([{**DEAD_ROW, "message": message}])

    assert dead.message == DeadLetterMessage(message=message)


def test_a_job_that_was_no_object_is_shown_as_it_was() -> None:
    message = {"error_message": "boom", "_meshhook": {"queue": "q", "original": [1, 2]}}

    (dead,) = dead_letters.list_page("q_dlq", 1, 0).decode([{**DEAD_ROW, "message": message}])

    assert dead.message == {"error_message": "boom", "message": [1, 2]}


def test_the_groups_of_errors_keep_their_order() -> None:
    answer = [{"error": name, "jobs": [DEAD_ROW]} for name in ("z", "a", "m")]

    assert list(dead_letters.by_error("q_dlq", 9).decode(answer)) == ["z", "a", "m"]


def test_a_replay_of_what_is_not_there_is_a_job_not_found_error() -> None:
    call = dead_letters.replay_one("q_dlq", 9, None)

    with pytest.raises(JobNotFoundError) as caught:
        call.decode([{"msg_id": 9, "status": "missing"}])

    assert (caught.value.queue_name, caught.value.msg_id) == ("q_dlq", 9)


def test_a_replay_to_a_queue_that_is_gone_is_a_queue_not_found_error_with_a_fix() -> None:
    call = dead_letters.replay_one("q_dlq", 9, None)

    with pytest.raises(QueueNotFoundError, match=r'The queue "q" does not exist\.') as caught:
        call.decode([{"msg_id": 9, "status": "failed", "error": 'The queue "q" does not exist.'}])

    assert caught.value.function == "meshhook_replay"
    assert "create_queue()" in str(caught.value)


def test_a_setting_that_a_newer_database_has_is_passed_over() -> None:
    (info,) = queues.list_all().decode([{**QUEUE_ROW, "brand_new": 1}])

    assert info.queue_name == "q"


@pytest.mark.parametrize("name", ["queue metrics", "dlq metrics"])
def test_a_number_that_a_newer_database_has_is_passed_over(name: str) -> None:
    (built,) = (built for built in BUILDERS if built.name == name)

    assert built.make().decode({**built.answer, "brand_new": 1}) == built.result


def test_what_a_newer_database_knows_of_an_attempt_is_passed_over() -> None:
    row = {**RECORD_ROW, "attempts": [{**ATTEMPT_ROW, "brand_new": 1}]}

    record = jobs.job("q", 7).decode(row)

    assert record is not None
    assert record.attempts == (ATTEMPT,)


def test_the_run_of_a_job_may_be_unknown() -> None:
    record = jobs.job("q", 7).decode({**RECORD_ROW, "run_id": None})

    assert record is not None
    assert record.run_id is None
    assert RECORD_ROW["run_id"] == RUN
