"""The cost of claims and settles while rows come and go, with vacuum running and held off.

A transaction that stays open keeps every row that was deleted since: vacuum may not remove it, and
every search for the oldest job scans it. Reports and backups are such transactions.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import attrs
import psycopg

from benchmarks import payload, processes
from benchmarks.results import Result, Row
from benchmarks.statistics import median, turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

BATCH = 100
BACKLOG = 1000
MESHHOOK = "MeshHook"
PGMQ = "pgmq.read + pgmq.delete"


@attrs.frozen
class Case:
    """The client, and whether vacuum is held off."""

    series: str
    held: bool

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.series}, vacuum held off" if self.held else self.series


CASES = tuple(Case(series, held) for held in (False, True) for series in (MESHHOOK, PGMQ))


def measure(space: Space, settings: Settings) -> Result:
    """Enqueue and settle jobs, and measure the calls after more and more of them."""
    churned = settings.size((2000, 10_000, 50_000, 100_000), (500, 1000))
    times = defaultdict(list)
    for case in turns(CASES, settings.runs):
        for jobs, value in zip(churned, _run(space, case, churned), strict=True):
            times[case.name, f"{jobs:,}"].append(value)
    return Result(
        name="churn",
        title=f"Settling {BATCH} jobs and claiming the next {BATCH}, milliseconds in the database",
        how=[
            f"a backlog of {BACKLOG:,} jobs; each round enqueues, claims and settles {BATCH}",
            "each run: the median of the last 20 rounds before so many jobs have come and gone",
            "vacuum held off: another transaction has been open since before",
        ],
        x_title="jobs come and gone",
        rows=[Row(name, x, values, "ms") for (name, x), values in times.items()],
        plot="lines",
    )


def _run(space: Space, case: Case, churned: tuple[int, ...]) -> list[float]:
    with space.queue() as queue_name, _open_transaction(space) if case.held else nullcontext():
        space.fill(queue_name, BACKLOG)
        outcome = processes.run(
            churn,
            database_url=space.target.database_url,
            queue_name=queue_name,
            series=case.series,
            rounds=churned[-1] // BATCH,
        )
    times: list[float] = outcome.value
    return [median(times[jobs // BATCH - 20 : jobs // BATCH] or times) for jobs in churned]


def _open_transaction(space: Space) -> AbstractContextManager[psycopg.Connection]:
    connection = psycopg.connect(space.target.database_url)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute("select 1")  # takes the snapshot that is held from now on
    return connection


def churn(gate: Gate, database_url: str, queue_name: str, series: str, rounds: int) -> list[float]:
    """Enqueue and settle jobs, and return the milliseconds of each round's claim and settle."""
    messages = json.dumps([payload.job(number) for number in range(BATCH)])
    times = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        work = WORK[series]
        held: Any = None
        gate.wait()
        for _ in range(rounds):
            connection.execute("select public.meshhook_enqueue(%s, %s)", [queue_name, messages])
            begin = time.perf_counter()
            held = work(connection, queue_name, held)
            times.append(1000 * (time.perf_counter() - begin))
    return times


def _meshhook(connection: psycopg.Connection, queue_name: str, held: Any) -> Any:
    outcomes = [
        {"outcome": "complete", "msg_id": job["msg_id"], "read_ct": job["read_ct"], "seconds": 0}
        for job in held or ()
    ]
    row = connection.execute(
        "select public.meshhook_settle_and_dequeue(%s, %s, %s)",
        [queue_name, json.dumps(outcomes), BATCH],
    ).fetchone()
    assert row is not None
    return row[0]["claim"]["jobs"]


def _pgmq(connection: psycopg.Connection, queue_name: str, held: Any) -> Any:
    if held:
        connection.execute("select pgmq.delete(%s, %s::bigint[])", [queue_name, held])
    rows = connection.execute("select * from pgmq.read(%s, 30, %s)", [queue_name, BATCH])
    return [row[0] for row in rows]


WORK: dict[str, Callable[[psycopg.Connection, str, Any], Any]] = {MESHHOOK: _meshhook, PGMQ: _pgmq}
