"""Looking jobs up: one job's whole life, and all jobs of a run; without writing anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sql.client import Api, JobQueue, Json, ids, refused


def claimed(queue: JobQueue) -> Json:
    queue.send({"run_id": "r"})
    return queue.claim_one()


def replayed(queue: JobQueue) -> None:
    queue.dead_letter(claimed(queue))
    queue.dlq.replay(1)


STATES: dict[str, Callable[[JobQueue], object]] = {
    "available": lambda queue: queue.send({"run_id": "r"}),
    "scheduled": lambda queue: queue.send({"run_id": "r"}, delay_seconds=60),
    "leased": claimed,
    "completed": lambda queue: queue.acknowledge(claimed(queue)),
    "archived": lambda queue: queue.archive(claimed(queue)),
    "dead_lettered": lambda queue: queue.dead_letter(claimed(queue)),
    "replayed": replayed,
    "deleted": lambda queue: queue.delete(claimed(queue)["msg_id"]),
}


@pytest.mark.parametrize("state", STATES)
def test_a_job_is_found_in_every_state_of_its_life(queue: JobQueue, state: str) -> None:
    STATES[state](queue)

    job = queue.get_job(1)

    assert (job["queue_name"], job["msg_id"], job["run_id"]) == ("orders", 1, "r")
    assert (job["state"], job["attempt"]) == (state, 1)
    assert queue.find_jobs("r")[0] == job


def test_a_job_whose_lease_is_over_is_available(queue: JobQueue) -> None:
    claimed(queue)
    queue.pass_time(31)

    assert queue.get_job(1)["state"] == "available"


@pytest.mark.parametrize("hand_back", [JobQueue.retry, JobQueue.release])
def test_a_job_that_waits_for_another_try_is_scheduled_and_not_leased(
    queue: JobQueue, hand_back: Callable[..., object]
) -> None:
    hand_back(queue, claimed(queue), delay_seconds=60)

    assert queue.get_job(1)["state"] == "scheduled"


def test_a_job_that_waits_for_its_second_attempt_is_at_its_second(queue: JobQueue) -> None:
    queue.retry(claimed(queue))

    assert queue.get_job(1)["attempt"] == 2


def test_a_waiting_job_tells_its_message_and_times_and_a_finished_one_its_end(
    queue: JobQueue,
) -> None:
    job = claimed(queue)
    waiting = queue.get_job(1)
    queue.acknowledge(job, seconds=[1.5])
    finished = queue.get_job(1)

    assert set(waiting) == {
        "queue_name",
        "msg_id",
        "run_id",
        "state",
        "read_ct",
        "enqueued_at",
        "vt",
        "message",
        "attempt",
        "attempts",
    }
    assert set(finished) == {
        "queue_name",
        "msg_id",
        "run_id",
        "state",
        "attempt",
        "attempts",
        "enqueued_at",
        "finished_at",
        "seconds",
        "dlq_name",
        "dlq_msg_id",
        "replayed_at",
        "replayed_to",
        "replayed_msg_id",
    }
    assert (finished["seconds"], finished["attempts"]) == (1.5, [])


def test_each_failed_attempt_is_told_with_time_error_and_stack(queue: JobQueue) -> None:
    queue.retry(claimed(queue), error_message="boom", error_stack="where")
    queue.claim_one(vt_seconds=0)
    job = queue.claim_one()

    for attempts in (queue.get_job(1)["attempts"], queue.find_jobs("r")[0]["attempts"]):
        assert [(a["attempt"], a["read_ct"], a["outcome"]) for a in attempts] == [
            (1, 1, "retried"),
            (2, 2, "lapsed"),
        ]
        assert (attempts[0]["error_message"], attempts[0]["error_stack"]) == ("boom", "where")
        assert attempts[1]["error_type"] == "LeaseExpired"
        assert attempts[0]["failed_at"] < attempts[1]["failed_at"]
    queue.acknowledge(job)
    assert len(queue.get_job(1)["attempts"]) == 2


def test_the_jobs_of_a_run_come_oldest_first_finished_ones_too(queue: JobQueue) -> None:
    queue.send(*[{"run_id": run_id} for run_id in "rsrrsr"])
    queue.acknowledge(3, 5)
    queue.delete(4)

    assert [(job["msg_id"], job["state"]) for job in queue.find_jobs("r")] == [
        (1, "available"),
        (3, "completed"),
        (4, "deleted"),
        (6, "available"),
    ]
    assert ids(queue.find_jobs("s")) == [2, 5]
    assert queue.find_jobs("t") == []
    assert queue.find_jobs(None) == []


def test_jobs_of_other_queues_are_not_found(queue: JobQueue) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    other.send({"run_id": "r"}, {"run_id": "r"})
    other.acknowledge(1)

    assert queue.find_jobs("r") == []
    assert queue.get_job(1) is None
    assert len(other.find_jobs("r")) == 2


@pytest.mark.parametrize("finished", [0, 3, 6])
def test_no_more_jobs_of_a_run_are_told_than_were_asked_for(queue: JobQueue, finished: int) -> None:
    queue.send(*[{"run_id": "r"}] * 6)
    queue.acknowledge(*range(1, finished + 1))

    assert len(queue.find_jobs("r", quantity=3)) == 3


@pytest.mark.parametrize("quantity", [0, 1001, -1, None])
def test_a_quantity_is_from_1_to_1000(queue: JobQueue, quantity: int | None) -> None:
    with refused("MH002") as refusal:
        queue.find_jobs("r", quantity=quantity)

    assert refusal.field == "quantity"


def test_a_job_that_left_no_trace_is_null(queue: JobQueue) -> None:
    claimed(queue)
    queue.purge()

    assert queue.get_job(1) is None
    assert queue.get_job(-1) is None


@pytest.mark.parametrize("message", ["null", "[1]", '{"attempt": "x"}', '{"run_id": {"a": 1}}'])
def test_a_message_that_makes_no_sense_can_be_looked_at(queue: JobQueue, message: str) -> None:
    queue.api.value("select pgmq.send('orders', %s::jsonb)", message)

    job = queue.get_job(1)

    assert (job["state"], job["attempt"]) == ("available", 1)
    assert queue.find_jobs("r") == []


@pytest.mark.parametrize("look", ["get_job", "find_jobs"])
def test_an_unknown_queue_is_named(queue: JobQueue, look: str) -> None:
    with refused("MH001") as refusal:
        getattr(JobQueue(queue.api, "unknown"), look)(1)

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")


def test_functions_that_only_look_run_in_a_read_only_transaction(api: Api) -> None:
    """PostgREST runs every function that is declared stable in one."""
    api.connection.execute("set local role postgres")
    api.look("select pgmq.create('unseen')")
    api.look("select pgmq.create('unseen_dlq')")
    api.connection.execute("reset role")
    stable = api.look(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%%' and provolatile = 's' order by 1"
    )
    values = {
        "queue_name": "unseen",
        "dlq_name": "unseen_dlq",
        "msg_id": 1,
        "run_id": "r",
        "quantity": 1,
        "after_msg_id": 0,
        "before_msg_id": 9,
        "state": "completed",
    }

    with api.connection.transaction(force_rollback=True):
        api.connection.execute("set transaction read only")
        for function in (row["proname"] for row in stable):
            arguments = api.arguments(function)
            api.call(function, **{name: values[name] for name in arguments})
        for view in ("queue_monitoring", "job_statistics"):
            api.look(f"select * from public.{view}")

    assert [row["proname"] for row in stable] == [
        "meshhook_count_dead_letters",
        "meshhook_dlq_metrics",
        "meshhook_doctor",
        "meshhook_find_jobs",
        "meshhook_get_dead_letter",
        "meshhook_get_job",
        "meshhook_group_dead_letters",
        "meshhook_list_dead_letters",
        "meshhook_list_jobs",
        "meshhook_list_queues",
        "meshhook_list_workers",
        "meshhook_queue_metrics",
        "meshhook_version",
    ]
