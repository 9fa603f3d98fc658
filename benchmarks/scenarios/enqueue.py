"""How fast one process enqueues, in batches and one by one."""

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

CONTENDERS = (meshhook.CONTENDER, pgqueuer.CONTENDER, procrastinate.CONTENDER, pgmq.CONTENDER)
BATCH = 1000
WAYS = {"in batches of 1,000": BATCH, "one by one": 1}


def measure(space: Space, settings: Settings) -> Result:
    """Let each contender enqueue to its own queue, in turns."""
    jobs = {BATCH: settings.size(50_000, 2000), 1: settings.size(1000, 50)}
    contenders = field(space, CONTENDERS)
    rates = defaultdict(list)
    for contender in turns(contenders.running, settings.runs):
        for way, batch in WAYS.items():
            rates[contender.name, way].append(_rate(space, contender, jobs[batch], batch))
    result = Result(
        name="enqueue",
        title="Enqueue by one process, jobs per second",
        how=[*(f"{each.name}: {each.how}" for each in contenders.running), *contenders.left_out],
        x_title="how",
        rows=[Row(name, way, values, "jobs/s") for (name, way), values in rates.items()],
    )
    (way, _) = WAYS
    share = result.row("MeshHook", way).median / result.row("pgqueuer", way).median
    return result.judged(
        at_least(
            "enqueue in batches over HTTP at least 1 x pgqueuer's over its direct connection",
            share,
            1,
            "x",
        )
    )


def _rate(space: Space, contender: Contender, jobs: int, batch: int) -> float:
    jobs = max(batch, int(jobs * (contender.share if batch > 1 else 1)))
    with contender.arena(space) as arguments:
        seconds: float = processes.run(contender.enqueue, jobs=jobs, batch=batch, **arguments).value
    return jobs / seconds
