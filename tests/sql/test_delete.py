"""Delete and purge: jobs are removed whoever holds them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.locks import wait_until_blocked
from tests.sql.client import Api, DeadLetterQueue, JobQueue, refused
from tests.sql.databases import Database


def test_a_job_is_deleted_whoever_holds_it(queue: JobQueue) -> None:
    queue.send({}, {}, {}, delays=[0, 0, 60])
    held = queue.claim_one()

    assert queue.delete(held["msg_id"], 2, 3, 4) == ["ok", "ok", "ok", "missing"]
    assert queue.rows() == []
    assert queue.acknowledge(held) == ["missing"]


def test_a_job_that_is_named_twice_is_deleted_once(queue: JobQueue) -> None:
    queue.send({})

    assert queue.delete(1, 1) == ["ok", "ok"]
    assert len(queue.history()) == 1


def test_a_deleted_job_is_not_counted_as_completed(queue: JobQueue) -> None:
    queue.send({"run_id": "r"})
    queue.claim_one(vt_seconds=0)

    queue.delete(1)

    (job,) = queue.history()
    assert (job["state"], job["run_id"], job["attempts"]) == ("deleted", "r", 1)
    assert queue.totals()["total_jobs"] == 0


def test_a_deleted_dead_letter_leaves_the_history_of_its_job(queue: JobQueue) -> None:
    queue.send({})
    queue.dead_letter(queue.claim_one())

    assert queue.dlq.as_queue.delete(1) == ["ok"]

    assert [job["state"] for job in queue.history()] == ["dead_lettered"]
    assert queue.dlq.as_queue.history() == []


def test_a_repeat_gets_the_first_answer(queue: JobQueue) -> None:
    queue.send({})

    assert queue.delete(1, 2, request_id="r") == ["ok", "missing"]
    assert queue.delete(1, 2, request_id="r") == ["ok", "missing"]


def test_a_job_of_a_queue_that_meshhook_has_not_seen_can_be_deleted(queue: JobQueue) -> None:
    queue.api.connection.execute("set local role postgres")
    queue.api.look("select pgmq.create('unseen')")
    queue.api.look("select pgmq.send('unseen', '{}'::jsonb)")
    queue.api.connection.execute("reset role")

    assert JobQueue(queue.api, "unseen").delete(1) == ["ok"]


def test_nothing_may_be_deleted(queue: JobQueue) -> None:
    assert queue.delete() == []
    with refused("MH002"):
        queue.api.call("meshhook_delete", queue_name="orders", msg_ids=None)
    with refused("MH002"):
        queue.delete(*range(10_001))


def test_a_purge_deletes_waiting_running_and_delayed_jobs_and_counts_them(queue: JobQueue) -> None:
    queue.send({}, {}, {}, {}, delays=[0, 0, 60, 60])
    held = queue.claim_one()
    queue.archive(queue.claim_one())

    assert queue.purge() == 3

    assert queue.rows() == []
    assert len(queue.archived()) == 1
    assert queue.acknowledge(held) == ["missing"]
    assert queue.purge() == 0


def test_ids_go_on_after_a_purge(queue: JobQueue) -> None:
    queue.send({}, {})
    queue.purge()

    assert queue.send({}) == [3]


def test_dead_letters_are_purged_alone(queue: JobQueue) -> None:
    queue.send({}, {})
    queue.dead_letter(queue.claim_one())

    assert queue.dlq.as_queue.purge() == 1
    assert len(queue.rows()) == 1


def test_a_repeated_purge_does_not_purge_what_came_since(queue: JobQueue) -> None:
    queue.send({})
    assert queue.purge(request_id="r") == 1
    queue.send({})

    assert queue.purge(request_id="r") == 1
    assert len(queue.rows()) == 1


@pytest.mark.parametrize("remove", ["delete", "purge"])
def test_an_unknown_queue_is_named(queue: JobQueue, remove: str) -> None:
    with refused("MH001") as refusal:
        getattr(JobQueue(queue.api, "unknown"), remove)()

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")


def test_a_purge_waits_for_who_is_at_work_and_counts_what_they_add(
    database: Database, shared_queue: JobQueue
) -> None:
    shared_queue.send({}, {}, {})
    with (
        database.admin() as worker,
        database.admin() as purger,
        ThreadPoolExecutor() as threads,
    ):
        with worker.transaction():
            at_work = JobQueue(Api(worker), shared_queue.name)
            at_work.acknowledge(at_work.claim_one())
            at_work.send({}, {})
            purge = threads.submit(JobQueue(Api(purger), shared_queue.name).purge)
            wait_until_blocked(shared_queue.api.connection, purger.info.backend_pid)
        purged = purge.result()

    assert purged == 4
    assert shared_queue.rows() == []


def test_who_works_while_a_purge_runs_waits_for_it_and_finds_nothing(
    database: Database, shared_queue: JobQueue
) -> None:
    shared_queue.send({}, {})
    held = shared_queue.claim_one()
    with database.admin() as settler, database.admin() as purger, ThreadPoolExecutor() as threads:
        with purger.transaction():
            JobQueue(Api(purger), shared_queue.name).purge()
            settle = threads.submit(JobQueue(Api(settler), shared_queue.name).acknowledge, held)
            wait_until_blocked(shared_queue.api.connection, settler.info.backend_pid)
        status = settle.result()

    assert status == ["missing"]
    assert shared_queue.totals()["completed_jobs"] == 0


def test_a_purge_waits_for_no_other_queue(database: Database, shared_queue: JobQueue) -> None:
    shared_queue.send({})
    with database.admin() as worker, worker.transaction():
        JobQueue(Api(worker), shared_queue.name).claim_one()

        assert DeadLetterQueue(shared_queue.api, f"{shared_queue.name}_dlq").as_queue.purge() == 0
