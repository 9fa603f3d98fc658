"""The cost of the views, with few and with many finished jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from benchmarks import processes
from benchmarks.results import Result, Row, flat
from benchmarks.statistics import median

if TYPE_CHECKING:
    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

VIEWS = ("job_statistics", "queue_monitoring")
CALLS = 15
WAITING = 100

# As after this many completed jobs: a row of history for each, and the totals in all slots.
FINISH = """
    with queue as (
      select queue_id from meshhook.queues where queue_name = %(queue_name)s
    ), job as (
      insert into meshhook.jobs (queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds)
      select queue_id, n, lpad(to_hex(n), 32, '0')::uuid, 'completed', 1, now(), 0.001
      from queue, generate_series(%(first)s::bigint, %(last)s::bigint) n
    )
    insert into meshhook.totals as t (queue_id, slot, completed, attempts, max_attempt)
    select
      queue_id, slot, (%(last)s::bigint - %(first)s + 1) / 32,
      (%(last)s::bigint - %(first)s + 1) / 32, 1
    from queue, generate_series(0, 31) slot
    on conflict on constraint totals_pkey do update set
      completed = t.completed + excluded.completed, attempts = t.attempts + excluded.attempts
"""


def measure(space: Space, settings: Settings) -> Result:
    """Read both views for a queue with more and more finished jobs."""
    sizes = settings.size((10_000, 100_000, 1_000_000), (500, 1000))
    rows = []
    with space.queue() as queue_name:
        space.fill(queue_name, WAITING)
        finished = 0
        for size in sizes:
            space.connection.execute(
                FINISH,
                {
                    "queue_name": queue_name,
                    "first": 10_000_000 + finished,
                    "last": 10_000_000 + size - 1,
                },
            )
            finished = size
            space.settle_down("meshhook.jobs", "meshhook.totals")
            rows += _rows(space, queue_name, size, settings.runs)
    span = f"flat from {sizes[0]:,} to {sizes[-1]:,} finished jobs"
    return Result(
        name="views",
        title="Reading a queue's row of a view, milliseconds in the database",
        how=[
            f"each run: the median of {CALLS} reads over a direct connection, no HTTP",
            f"{WAITING} jobs wait in the queue, all others are in the history",
        ],
        x_title="finished jobs",
        rows=rows,
        verdicts=[
            flat(f"`{view}` {span}", [row for row in rows if row.series == view]) for view in VIEWS
        ],
        plot="lines",
    )


def _rows(space: Space, queue_name: str, size: int, runs: int) -> list[Row]:
    rows = []
    for view in VIEWS:
        times = [
            processes.run(
                read, database_url=space.target.database_url, view=view, queue_name=queue_name
            ).value
            for _ in range(runs)
        ]
        rows.append(Row(view, f"{size:,}", times, "ms"))
    return rows


def read(gate: Gate, database_url: str, view: str, queue_name: str) -> float:
    """Read a view several times, and return the median in milliseconds."""
    query = sql.SQL("select * from {} where queue_name = %s").format(sql.Identifier("public", view))
    times = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        gate.wait()
        for _ in range(CALLS):
            begin = time.perf_counter()
            connection.execute(query, [queue_name]).fetchall()
            times.append(1000 * (time.perf_counter() - begin))
    return median(times)
