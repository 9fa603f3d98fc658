"""The peak memory of a worker, for many and for large jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.peers import meshhook
from benchmarks.results import Result, Row, flat

if TYPE_CHECKING:
    from benchmarks.settings import Settings
    from benchmarks.target import Space

SMALL = "jobs of 300 bytes"
LARGE = "jobs of 1 MB"
MEGABYTE = 1_000_000


def measure(space: Space, settings: Settings) -> Result:
    """Drain queues of several sizes, each in a fresh process, and read its peak."""
    small = settings.size((10_000, 100_000, 500_000), (1000, 5000))
    large = settings.size((100, 400), (5, 10))
    rows = [Row(SMALL, f"{jobs:,}", _peaks(space, jobs, 0, settings.runs), "MB") for jobs in small]
    rows += [
        Row(LARGE, f"{jobs:,}", _peaks(space, jobs, MEGABYTE, settings.runs), "MB")
        for jobs in large
    ]
    return Result(
        name="memory",
        title="Peak memory of a worker that drains a queue, megabytes",
        how=[
            f"{meshhook.CONTENDER.how}; resident set at its highest, from the start of the process",
        ],
        x_title="jobs drained",
        rows=rows,
        verdicts=[
            flat(
                f"the worker's peak does not grow from {small[0]:,} to {small[-1]:,} jobs",
                [row for row in rows if row.series == SMALL],
            ),
            flat(
                f"nor from {large[0]:,} to {large[-1]:,} jobs of 1 MB",
                [row for row in rows if row.series == LARGE],
            ),
        ],
        plot="bars",
    )


def _peaks(space: Space, jobs: int, padding: int, runs: int) -> list[float]:
    return [_peak(space, jobs, padding) for _ in range(runs)]


def _peak(space: Space, jobs: int, padding: int) -> float:
    with meshhook.arena(space) as arguments:
        space.fill(arguments["queue_name"], jobs, padding=padding)
        return processes.run(meshhook.drain, jobs=jobs, **arguments).peak_bytes / 1e6
