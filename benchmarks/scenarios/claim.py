"""The cost of a claim, with few and with many waiting jobs, and behind many delayed ones."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg

from benchmarks import processes
from benchmarks.results import Result, Row, flat
from benchmarks.statistics import median, turns

if TYPE_CHECKING:
    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

QUANTITY = 10
CALLS = 15

CLAIMS = {
    "MeshHook": "select public.meshhook_dequeue(%s, %s, 30)",
    "pgmq.read": "select * from pgmq.read(%s, 30, %s)",
}


def measure(space: Space, settings: Settings) -> Result:
    """Claim from queues of several sizes, with MeshHook's claim and PGMQ's own."""
    sizes = settings.size((1000, 10_000, 100_000, 1_000_000), (500, 5000))
    delayed, behind = settings.size((500_000, 10_000), (5000, 1000))
    rows = []
    for size in sizes:
        rows += _rows(space, f"{size:,}", {0: size}, settings.runs)
    rows += _rows(space, f"{delayed:,} delayed", {3600: delayed, 0: behind}, settings.runs)
    return Result(
        name="claim",
        title=f"A claim of {QUANTITY} jobs, milliseconds in the database",
        how=[
            f"each run: the median of {CALLS} calls over a direct connection, no HTTP",
            "each contender has its own queue, filled in the same way, vacuumed and analyzed",
        ],
        x_title="waiting jobs",
        rows=rows,
        verdicts=[
            flat(
                f"claim flat from {sizes[0]:,} to {sizes[-1]:,} waiting jobs and with {delayed:,} "
                "delayed ones in front",
                [row for row in rows if row.series == "MeshHook"],
            )
        ],
        plot="lines",
    )


def _rows(space: Space, x: str, jobs: dict[int, int], runs: int) -> list[Row]:
    """Measure one size: a number of jobs for each delay."""
    times = defaultdict(list)
    with ExitStack() as stack:
        queues = {}
        for name in CLAIMS:
            queues[name] = stack.enter_context(space.queue())
            for delay, count in jobs.items():
                space.fill(queues[name], count, delay_seconds=delay)
            space.settle_down(f"pgmq.q_{queues[name]}")
        for name in turns(tuple(CLAIMS), runs):
            outcome = processes.run(
                claim,
                database_url=space.target.database_url,
                statement=CLAIMS[name],
                queue_name=queues[name],
            )
            times[name].append(outcome.value)
    return [Row(name, x, values, "ms") for name, values in times.items()]


def claim(gate: Gate, database_url: str, statement: str, queue_name: str) -> float:
    """Claim several times, and return the median in milliseconds."""
    times = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        gate.wait()
        for _ in range(CALLS):
            begin = time.perf_counter()
            connection.execute(statement, [queue_name, QUANTITY]).fetchall()
            times.append(1000 * (time.perf_counter() - begin))
    return median(times)
