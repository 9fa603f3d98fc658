"""The cost of keeping the history, in a drain."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.peers import meshhook
from benchmarks.results import Result, Row, at_most
from benchmarks.statistics import turns

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from benchmarks.target import Space

CASES = {"with history": True, "without history": False}


def measure(space: Space, settings: Settings) -> Result:
    """Drain queues with and without history, in turns."""
    jobs = settings.size(50_000, 1000)
    rates = defaultdict(list)
    for case in turns(tuple(CASES), settings.runs):
        rates[case].append(_rate(space, jobs, keeps_history=CASES[case]))
    rows = [Row(case, "", rates[case], "jobs/s") for case in CASES]
    with_history, without = (row.median for row in rows)
    return Result(
        name="history",
        title="Drain of no-op jobs with and without history, jobs per second",
        how=[
            f"{jobs:,} jobs; {meshhook.CONTENDER.how.removesuffix('; history on')}",
            "without: `create_queue(..., keeps_history=False)`; the totals are kept in both",
        ],
        x_title="",
        rows=rows,
        verdicts=[
            at_most(
                "history costs at most 15 % of the drain rate",
                100 * (1 - with_history / without),
                15,
                " %",
            )
        ],
    )


def _rate(space: Space, jobs: int, *, keeps_history: bool) -> float:
    with space.queue(keeps_history=keeps_history) as queue_name:
        space.fill(queue_name, jobs)
        seconds: float = processes.run(
            meshhook.drain,
            jobs=jobs,
            queue_name=queue_name,
            url=space.target.url,
            key=space.target.key,
        ).value
    return jobs / seconds
