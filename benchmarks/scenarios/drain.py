"""How fast one worker process drains a queue of no-op jobs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.peers import field, meshhook, pgmq, pgqueuer, procrastinate
from benchmarks.results import Result, Row, at_least
from benchmarks.statistics import turns

if TYPE_CHECKING:
    from benchmarks.peers import Contender
    from benchmarks.settings import Settings
    from benchmarks.target import Space

CONTENDERS = (
    meshhook.CONTENDER,
    pgqueuer.CONTENDER,
    pgqueuer.FIVE_MANAGERS,
    procrastinate.CONTENDER,
    pgmq.CONTENDER,
)


def measure(space: Space, settings: Settings) -> Result:
    """Let each contender drain its own queue, in turns."""
    jobs = settings.size(50_000, 1000)
    contenders = field(space, CONTENDERS)
    rates = defaultdict(list)
    for contender in turns(contenders.running, settings.runs):
        rates[contender.name].append(_rate(space, contender, int(jobs * contender.share)))
    result = Result(
        name="drain",
        title="Drain of no-op jobs by one worker process, jobs per second",
        how=[
            *(f"{it.name}: {int(jobs * it.share):,} jobs; {it.how}" for it in contenders.running),
            *contenders.left_out,
        ],
        x_title="",
        rows=[Row(name, "", values, "jobs/s") for name, values in rates.items()],
    )
    return _judged(result)


def _rate(space: Space, contender: Contender, jobs: int) -> float:
    with contender.arena(space) as arguments:
        contender.fill(space, arguments, jobs)
        seconds: float = processes.run(
            contender.drain, jobs=jobs, **arguments, **contender.options
        ).value
    return jobs / seconds


def _judged(result: Result) -> Result:
    ours = result.row("MeshHook").median
    fastest = max(row.median for row in result.rows if row.series.startswith("pgqueuer"))
    return result.judged(
        at_least(
            "drain over HTTP at least 1.5 x pgqueuer's over its direct connection (its faster way)",
            ours / fastest,
            1.5,
            "x",
        ),
        at_least(
            "drain over HTTP at least 40 x procrastinate's",
            ours / result.row("procrastinate").median,
            40,
            "x",
        ),
    )
