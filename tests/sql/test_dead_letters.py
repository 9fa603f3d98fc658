"""Dead letters: what is kept of a job that failed, and looking at it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.client import DeadLetterQueue, JobQueue, Json, ids, outcome, refused
from tests.sql.databases import on_plain


def buried(queue: JobQueue, *errors: str | None, **message: Any) -> list[Json]:
    """Bury a job for each error and return the receipts."""
    queue.send(*[{"error": error, **message} for error in errors])
    jobs = queue.claim(len(errors))
    queue.settle(
        [
            outcome("dead_letter", job, error_message=error)
            for job, error in zip(jobs, errors, strict=True)
        ]
    )
    return jobs


def by_hand(dlq: DeadLetterQueue, message: str) -> int:
    """Put a message in the dead letter queue as another client might."""
    return int(dlq.api.value("select pgmq.send(%s, %s::jsonb)", dlq.name, message))


def test_a_dead_letter_is_its_job_with_what_went_wrong_beside_it(queue: JobQueue) -> None:
    queue.send({"run_id": "r", "metadata": {"a": 1}, "max_attempts": 9})
    queue.retry(queue.claim_one(), error_message="first")
    (before,) = queue.rows()
    job = queue.claim_one()

    queue.dead_letter(job, error_message="second", error_stack="where")

    message = queue.dlq.one()["message"]
    moved_at = message.pop("moved_to_dlq_at")
    assert queue.api.value("select %s::timestamptz between now() and clock_timestamp()", moved_at)
    enqueued_at = message.pop("original_enqueued_at")
    assert queue.api.value("select %s::timestamptz = %s", enqueued_at, before["enqueued_at"])
    assert message == {
        "run_id": "r",
        "metadata": {"a": 1},
        "max_attempts": 9,
        "attempt": 2,
        "enqueued_at": before["message"]["enqueued_at"],
        "last_error": "first",
        "last_error_at": before["message"]["last_error_at"],
        "error_message": "second",
        "error_stack": "where",
        "original_msg_id": job["msg_id"],
        "read_count": 2,
        "_meshhook": {"queue": "orders"},
    }
    assert queue.rows() == []


def test_a_job_without_an_error_has_an_unknown_one(queue: JobQueue) -> None:
    queue.send({})
    queue.dead_letter(queue.claim_one())

    message = queue.dlq.one()["message"]
    assert (message["error_message"], message["error_stack"]) == ("unknown error", None)


def test_dead_letters_lie_in_the_order_of_their_jobs(queue: JobQueue) -> None:
    queue.send(*[{}] * 50)
    jobs = queue.claim(50)

    queue.dead_letter(*reversed(jobs))

    assert [d["message"]["original_msg_id"] for d in queue.dlq.letters()] == ids(jobs)


def test_the_history_knows_which_letter_a_job_became(queue: JobQueue) -> None:
    jobs = buried(queue, "a", "b", "c")

    letters = {d["message"]["original_msg_id"]: d["msg_id"] for d in queue.dlq.letters()}
    assert {job["msg_id"]: job["dlq_msg_id"] for job in queue.history()} == letters
    assert {job["msg_id"] for job in queue.history()} == set(ids(jobs))
    assert {job["dlq_name"] for job in queue.history()} == {"orders_dlq"}


def test_a_message_that_is_no_object_is_kept_beside_its_error(queue: JobQueue) -> None:
    queue.api.value("select pgmq.send('orders', '[1, 2]'::jsonb)")

    queue.dead_letter(1, error_message="boom")

    message = queue.dlq.one()["message"]
    assert message["_meshhook"] == {"queue": "orders", "original": [1, 2]}
    assert message["error_message"] == "boom"


def test_jobs_may_go_to_another_dead_letter_queue_which_is_made_if_need_be(queue: JobQueue) -> None:
    queue.send({}, {})
    first, second = queue.claim(2)

    queue.dead_letter(first, dlq_name="letters")
    queue.dead_letter(second, dlq_name="letters")

    assert len(DeadLetterQueue(queue.api, "letters").letters()) == 2
    assert queue.dlq.letters() == []


def test_a_dead_letter_queue_that_was_dropped_is_made_anew(queue: JobQueue) -> None:
    queue.dlq.as_queue.drop()

    buried(queue, "boom")

    assert queue.dlq.one()["message"]["error_message"] == "boom"


@on_plain
@pytest.mark.parametrize("name", ["orders", "", "Letters", "x" * 48, "a--b", "x;y", "pgmq.x", "'"])
def test_a_name_that_is_no_dead_letter_queue_is_refused(queue: JobQueue, name: str) -> None:
    queue.send({})
    job = queue.claim_one()

    with refused("MH002") as refusal:
        queue.dead_letter(job, dlq_name=name)

    assert (refusal.field, refusal.value) == ("dlq_name", name)
    assert len(queue.rows()) == 1


def test_two_queues_may_share_a_dead_letter_queue(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create(dlq_name="orders_dlq")

    buried(queue, "mine")
    buried(other, "other's")

    assert [d["message"]["_meshhook"]["queue"] for d in queue.dlq.letters()] == ["orders", "other"]


def test_letters_are_listed_oldest_first_and_in_pages(queue: JobQueue) -> None:
    buried(queue, *"abcde")
    everything = ids(queue.dlq.letters())

    assert ids(queue.dlq.letters(quantity=2)) == everything[:2]
    assert ids(queue.dlq.letters(quantity=2, after_msg_id=everything[1])) == everything[2:4]
    assert ids(queue.dlq.letters(after_msg_id=everything[-1])) == []
    assert ids(queue.dlq.letters(after_msg_id=None)) == everything
    assert set(queue.dlq.letters()[0]) == {"msg_id", "read_ct", "enqueued_at", "vt", "message"}


@on_plain
@pytest.mark.parametrize("quantity", [0, 1001, -1, None])
def test_a_page_has_from_1_to_1000_letters(queue: JobQueue, quantity: int | None) -> None:
    with refused("MH002") as refusal:
        queue.dlq.letters(quantity=quantity)

    assert refusal.field == "quantity"


def test_letters_are_grouped_by_the_first_line_of_their_errors_the_largest_group_first(
    queue: JobQueue,
) -> None:
    buried(queue, "b\nline 1", "a", "b\nline 2", None, "c", "b", "a")
    one, two, three, four, five, six, seven = ids(queue.dlq.letters())

    groups = queue.dlq.group()

    assert groups == {
        "b": [one, three, six],
        "a": [two, seven],
        "c": [five],
        "unknown error": [four],
    }
    assert list(groups) == ["b", "a", "c", "unknown error"]
    assert queue.dlq.group(quantity=1) == {"b": [one]}
    counts = queue.dlq.count(quantity=3)
    assert [(e["error"], e["jobs"], e["msg_id"]) for e in counts["errors"]] == [
        ("b", 3, six),
        ("a", 2, seven),
        ("c", 1, five),
    ]
    assert (counts["total_jobs"], counts["total_errors"]) == (7, 4)


def test_an_empty_dead_letter_queue_has_no_errors(queue: JobQueue) -> None:
    assert queue.dlq.count() == {"total_jobs": 0, "total_errors": 0, "errors": []}


def test_all_dead_letters_are_counted_and_not_the_oldest_alone(queue: JobQueue) -> None:
    queue.api.look(
        "select pgmq.send_batch("
        "%s, array_agg(jsonb_build_object('error_message', 'e' || mod(n, 3)))"
        ") from generate_series(1, 3000) n",
        queue.dlq.name,
    )

    counts = queue.dlq.count()

    assert [(e["error"], e["jobs"]) for e in counts["errors"]] == [
        ("e0", 1000),
        ("e1", 1000),
        ("e2", 1000),
    ]
    assert counts["total_jobs"] == 3000


@on_plain
@pytest.mark.parametrize(
    ("message", "group"),
    [
        ("null", "unknown error"),
        ("[1]", "unknown error"),
        ('"text"', "unknown error"),
        ("{}", "unknown error"),
        ('{"error_message": ""}', "unknown error"),
        ('{"error_message": 7}', "7"),
        ('{"error_message": {"a": 1}}', '{"a": 1}'),
    ],
)
def test_a_letter_that_was_put_there_by_hand_is_shown_whatever_it_is(
    queue: JobQueue, message: str, group: str
) -> None:
    msg_id = by_hand(queue.dlq, message)

    assert ids(queue.dlq.letters()) == [msg_id]
    assert queue.dlq.get(msg_id)["attempts"] == []
    assert queue.dlq.group() == {group: [msg_id]}
    assert [(e["error"], e["msg_id"]) for e in queue.dlq.count()["errors"]] == [(group, msg_id)]
    assert queue.dlq.metrics()["total_jobs"] == 1


def test_a_long_error_groups_by_its_beginning(queue: JobQueue) -> None:
    buried(queue, "x" * 300 + "1", "x" * 300 + "2")

    assert list(queue.dlq.group()) == ["x" * 200]


def test_one_letter_comes_with_the_failed_attempts_of_its_job(queue: JobQueue) -> None:
    queue.send({})
    queue.claim_one(vt_seconds=0)
    queue.retry(queue.claim_one(), error_message="boom")
    queue.dead_letter(queue.claim_one(), error_message="bang")

    letter = queue.dlq.get(queue.dlq.one()["msg_id"])

    assert [(a["attempt"], a["outcome"], a["error_message"]) for a in letter["attempts"]] == [
        (1, "lapsed", letter["attempts"][0]["error_message"]),
        (2, "retried", "boom"),
        (3, "dead_lettered", "bang"),
    ]
    assert queue.dlq.get(999) is None


def test_a_letter_of_a_dropped_queue_does_not_show_the_attempts_of_a_job_of_its_successor(
    queue: JobQueue,
) -> None:
    buried(queue, "old")
    letter = queue.dlq.one()
    # Dropped with PGMQ itself, a queue begins with the first id again.
    queue.api.value("select pgmq.drop_queue(%s)", queue.name)
    queue.create()
    queue.send({})
    job = queue.claim_one()
    assert job["msg_id"] == letter["message"]["original_msg_id"]
    queue.retry(job, error_message="new")

    shown = queue.dlq.get(letter["msg_id"])["attempts"]

    assert "new" not in [attempt["error_message"] for attempt in shown]


def test_looking_at_letters_neither_hides_nor_counts_them(queue: JobQueue) -> None:
    buried(queue, "a", "b")
    before = queue.dlq.as_queue.rows()

    queue.dlq.letters()
    queue.dlq.group()
    queue.dlq.get(1)
    queue.dlq.metrics()

    assert queue.dlq.as_queue.rows() == before
    assert {row["read_ct"] for row in before} == {0}


def test_metrics_tell_how_many_letters_there_are_and_how_old(queue: JobQueue) -> None:
    assert queue.dlq.metrics() == {
        "dlq_name": "orders_dlq",
        "total_jobs": 0,
        "oldest_job_age_seconds": None,
        "newest_job_age_seconds": None,
    }
    buried(queue, "a")
    queue.pass_time(100)
    queue.api.connection.execute(
        "insert into pgmq.q_orders_dlq (vt, enqueued_at) values (now(), clock_timestamp())"
    )

    assert queue.dlq.metrics() == {
        "dlq_name": "orders_dlq",
        "total_jobs": 2,
        "oldest_job_age_seconds": 100,
        "newest_job_age_seconds": 0,
    }


def test_a_job_without_history_can_be_buried_and_looked_at(queue: JobQueue) -> None:
    queue.create(keeps_history=False)
    buried(queue, "boom")

    letter = queue.dlq.one()

    assert queue.dlq.get(letter["msg_id"])["attempts"] == []


@on_plain
@pytest.mark.parametrize("look", ["letters", "group", "count", "metrics", "get", "replay"])
def test_an_unknown_dead_letter_queue_is_named(queue: JobQueue, look: str) -> None:
    unknown = DeadLetterQueue(queue.api, "unknown")

    with refused("MH001") as refusal:
        getattr(unknown, look)(*[1] * (look in {"get", "replay"}))

    assert (refusal.field, refusal.value) == ("dlq_name", "unknown")
