"""What a job costs, counted: round trips and rows that are written. No time is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from supabase import AsyncClient

from benchmarks.counting import RoundTrips
from benchmarks.scenarios.round_trips import count_of_drain, count_of_polls, whole_intervals
from meshhook import QueueService
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.sql.client import Api, JobQueue, outcome

JOBS = 100

WRITTEN = """
    select
      pg_stat_get_xact_tuples_inserted(%(table)s::regclass) as inserted,
      pg_stat_get_xact_tuples_updated(%(table)s::regclass) as updated,
      pg_stat_get_xact_tuples_deleted(%(table)s::regclass) as deleted
"""


class Written(Counter[str]):
    """How many rows of which table were inserted, updated and deleted: ``jobs inserted``."""


@pytest.fixture
def jobs(admin: psycopg.Connection, queue_name: str) -> JobQueue:
    """A queue with its row of totals: the first settle inserts that, later ones update it."""
    queue = JobQueue(Api(admin), queue_name)
    queue.send({})
    queue.acknowledge(queue.claim_one())
    return queue


@contextmanager
def writing(queue: JobQueue) -> Iterator[Written]:
    """Tell, after the block, which rows it wrote."""
    # The memory of requests is left out here: now and then a call clears away what has expired.
    tables = {
        "queue": f"pgmq.q_{queue.name}",
        "dlq": f"pgmq.q_{queue.name}_dlq",
        **{name: f"meshhook.{name}" for name in ("jobs", "attempts", "totals", "queues")},
    }
    written = Written()
    with queue.api.connection.transaction():
        before = {name: _written(queue, table) for name, table in tables.items()}
        yield written
        for name, table in tables.items():
            for verb, count in (_written(queue, table) - before[name]).items():
                written[f"{name} {verb}"] = count


def _written(queue: JobQueue, table: str) -> Counter[str]:
    with queue.api.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        row = cursor.execute(WRITTEN, {"table": table}).fetchone()
    assert row is not None
    return Counter(row)


def test_an_enqueue_writes_one_row_for_each_job(jobs: JobQueue) -> None:
    with writing(jobs) as written:
        jobs.send(*[job_data()] * JOBS)

    assert written == {"queue inserted": JOBS}


def test_a_claim_writes_each_job_once(jobs: JobQueue) -> None:
    jobs.send(*[job_data()] * JOBS)

    with writing(jobs) as written:
        jobs.claim(JOBS)

    assert written == {"queue updated": JOBS}


def test_a_busy_workers_call_writes_three_rows_for_each_job_and_one_for_all(jobs: JobQueue) -> None:
    """The next job is claimed, the last one deleted and its history written."""
    jobs.send(*[job_data()] * JOBS * 2)
    outcomes = [outcome("complete", job) for job in jobs.claim(JOBS)]

    with writing(jobs) as written:
        assert len(jobs.settle_and_dequeue(outcomes, JOBS)["claim"]["jobs"]) == JOBS

    assert written == {
        "queue updated": JOBS,
        "queue deleted": JOBS,
        "jobs inserted": JOBS,
        "totals updated": 1,
    }


def test_without_history_a_completion_writes_only_the_deletion(jobs: JobQueue) -> None:
    jobs.create(keeps_history=False)
    jobs.send(*[job_data()] * JOBS)
    held = jobs.claim(JOBS)

    with writing(jobs) as written:
        jobs.acknowledge(*held)

    assert written == {"queue deleted": JOBS, "totals updated": 1}


SETTLES: dict[str, tuple[Callable[..., list[str]], dict[str, int]]] = {
    "acknowledge": (
        JobQueue.acknowledge,
        {"queue deleted": JOBS, "jobs inserted": JOBS, "totals updated": 1},
    ),
    "retry": (
        JobQueue.retry,
        {"queue updated": JOBS, "attempts inserted": JOBS, "totals updated": 1},
    ),
    "release": (JobQueue.release, {"queue updated": JOBS}),
    "extend": (JobQueue.extend, {"queue updated": JOBS}),
    "dead_letter": (
        JobQueue.dead_letter,
        {
            "queue deleted": JOBS,
            "dlq inserted": JOBS,
            "jobs inserted": JOBS,
            "attempts inserted": JOBS,
            "totals updated": 1,
        },
    ),
}


@pytest.mark.parametrize("verb", SETTLES)
def test_each_settle_writes_what_it_must_and_no_more(jobs: JobQueue, verb: str) -> None:
    settle, expected = SETTLES[verb]
    jobs.send(*[job_data()] * JOBS)
    held = jobs.claim(JOBS)

    with writing(jobs) as written:
        assert settle(jobs, *held) == ["ok"] * JOBS

    assert written == expected


@pytest.mark.parametrize("verb", SETTLES)
def test_a_settle_that_comes_too_late_writes_nothing(jobs: JobQueue, verb: str) -> None:
    jobs.send(*[job_data()] * JOBS)
    stale = [{**job, "read_ct": job["read_ct"] + 1} for job in jobs.claim(JOBS)]

    with writing(jobs) as written:
        assert SETTLES[verb][0](jobs, *stale) == ["lost"] * JOBS

    assert written == {}


REQUESTS = "select count(*) from meshhook.requests where queue_name = %s"


def test_a_call_is_remembered_by_one_row_however_many_jobs_it_is_about(jobs: JobQueue) -> None:
    jobs.send(*[job_data()] * JOBS, request_id="a")
    outcomes = [outcome("complete", job) for job in jobs.claim(JOBS, request_id="b")]
    jobs.settle_and_dequeue(outcomes, JOBS, request_id="c")

    assert jobs.api.value(REQUESTS, jobs.name) == 3


def test_an_empty_claim_is_not_even_remembered(jobs: JobQueue) -> None:
    jobs.claim(JOBS, request_id="a")

    assert jobs.api.value(REQUESTS, jobs.name) == 0


def test_an_empty_claim_writes_nothing(jobs: JobQueue) -> None:
    with writing(jobs) as written:
        assert jobs.claim(JOBS) == []

    assert written == {}


async def test_a_worker_at_full_speed_makes_at_most_one_round_trip_for_fifty_jobs(
    stack: LocalStack, jobs: JobQueue
) -> None:
    total = 3000
    for _ in range(0, total, 1000):
        jobs.send(*[job_data()] * 1000)

    round_trips = await count_of_drain(total, jobs.name, stack.url, stack.secret_key)

    assert round_trips <= 0.02 * total


async def test_an_idle_worker_makes_at_most_one_round_trip_in_each_poll_interval(
    stack: LocalStack, queue_name: str
) -> None:
    polls, seconds = await count_of_polls(6, queue_name, stack.url, stack.secret_key)

    assert polls == 6
    assert whole_intervals(seconds) >= polls


async def test_each_call_of_a_service_is_one_round_trip(
    client: AsyncClient, queue: QueueService
) -> None:
    round_trips = RoundTrips(client)

    await queue.enqueue(job_data())
    await queue.enqueue_many([job_data()] * JOBS)
    held = await queue.dequeue_many(JOBS)
    await queue.acknowledge_many(held)
    await queue.get_queue_metrics()

    assert [function for function, _ in round_trips.calls] == [
        "meshhook_enqueue",
        "meshhook_enqueue",
        "meshhook_dequeue",
        "meshhook_acknowledge",
        "meshhook_queue_metrics",
    ]
