"""Control: pausing, cancelling, settings, queues without dead letters, lists of jobs, workers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sql.client import JobQueue, Json, ids, outcome, refused

WORKER: Json = {
    "worker_id": "w1",
    "name": "mill",
    "queue_names": ["orders"],
    "host": "h",
    "pid": 7,
    "version": "1.2.3",
    "concurrency": 10,
    "running": 3,
    "interval_seconds": 10,
    "started_at": "2026-01-01T00:00:00Z",
}


def test_a_paused_queue_hands_out_nothing_and_takes_everything_else(queue: JobQueue) -> None:
    queue.send({}, {})
    running = queue.claim_one()

    assert (queue.pause(), queue.pause()) == (True, False)

    answer = queue.dequeue(quantity=5)
    assert (answer["jobs"], answer["paused"]) == ([], True)
    assert queue.extend(running) == ["ok"]
    settled = queue.settle_and_dequeue([outcome("complete", running)], 5)
    assert (settled["statuses"], settled["claim"]["jobs"]) == (["ok"], [])
    assert len(queue.send({})) == 1
    assert [row["read_ct"] for row in queue.rows()] == [0, 0]


def test_a_resumed_queue_hands_out_again(queue: JobQueue) -> None:
    (sent,) = queue.send({})
    queue.pause()

    assert (queue.resume(), queue.resume()) == (True, False)

    answer = queue.dequeue()
    assert (ids(answer["jobs"]), answer["paused"]) == ([sent], False)


def test_a_repeat_of_a_claim_gets_its_jobs_though_the_queue_was_paused_since(
    queue: JobQueue,
) -> None:
    (sent,) = queue.send({})
    queue.claim(1, request_id="r")
    queue.pause()

    assert ids(queue.claim(1, request_id="r")) == [sent]


def test_a_pause_is_seen_in_the_list_of_queues(queue: JobQueue) -> None:
    queue.pause()

    listed = {row["queue_name"]: row for row in queue.api.call("meshhook_list_queues")}

    assert listed["orders"]["paused_at"] is not None
    queue.resume()
    assert queue.configure()["paused_at"] is None


def test_jobs_are_cancelled_whether_they_wait_or_run(queue: JobQueue) -> None:
    waiting, running = queue.send({"run_id": "a"}, {"run_id": "b"}, delays=[60, 0])
    held = queue.claim_one()

    assert queue.cancel(waiting, running, 99) == ["ok", "ok", "missing"]

    assert queue.rows() == []
    assert queue.extend(held) == ["missing"]
    assert queue.acknowledge(held) == ["missing"]
    assert [queue.get_job(msg_id)["state"] for msg_id in (waiting, running)] == ["cancelled"] * 2


def test_a_repeated_cancel_gives_the_same_answer(queue: JobQueue) -> None:
    (sent,) = queue.send({})
    first = queue.cancel(sent, request_id="r")

    assert queue.cancel(sent, request_id="r") == first == ["ok"]
    assert queue.cancel(sent) == ["missing"]


def test_the_settings_that_are_named_are_changed(queue: JobQueue) -> None:
    before = queue.configure()

    after = queue.configure(
        dlq_name="graveyard", vt_seconds=5, max_attempts=2, has_dead_letters=False, retention_days=3
    )

    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        "dlq_name",
        "vt_seconds",
        "max_attempts",
        "has_dead_letters",
        "retention_days",
    }
    assert queue.dequeue()["vt_seconds"] == 5


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"vt_seconds": 0}, "vt_seconds"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_delay_ms": 10}, "max_delay_ms"),
        ({"dlq_name": "orders"}, "dlq_name"),
        ({"dlq_name": 'a"b'}, "dlq_name"),
        ({"retention_days": -1}, "retention_days"),
        ({"retention_days": 36_601}, "retention_days"),
        ({"retention_days": "NaN"}, "retention_days"),
        ({"retention_days": "-Infinity"}, "retention_days"),
    ],
    ids=str,
)
def test_settings_that_are_not_usable_change_nothing(
    queue: JobQueue, settings: dict[str, Any], field: str
) -> None:
    before = queue.configure()

    with refused("MH002") as refusal:
        queue.configure(**settings)

    assert refusal.field == field
    assert queue.configure() == before


@pytest.mark.parametrize("verb", ["configure", "pause", "resume", "list_jobs"])
def test_a_queue_that_is_not_there_is_not_made(queue: JobQueue, verb: str) -> None:
    with refused("MH001") as refusal:
        getattr(JobQueue(queue.api, "typo"), verb)()

    assert (refusal.field, refusal.value) == ("queue_name", "typo")


def test_without_dead_letters_a_failed_job_goes_to_the_archive(queue: JobQueue) -> None:
    queue.configure(has_dead_letters=False)
    (sent,) = queue.send({"run_id": "r", "n": 1})
    job = queue.claim_one()

    statuses = queue.settle([outcome("dead_letter", job, error_message="no")])

    assert statuses == ["ok"]
    assert (queue.rows(), queue.dlq.letters()) == ([], [])
    (archived,) = queue.archived()
    assert archived["msg_id"] == sent
    assert {"n": 1, "error_message": "no", "attempt": 1}.items() <= archived["message"].items()
    found = queue.get_job(sent)
    assert (found["state"], found["dlq_name"], found["dlq_msg_id"]) == ("failed", None, None)
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["failed"]
    assert queue.totals()["failed_jobs"] == 1


def test_without_dead_letters_a_claim_archives_what_it_may_not_hand_out(queue: JobQueue) -> None:
    queue.configure(has_dead_letters=False)
    queue.api.value("select pgmq.send('orders', '[1]'::jsonb)")
    queue.send({"max_attempts": 1})
    queue.claim(1)
    queue.pass_time(3600)

    answer = queue.dequeue(quantity=5)

    assert (answer["jobs"], len(answer["dead_lettered"])) == ([], 1)
    assert len(queue.archived()) == 2
    assert queue.rows() == []


def test_a_dead_letter_queue_that_a_call_names_is_used_all_the_same(queue: JobQueue) -> None:
    queue.configure(has_dead_letters=False)
    queue.send({})

    queue.dead_letter(queue.claim_one(), dlq_name="orders_dlq")

    assert len(queue.dlq.letters()) == 1
    assert queue.archived() == []


def test_jobs_are_listed_by_state_newest_first(queue: JobQueue) -> None:
    done, leased, ready, later, dead = queue.send(*[{}] * 5, delays=[0, 0, 0, 60, 0])
    jobs = {job["msg_id"]: job for job in queue.claim_all()}
    queue.acknowledge(jobs[done])
    queue.dead_letter(jobs[dead])
    queue.release(jobs[ready])

    def in_state(state: str) -> list[int]:
        return ids(queue.list_jobs(state=state))

    assert ids(queue.list_jobs()) == [later, ready, leased]
    assert in_state("available") == [ready]
    assert in_state("leased") == [leased]
    assert in_state("scheduled") == [later]
    assert in_state("completed") == [done]
    assert in_state("dead_lettered") == [dead]
    assert in_state("cancelled") == []


@pytest.mark.parametrize("state", [None, "available", "completed"])
def test_a_list_goes_on_where_the_last_one_ended(queue: JobQueue, state: str | None) -> None:
    sent = queue.send(*[{}] * 5)
    if state == "completed":
        queue.acknowledge(*queue.claim_all())

    first = ids(queue.list_jobs(state=state, quantity=3))
    second = ids(queue.list_jobs(state=state, quantity=3, before_msg_id=first[-1]))

    assert first + second == sent[::-1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"state": "lost"}, "state"), ({"state": ""}, "state"), ({"quantity": 0}, "quantity")],
    ids=str,
)
def test_a_list_that_makes_no_sense_is_refused(
    queue: JobQueue, arguments: dict[str, Any], field: str
) -> None:
    with refused("MH002") as refusal:
        queue.list_jobs(**arguments)

    assert refusal.field == field


@pytest.mark.parametrize("call", ["dequeue", "settle_and_dequeue", "extend", "while_paused"])
def test_a_worker_is_seen_by_what_it_calls(queue: JobQueue, call: str) -> None:
    queue.send({})
    job = queue.claim_one()
    if call == "extend":
        queue.extend(job, worker=WORKER)
    elif call == "settle_and_dequeue":
        queue.settle_and_dequeue([], 1, worker=WORKER)
    else:
        if call == "while_paused":
            queue.pause()
        queue.dequeue(worker=WORKER)

    (worker,) = queue.workers()

    assert worker.pop("seen_at")
    assert worker == {**WORKER, "started_at": "2026-01-01T00:00:00+00:00", "is_alive": True}


def test_a_worker_that_is_seen_again_is_one_worker(queue: JobQueue) -> None:
    before = len(queue.api.call("meshhook_list_workers"))

    queue.dequeue(worker=WORKER)
    queue.dequeue(worker={**WORKER, "running": 5})
    queue.dequeue(worker={**WORKER, "worker_id": "w2", "queue_names": ["orders", "more"]})

    assert [(w["worker_id"], w["running"]) for w in queue.workers()] == [("w1", 5), ("w2", 3)]
    assert [w["worker_id"] for w in JobQueue(queue.api, "more").workers()] == ["w2"]
    assert len(queue.api.call("meshhook_list_workers")) == before + 2


def test_a_worker_that_was_not_seen_for_three_intervals_is_not_alive(queue: JobQueue) -> None:
    queue.dequeue(worker=WORKER)
    seen(queue, seconds_ago=29)
    assert queue.workers()[0]["is_alive"]
    seen(queue, seconds_ago=31)
    assert not queue.workers()[0]["is_alive"]


def test_a_worker_of_the_day_before_is_forgotten(queue: JobQueue) -> None:
    queue.dequeue(worker=WORKER)
    seen(queue, seconds_ago=86_401)

    queue.dequeue(worker={**WORKER, "worker_id": "w2"})

    assert [w["worker_id"] for w in queue.workers()] == ["w2"]


def test_a_worker_that_says_it_is_stopped_is_forgotten_and_no_other(queue: JobQueue) -> None:
    queue.dequeue(worker=WORKER)
    queue.dequeue(worker={**WORKER, "worker_id": "w2"})

    queue.extend(worker={**WORKER, "is_stopped": True})
    queue.extend(worker={**WORKER, "worker_id": "never seen", "is_stopped": True})

    assert [w["worker_id"] for w in queue.workers()] == ["w2"]


def seen(queue: JobQueue, seconds_ago: float) -> None:
    queue.api.look(
        "update meshhook.workers set seen_at = clock_timestamp() - make_interval(secs => %s)"
        " where worker_id = 'w1' returning 1",
        seconds_ago,
    )


@pytest.mark.parametrize(
    "worker",
    [
        "w",
        [],
        {},
        {**WORKER, "worker_id": None},
        {**WORKER, "worker_id": "w" * 201},
        {**WORKER, "queue_names": None},
        {**WORKER, "queue_names": 1},
        {**WORKER, "pid": "x"},
        {**WORKER, "started_at": "yesterday evening"},
        {**WORKER, "running": 1e300},
    ],
    ids=str,
)
def test_what_is_not_a_worker_is_refused_and_nothing_claimed(queue: JobQueue, worker: Any) -> None:
    queue.send({})

    with refused("MH002") as refusal:
        queue.dequeue(worker=worker)

    assert refusal.field == "worker"
    assert queue.row()["read_ct"] == 0
