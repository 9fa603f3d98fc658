"""Monitoring: how full and how old queues are, and the running totals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.locks import wait_until_blocked
from tests.sql.client import Api, JobQueue, Json, outcome, refused
from tests.sql.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable

GUIDE = {
    "queue_monitoring": [
        "queue_name",
        "pending_jobs",
        "invisible_jobs",
        "visible_jobs",
        "oldest_job_time",
        "newest_job_time",
        "oldest_job_age_seconds",
    ],
    "job_statistics": [
        "queue_name",  # the guide knows but one queue
        "total_jobs",
        "completed_jobs",
        "failed_jobs",
        "dlq_jobs",
        "pending_jobs",
        "avg_processing_time_seconds",
        "avg_attempts",
        "max_attempts_seen",
    ],
}


def seen(api: Api, view: str, queue_name: str) -> Json:
    """Return what the service role sees of a queue in a view."""
    with api.connection.transaction():
        api.connection.execute("set local role service_role")
        (row,) = api.look(f"select * from public.{view} where queue_name = %s", queue_name)
        api.connection.execute("reset role")
    return row


def made_by_hand(api: Api, name: str) -> JobQueue:
    """Create a queue with PGMQ alone, as the dashboard does."""
    api.connection.execute("set local role postgres")
    api.look("select pgmq.create(%s)", name)
    api.connection.execute("reset role")
    return JobQueue(api, name)


@pytest.mark.parametrize("view", GUIDE)
def test_a_view_has_the_columns_of_the_guide(api: Api, view: str) -> None:
    columns = api.look(
        "select column_name from information_schema.columns"
        " where table_schema = 'public' and table_name = %s order by ordinal_position",
        view,
    )

    assert [column["column_name"] for column in columns] == GUIDE[view]


def test_every_queue_is_monitored_dead_letter_queues_too(queue: JobQueue) -> None:
    made_by_hand(queue.api, "by_hand")
    made_by_hand(queue.api, "ByHand")

    names = {row["queue_name"] for row in queue.api.look("select * from public.queue_monitoring")}

    assert names == {
        "workflow_jobs",
        "workflow_jobs_dlq",
        "orders",
        "orders_dlq",
        "by_hand",
        "ByHand",
    }


def test_a_queue_that_meshhook_has_not_used_yet_has_statistics_too(queue: JobQueue) -> None:
    made_by_hand(queue.api, "by_hand")
    queue.api.look("select pgmq.send('by_hand', '{}'::jsonb)")

    row = seen(queue.api, "job_statistics", "by_hand")

    assert (row["total_jobs"], row["pending_jobs"]) == (0, 1)


def test_monitoring_tells_visible_from_invisible_jobs_and_their_ages(queue: JobQueue) -> None:
    empty = seen(queue.api, "queue_monitoring", "orders")
    assert empty == {
        **dict.fromkeys(GUIDE["queue_monitoring"]),
        "queue_name": "orders",
        "pending_jobs": 0,
        "invisible_jobs": 0,
        "visible_jobs": 0,
    }
    queue.send({}, {}, {}, {}, delays=[0, 0, 0, 3600])
    queue.claim_one(vt_seconds=3600)
    queue.pass_time(100)
    queue.api.connection.execute(
        "insert into pgmq.q_orders (vt, enqueued_at) values (now(), clock_timestamp())"
    )

    row = seen(queue.api, "queue_monitoring", "orders")

    rows = queue.rows()
    assert row == {
        "queue_name": "orders",
        "pending_jobs": 5,
        "invisible_jobs": 2,
        "visible_jobs": 3,
        "oldest_job_time": rows[0]["enqueued_at"],
        "newest_job_time": rows[4]["enqueued_at"],
        "oldest_job_age_seconds": 100,
    }
    assert queue.metrics() == {
        "queue_name": "orders",
        "queue_length": 5,
        "visible_jobs": 3,
        "invisible_jobs": 2,
        "oldest_msg_age_seconds": 100,
        "newest_msg_age_seconds": 0,
    }


def test_metrics_of_an_empty_queue_have_no_ages(queue: JobQueue) -> None:
    assert queue.metrics() == {
        "queue_name": "orders",
        "queue_length": 0,
        "visible_jobs": 0,
        "invisible_jobs": 0,
        "oldest_msg_age_seconds": None,
        "newest_msg_age_seconds": None,
    }


def test_metrics_of_an_unknown_queue_are_refused(queue: JobQueue) -> None:
    with refused("MH001") as refusal:
        JobQueue(queue.api, "unknown").metrics()

    assert (refusal.field, refusal.value) == ("queue_name", "unknown")


def complete(queue: JobQueue, job: Json) -> None:
    queue.acknowledge(job, seconds=[3])


def archive(queue: JobQueue, job: Json) -> None:
    queue.archive(job, seconds=[3])


def lapse(queue: JobQueue, job: Json) -> None:
    queue.pass_time(31)
    assert job["msg_id"] == queue.claim_one()["msg_id"]


def replay(queue: JobQueue, job: Json) -> None:
    queue.dead_letter(job)
    queue.dlq.replay(queue.dlq.one()["msg_id"])


def bury_past_the_last_attempt(queue: JobQueue, job: Json) -> None:
    queue.release(job)
    for _ in range(job["max_attempts"] + 1):
        queue.claim(vt_seconds=0)


EVENTS: dict[str, tuple[Callable[[JobQueue, Json], object], Json]] = {
    "claimed": (lambda _, job: job, {"pending_jobs": 1}),
    "completed": (
        complete,
        {
            "total_jobs": 1,
            "completed_jobs": 1,
            "avg_processing_time_seconds": 3,
            "avg_attempts": 1,
            "max_attempts_seen": 1,
        },
    ),
    "archived": (
        archive,
        {
            "total_jobs": 1,
            "completed_jobs": 1,
            "avg_processing_time_seconds": 3,
            "avg_attempts": 1,
            "max_attempts_seen": 1,
        },
    ),
    "completed without a duration": (
        JobQueue.acknowledge,
        {"total_jobs": 1, "completed_jobs": 1, "avg_attempts": 1, "max_attempts_seen": 1},
    ),
    "retried": (JobQueue.retry, {"pending_jobs": 1, "max_attempts_seen": 1}),
    "released": (JobQueue.release, {"pending_jobs": 1}),
    "lapsed": (lapse, {"pending_jobs": 1}),
    "dead-lettered": (
        JobQueue.dead_letter,
        {
            "total_jobs": 1,
            "failed_jobs": 1,
            "dlq_jobs": 1,
            "avg_attempts": 1,
            "max_attempts_seen": 1,
        },
    ),
    "dead-lettered after its last attempt": (
        bury_past_the_last_attempt,
        {
            "total_jobs": 1,
            "failed_jobs": 1,
            "dlq_jobs": 1,
            "avg_attempts": 5,
            "max_attempts_seen": 5,
        },
    ),
    "replayed": (
        replay,
        {
            "total_jobs": 1,
            "failed_jobs": 1,
            "pending_jobs": 1,
            "avg_attempts": 1,
            "max_attempts_seen": 1,
        },
    ),
    "deleted": (lambda queue, job: queue.delete(job["msg_id"]), {}),
    "purged": (lambda queue, _: queue.purge(), {}),
    "settled too late": (
        lambda queue, job: queue.acknowledge({**job, "read_ct": 9}),
        {"pending_jobs": 1},
    ),
}


@pytest.mark.parametrize(("event", "expected"), EVENTS.values(), ids=EVENTS)
def test_statistics_after_each_event(
    queue: JobQueue, event: Callable[[JobQueue, Json], object], expected: Json
) -> None:
    queue.send({})

    event(queue, queue.claim_one())

    nothing = {**dict.fromkeys(GUIDE["job_statistics"], 0), "queue_name": "orders"}
    nothing |= {"avg_processing_time_seconds": None, "avg_attempts": None}
    assert seen(queue.api, "job_statistics", "orders") == {**nothing, **expected}


def test_averages_are_over_all_finished_jobs(queue: JobQueue) -> None:
    queue.send(*[{"attempt": attempt} for attempt in (1, 2, 3, 4)])
    first, second, third, fourth = queue.claim_all()

    queue.acknowledge(first, second, seconds=[1, 4])
    queue.settle([outcome("archive", third), outcome("dead_letter", fourth, seconds=100)])

    totals = queue.totals()
    assert (totals["avg_attempts"], totals["max_attempts_seen"]) == (2.5, 4)
    assert totals["avg_processing_time_seconds"] == 2.5


def test_dead_letter_queues_have_no_statistics_of_their_own(queue: JobQueue) -> None:
    queue.dlq.as_queue.send({})

    names = [row["queue_name"] for row in queue.api.look("select * from public.job_statistics")]

    assert "orders" in names
    assert "orders_dlq" not in names


def test_statistics_do_not_shrink_when_history_is_pruned(queue: JobQueue) -> None:
    queue.send({}, {})
    queue.acknowledge(*queue.claim(2))
    before = queue.totals()
    queue.pass_time(86_400)

    assert queue.prune(0.5)["jobs"] == 2
    assert queue.totals() == before


def test_a_new_queue_of_an_old_name_begins_with_empty_statistics(queue: JobQueue) -> None:
    queue.send({})
    queue.acknowledge(queue.claim_one())

    queue.drop()
    queue.create()

    assert queue.totals()["total_jobs"] == 0


def test_settles_at_the_same_time_are_all_counted(
    database: Database, shared_queue: JobQueue
) -> None:
    connections = [database.admin() for _ in range(8)]
    shared_queue.send(*[{}] * 80)

    def work(connection: psycopg.Connection) -> None:
        queue = JobQueue(Api(connection), shared_queue.name)
        for _ in range(5):
            done, failed = queue.claim(2)
            queue.settle([outcome("complete", done, seconds=1), outcome("dead_letter", failed)])

    with ThreadPoolExecutor(len(connections)) as threads:
        list(threads.map(work, connections))

    slots = shared_queue.api.look(
        "select slot from meshhook.totals join meshhook.queues using (queue_id)"
        " where queue_name = %s",
        shared_queue.name,
    )
    assert {row["slot"] for row in slots} == {c.info.backend_pid % 32 for c in connections}
    totals = shared_queue.totals()
    assert (totals["completed_jobs"], totals["failed_jobs"], totals["dlq_jobs"]) == (40, 40, 40)
    assert (totals["avg_processing_time_seconds"], totals["avg_attempts"]) == (1, 1)
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("view", GUIDE)
def test_a_queue_whose_table_is_gone_does_not_hide_the_others(queue: JobQueue, view: str) -> None:
    """So it may be after a restore: a dump leaves out the tables of an extension."""
    other = JobQueue(queue.api, "other")
    other.create()
    for table in ("q_other", "q_other_dlq"):
        queue.api.connection.execute(f"alter table pgmq.{table} set schema public")

    assert seen(queue.api, view, "orders")["pending_jobs"] == 0


@pytest.mark.parametrize("view", GUIDE)
def test_a_queue_that_belongs_to_somebody_else_does_not_hide_the_others(
    queue: JobQueue, view: str
) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    for table in ("q_other", "q_other_dlq"):
        queue.api.connection.execute(f"alter table pgmq.{table} owner to supabase_admin")

    assert seen(queue.api, view, "orders")["pending_jobs"] == 0


@pytest.mark.parametrize("view", GUIDE)
def test_a_queue_that_is_dropped_while_a_view_is_read_does_not_break_it(
    database: Database, shared_queue: JobQueue, view: str
) -> None:
    with database.admin() as dropper, database.admin() as reader, ThreadPoolExecutor() as threads:
        other = JobQueue(Api(dropper), f"{shared_queue.name}_b")
        other.create()
        with dropper.transaction():
            other.drop(drop_dlq=True)
            query = f"select queue_name from public.{view}"
            reading = threads.submit(lambda: reader.execute(query).fetchall())
            wait_until_blocked(shared_queue.api.connection, reader.info.backend_pid)
        names = [name for (name,) in reading.result()]

    assert shared_queue.name in names
