"""Settle: what becomes of a claimed job, and what is told of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.sql.client import JobQueue, Json, outcome, refused
from tests.sql.databases import on_plain

VERBS: dict[str, Callable[..., list[str]]] = {
    "acknowledge": JobQueue.acknowledge,
    "archive": JobQueue.archive,
    "retry": JobQueue.retry,
    "release": JobQueue.release,
    "dead_letter": JobQueue.dead_letter,
    "extend": JobQueue.extend,
}
KINDS = ["complete", "archive", "retry", "release", "dead_letter"]

verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
kinds = pytest.mark.parametrize("kind", KINDS)


def claimed(queue: JobQueue, quantity: int, **more: Any) -> list[Json]:
    """Enqueue jobs and claim them all."""
    queue.send(*[{"run_id": f"r{n}"} for n in range(quantity)])
    return queue.claim(quantity, **more)


def stale_and_current(queue: JobQueue) -> tuple[Json, Json]:
    """Return the receipts of a job that has been read a second time."""
    (stale,) = claimed(queue, 1, vt_seconds=0)
    return stale, queue.claim_one()


@verbs
def test_each_job_is_told_what_happened_to_it(
    queue: JobQueue, verb: Callable[..., list[str]]
) -> None:
    gone, held, late = claimed(queue, 3, vt_seconds=30)
    queue.acknowledge(gone)
    queue.pass_time(31)
    (lost,) = queue.claim(1)

    statuses = verb(queue, {**lost, "read_ct": 1}, gone, late, {**gone, "msg_id": 999})

    assert lost["msg_id"] == held["msg_id"]
    assert statuses == ["lost", "missing", "ok", "missing"]


@verbs
def test_nothing_may_be_settled(queue: JobQueue, verb: Callable[..., list[str]]) -> None:
    assert verb(queue) == []
    assert verb(queue, read_cts=[]) == []


@verbs
def test_a_bare_id_settles_a_job_whoever_holds_it(
    queue: JobQueue, verb: Callable[..., list[str]]
) -> None:
    queue.send({})
    (waiting,) = queue.rows()
    assert verb(queue, waiting["msg_id"]) == ["ok"]
    queue.purge()
    _, current = stale_and_current(queue)

    assert verb(queue, current["msg_id"]) == ["ok"]


@verbs
def test_bare_ids_and_receipts_may_be_mixed(
    queue: JobQueue, verb: Callable[..., list[str]]
) -> None:
    first, second, third = claimed(queue, 3)

    statuses = verb(queue, first["msg_id"], {**second, "read_ct": 7}, third)

    assert statuses == ["ok", "lost", "ok"]


@verbs
def test_a_job_that_is_named_twice_is_settled_once(
    queue: JobQueue, verb: Callable[..., list[str]]
) -> None:
    first, second = claimed(queue, 2)

    assert verb(queue, first, second, first["msg_id"], first) == ["ok"] * 4
    assert len(queue.history()) + len(queue.attempts()) <= 4
    totals = queue.totals()
    assert totals["total_jobs"] in {0, 2}
    assert len(queue.rows()) in {0, 2}
    assert len(queue.dlq.letters()) in {0, 2}


@verbs
def test_of_two_receipts_of_one_job_the_current_one_counts(
    queue: JobQueue, verb: Callable[..., list[str]]
) -> None:
    stale, current = stale_and_current(queue)

    before, settled, after = verb(queue, stale, current, stale)

    assert settled == "ok"
    assert before == after
    assert before in {"lost", "missing"}


@on_plain
@verbs
def test_a_batch_has_at_most_10000_jobs(queue: JobQueue, verb: Callable[..., list[str]]) -> None:
    assert verb(queue, *range(1, 10_001)) == ["missing"] * 10_000

    with refused("MH002") as refusal:
        verb(queue, *range(1, 10_002))

    assert (refusal.field, refusal.value) == ("msg_ids", "10001")


@on_plain
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"msg_ids": None}, "msg_ids"),
        ({"msg_ids": [1, None]}, "msg_ids"),
        ({"msg_ids": [1, 2], "read_cts": [1]}, "read_cts"),
        ({"msg_ids": [1], "read_cts": [1, 1]}, "read_cts"),
        ({"msg_ids": [1], "read_cts": []}, "read_cts"),
        ({"msg_ids": [[1, 2], [3, 4]]}, "msg_ids"),
        ({"msg_ids": [1, 2], "read_cts": [[1], [1]]}, "read_cts"),
    ],
)
def test_what_is_no_receipt_is_refused(
    queue: JobQueue, verb: str, arguments: Json, field: str
) -> None:
    claimed(queue, 2)

    with refused("MH002") as refusal:
        queue.api.call(f"meshhook_{verb}", queue_name=queue.name, **arguments)

    assert refusal.field == field
    assert [row["read_ct"] for row in queue.rows()] == [1, 1]


@on_plain
@verbs
def test_an_unknown_queue_is_named(queue: JobQueue, verb: Callable[..., list[str]]) -> None:
    with refused("MH001") as refusal:
        verb(JobQueue(queue.api, "unknown"), 1)

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "extend"])
def test_a_repeat_gets_the_first_answer_and_changes_nothing(queue: JobQueue, verb: str) -> None:
    settle = VERBS[verb]
    held, gone = claimed(queue, 2)
    queue.acknowledge(gone)
    first = settle(queue, held, gone, request_id="r")
    before = (queue.rows(), queue.history(), queue.attempts(), queue.totals())

    assert settle(queue, held, gone, request_id="r") == first == ["ok", "missing"]
    assert settle(queue, 5, request_id="r") == first
    assert (queue.rows(), queue.history(), queue.attempts(), queue.totals()) == before


def test_a_mixed_batch_settles_each_job_in_its_own_way(queue: JobQueue) -> None:
    jobs = claimed(queue, 6)
    batch = [outcome(kind, job) for kind, job in zip(KINDS, jobs, strict=False)]

    assert queue.settle([*batch, outcome("complete", {**jobs[5], "read_ct": 4})]) == [
        *["ok"] * 5,
        "lost",
    ]

    assert [row["msg_id"] for row in queue.rows()] == [jobs[n]["msg_id"] for n in (2, 3, 5)]
    assert [row["msg_id"] for row in queue.archived()] == [jobs[1]["msg_id"]]
    assert [job["state"] for job in queue.history()] == ["completed", "archived", "dead_lettered"]
    assert queue.dlq.one()["message"]["run_id"] == "r4"
    totals = queue.totals()
    assert (totals["completed_jobs"], totals["failed_jobs"]) == (2, 1)


@on_plain
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_a_receipt_that_is_named_in_two_ways_is_used_once(
    queue: JobQueue, first: str, second: str
) -> None:
    (job,) = claimed(queue, 1)

    queue.settle([outcome(first, job), outcome(second, job)])

    assert len(queue.rows()) + len(queue.dlq.letters()) + queue.totals()["completed_jobs"] == 1
    assert all(row["message"]["attempt"] <= 2 for row in queue.rows())


BAD_OUTCOMES: dict[str, Any] = {
    "no object": 7,
    "null": None,
    "no id": {"outcome": "complete"},
    "an id in words": {"outcome": "complete", "msg_id": "1"},
    "an unknown kind": {"outcome": "explode", "msg_id": 1},
    "no kind": {"msg_id": 1},
    "null as kind": {"outcome": None, "msg_id": 1},
    "an object as kind": {"outcome": {}, "msg_id": 1},
    "extend, which is no settle": {"outcome": "extend", "msg_id": 1},
    "a negative delay": {"outcome": "retry", "msg_id": 1, "delay_seconds": -1},
    "a long delay": {"outcome": "release", "msg_id": 1, "delay_seconds": 31_622_401},
    "a delay in words": {"outcome": "retry", "msg_id": 1, "delay_seconds": "5"},
    "a huge delay": {"outcome": "retry", "msg_id": 1, "delay_seconds": 10**400},
    "a fraction of an id": {"outcome": "complete", "msg_id": 1.5},
    "a huge id": {"outcome": "complete", "msg_id": 10**30},
    "a read count in words": {"outcome": "complete", "msg_id": 1, "read_ct": "x"},
    "a fraction of a read count": {"outcome": "complete", "msg_id": 1, "read_ct": 1.5},
    "a huge read count": {"outcome": "complete", "msg_id": 1, "read_ct": 10**12},
    "seconds in words": {"outcome": "complete", "msg_id": 1, "seconds": "x"},
    "seconds that are no number": {"outcome": "complete", "msg_id": 1, "seconds": "NaN"},
    "endless seconds": {"outcome": "complete", "msg_id": 1, "seconds": "Infinity"},
    "negative seconds": {"outcome": "complete", "msg_id": 1, "seconds": -1},
    "undelivered in words": {"outcome": "dead_letter", "msg_id": 1, "undelivered": "x"},
}


@on_plain
@pytest.mark.parametrize("bad", BAD_OUTCOMES.values(), ids=BAD_OUTCOMES)
def test_one_bad_outcome_refuses_the_whole_batch(queue: JobQueue, bad: Any) -> None:
    jobs = claimed(queue, 3)
    before = queue.rows()
    good = [outcome(kind, job) for kind, job in zip(("complete", "retry"), jobs, strict=False)]

    with refused("MH002") as refusal:
        queue.settle([*good, bad])

    assert refusal.field is not None
    assert refusal.field.startswith("outcomes[2]")
    assert queue.rows() == before
    assert queue.totals()["total_jobs"] == 0


@on_plain
@pytest.mark.parametrize("outcomes", [None, {}, "x", 7], ids=repr)
def test_outcomes_must_be_an_array(queue: JobQueue, outcomes: Any) -> None:
    with refused("MH002") as refusal:
        queue.settle(outcomes)

    assert refusal.field == "outcomes"


@on_plain
def test_a_mixed_batch_has_at_most_10000_outcomes(queue: JobQueue) -> None:
    with refused("MH002") as refusal:
        queue.settle([outcome("complete", 1)] * 10_001)

    assert (refusal.field, refusal.value) == ("outcomes", "10001")
    assert queue.settle([]) == []


def test_a_batch_that_fails_at_its_last_step_leaves_every_job_as_it_was(queue: JobQueue) -> None:
    jobs = claimed(queue, 5)
    before = queue.rows()
    queue.api.connection.execute(
        "create function pg_temp.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception using errcode = '22000', message = 'no'; end $$"
    )
    queue.api.connection.execute(
        "create trigger refuse before insert on pgmq.q_orders_dlq"
        " for each row execute function pg_temp.refuse()"
    )

    with pytest.raises(psycopg.DataError, match="no"):
        queue.settle([outcome(kind, job) for kind, job in zip(KINDS, jobs, strict=True)])

    assert queue.rows() == before
    assert (queue.archived(), queue.history(), queue.attempts()) == ([], [], [])
    assert queue.totals()["total_jobs"] == 0


def test_a_completed_job_is_told_how_long_it_took(queue: JobQueue) -> None:
    first, second, third = claimed(queue, 3)

    queue.acknowledge(first, second, seconds=[1.5, None])
    queue.settle([outcome("archive", third, seconds=2.5)])

    assert [job["seconds"] for job in queue.history()] == [1.5, None, 2.5]
    assert queue.totals()["avg_processing_time_seconds"] == 2.0


@on_plain
@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-Infinity", -1, 1e308])
def test_no_duration_spoils_the_statistics(queue: JobQueue, seconds: Any) -> None:
    first, second, third = claimed(queue, 3)

    for job in (first, second):
        try:
            queue.acknowledge(job, seconds=[seconds])
        except psycopg.Error as error:
            assert error.sqlstate == "MH002"  # noqa: PT017 - to be refused is as good
            queue.acknowledge(job)
    queue.acknowledge(third, seconds=[2])

    assert 0 <= queue.totals()["avg_processing_time_seconds"] < 1e9


def test_durations_may_be_more_or_fewer_than_the_jobs(queue: JobQueue) -> None:
    first, second = claimed(queue, 2)

    assert queue.acknowledge(first, seconds=[1, 2, 3]) == ["ok"]
    assert queue.acknowledge(second, seconds=[]) == ["ok"]
    assert [job["seconds"] for job in queue.history()] == [1, None]


def test_a_retried_job_is_due_after_its_delay_under_its_id_one_attempt_on(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)

    queue.retry(job, delay_seconds=60, error_message="boom", error_stack="where")

    message = queue.row()["message"]
    assert (message["attempt"], message["last_error"]) == (2, "boom")
    assert queue.api.value(
        "select %s::timestamptz between now() and clock_timestamp()", message["last_error_at"]
    )
    assert queue.claim() == []
    queue.pass_time(61)
    again = queue.claim_one()
    assert (again["msg_id"], again["read_ct"], again["attempt"]) == (job["msg_id"], 2, 2)
    (attempt,) = queue.attempts()
    assert (attempt["outcome"], attempt["attempt"], attempt["error_message"]) == (
        "retried",
        1,
        "boom",
    )
    assert attempt["error_stack"] == "where"


@on_plain
@pytest.mark.parametrize("delay", [-1, "NaN", "Infinity", 31_622_401, 1e300])
@pytest.mark.parametrize("verb", ["retry", "release"])
def test_a_delay_is_from_0_seconds_to_366_days(queue: JobQueue, verb: str, delay: Any) -> None:
    (job,) = claimed(queue, 1)

    with refused("MH002"):
        VERBS[verb](queue, job, delay_seconds=delay)


def test_a_retry_that_is_repeated_without_a_request_id_counts_one_attempt(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)

    queue.retry(job, error_message="boom")
    queue.retry(job, error_message="boom")

    assert queue.row()["message"]["attempt"] == 2
    assert len(queue.attempts()) == 1


def test_a_retry_that_comes_after_a_hand_back_counts_no_attempt(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)

    queue.release(job)
    queue.retry(job)

    assert queue.row()["message"]["attempt"] == 1


@pytest.mark.parametrize("verb", ["retry", "release"])
def test_an_extension_that_comes_after_a_hand_back_does_not_hide_the_job(
    queue: JobQueue, verb: str
) -> None:
    (job,) = claimed(queue, 1)
    VERBS[verb](queue, job)

    queue.extend(job, vt_seconds=600)

    assert len(queue.claim()) == 1


def test_an_extension_that_comes_after_a_retry_does_not_shorten_its_delay(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)
    queue.retry(job, delay_seconds=3600)

    queue.extend(job, vt_seconds=30)
    queue.pass_time(60)

    assert queue.claim() == []


def test_a_late_completion_after_a_hand_back_counts_while_nobody_has_read_the_job(
    queue: JobQueue,
) -> None:
    (job,) = claimed(queue, 1)
    queue.release(job)

    assert queue.acknowledge(job) == ["ok"]
    assert queue.rows() == []


def test_a_job_that_is_handed_back_at_once_gets_its_old_place(queue: JobQueue) -> None:
    first, second = claimed(queue, 2)
    queue.api.connection.execute(
        "update pgmq.q_orders set enqueued_at = enqueued_at - interval '1 hour' where msg_id = %s",
        [first["msg_id"]],
    )
    queue.send({})

    queue.release(second, first)

    again = queue.claim_all()
    assert again[0]["msg_id"] == first["msg_id"]
    assert [job["attempt"] for job in again] == [1, 1, 1]


def test_a_job_that_is_handed_back_for_later_waits_and_keeps_its_attempt(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)

    queue.release(job, delay_seconds=60)

    assert queue.claim() == []
    queue.pass_time(61)
    assert queue.claim_one()["attempt"] == 1
    assert queue.attempts() == []


def test_an_extended_lease_ends_so_long_after_the_extension(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1, vt_seconds=30)
    queue.pass_time(29)

    assert queue.extend(job, vt_seconds=30) == ["ok"]
    queue.pass_time(29)
    assert queue.claim() == []
    queue.pass_time(2)
    assert queue.claim_one()["read_ct"] == 2


def test_an_extension_tells_when_the_lease_ends(queue: JobQueue) -> None:
    queue.create(vt_seconds=45)
    (job,) = claimed(queue, 1)

    answer = queue.api.call("meshhook_extend", queue_name="orders", msg_ids=[job["msg_id"]])

    assert queue.api.value(
        "select %s::timestamptz = vt and vt - clock_timestamp() between interval '40 s' and"
        " interval '45 s' from pgmq.q_orders",
        answer["vt"],
    )


@on_plain
@pytest.mark.parametrize("seconds", [-1, 86_401, "NaN", "Infinity", "-Infinity", 1e300, -1e300])
def test_a_lease_is_from_0_seconds_to_a_day(queue: JobQueue, seconds: Any) -> None:
    (job,) = claimed(queue, 1)

    with refused("MH002") as refusal:
        queue.extend(job, vt_seconds=seconds)

    assert refusal.field == "vt_seconds"


def test_an_archived_job_keeps_its_message_its_reads_and_its_times(queue: JobQueue) -> None:
    (job,) = claimed(queue, 1)
    (before,) = queue.rows()

    queue.archive(job)

    (archived,) = queue.archived()
    assert {name: archived[name] for name in before} == before
    assert queue.rows() == []


@on_plain
def test_texts_of_errors_are_kept_up_to_a_length(queue: JobQueue) -> None:
    first, second = claimed(queue, 2)
    long = {
        "error_type": "t" * 60_000,
        "error_message": "m" * 60_000,
        "error_stack": "s" * 60_000,
        "worker": "w" * 60_000,
    }

    queue.settle([outcome("retry", first, **long), outcome("dead_letter", second, **long)])

    assert len(queue.rows()[0]["message"]["last_error"]) == 10_000
    letter = queue.dlq.one()["message"]
    assert (len(letter["error_message"]), len(letter["error_stack"])) == (10_000, 50_000)
    for attempt in queue.attempts():
        lengths = [len(attempt[name]) for name in ("error_type", "error_message", "error_stack")]
        assert lengths == [200, 10_000, 50_000]
        assert len(attempt["worker"]) <= 1000


@kinds
def test_a_message_that_is_no_object_can_be_settled_by_its_id(queue: JobQueue, kind: str) -> None:
    queue.api.value("select pgmq.send('orders', '[1, 2]'::jsonb)")

    assert queue.settle([outcome(kind, 1)]) == ["ok"]
    assert all(row["message"] == [1, 2] for row in queue.rows())
    assert all(row["message"] == [1, 2] for row in queue.archived())


@kinds
def test_a_queue_without_history_is_counted_all_the_same(queue: JobQueue, kind: str) -> None:
    queue.create(keeps_history=False)
    (job,) = claimed(queue, 1)

    assert queue.settle([outcome(kind, job)]) == ["ok"]

    assert (queue.history(), queue.attempts()) == ([], [])
    done = {"complete": (1, 0), "archive": (1, 0), "dead_letter": (0, 1)}.get(kind, (0, 0))
    assert (queue.totals()["completed_jobs"], queue.totals()["failed_jobs"]) == done


@kinds
def test_a_run_id_is_kept_whatever_it_is(queue: JobQueue, kind: str) -> None:
    for run_id in ("r" * 500, 7, {"a": 1}, None):
        queue.send({"run_id": run_id})
    jobs = queue.claim_all()

    assert queue.settle([outcome(kind, job) for job in jobs]) == ["ok"] * 4
    assert [job["run_id"] for job in queue.history()] in (
        [],
        ["r" * 200, "7", '{"a": 1}', None],
    )
