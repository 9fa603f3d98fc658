"""Whether more worker processes on one queue process more jobs, and never the same job twice."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import attrs

import meshhook
from benchmarks import processes
from benchmarks.results import Result, Row, Verdict, at_least, at_most
from benchmarks.waits import LockWatch

if TYPE_CHECKING:
    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

QUIET_SECONDS = 1.0
"""After this time without a new job, the queue counts as empty."""


@attrs.frozen
class Run:
    """The result of a number of workers together.

    Attributes:
        rate: Jobs per second.
        duplicates: How many jobs reached more than one handler.
        deadlocks: How many deadlocks the database resolved.
        waiting: The share of looks at the database at which a connection waited for a lock.
    """

    rate: float
    duplicates: int
    deadlocks: int
    waiting: float


def measure(space: Space, settings: Settings) -> Result:
    """Let 1, 2, 4 and 8 processes drain a queue together."""
    jobs = settings.size(50_000, 2000)
    counts = settings.size((1, 2, 4, 8), (1, 2))
    runs = {count: [_run(space, count, jobs) for _ in range(settings.runs)] for count in counts}
    rows = []
    for count, results in runs.items():
        rows.append(Row("throughput", str(count), [run.rate for run in results], "jobs/s"))
        waiting = [100 * run.waiting for run in results]
        rows.append(Row("looks with a lock wait", str(count), waiting, "%"))
    return Result(
        name="workers",
        title="Worker processes on one queue",
        how=[
            f"{jobs:,} no-op jobs, a `Worker` with its default settings in each process",
            (
                "lock waits: every 10 ms, a look at the database; the share of looks at which a "
                "worker's connection waited for a lock"
            ),
        ],
        x_title="worker processes",
        rows=rows,
        verdicts=_verdicts(runs, rows),
    )


def _verdicts(runs: dict[int, list[Run]], rows: list[Row]) -> list[Verdict]:
    every = [run for results in runs.values() for run in results]
    medians = [row.median for row in rows if row.series == "throughput"]
    return [
        at_most("no job reaches two handlers", sum(run.duplicates for run in every), 0),
        at_most("no deadlock", sum(run.deadlocks for run in every), 0),
        at_least(
            "throughput does not fall with more workers (the lowest, at least 0.9 x one worker's)",
            min(medians) / medians[0],
            0.9,
            "x",
        ),
    ]


def _run(space: Space, count: int, jobs: int) -> Run:
    with space.queue() as queue_name:
        space.fill(queue_name, jobs)
        arguments = {"queue_name": queue_name, "url": space.target.url, "key": space.target.key}
        with (
            processes.children(work, *[arguments] * count) as crew,
            LockWatch(space.target) as watch,
        ):
            for child in crew:
                child.go()
            results = [child.outcome().value for child in crew]
    return _summed(results, jobs, watch)


def _summed(results: list[dict[str, Any]], jobs: int, watch: LockWatch) -> Run:
    handled = [number for result in results for number in result["handled"]]
    if len(set(handled)) != jobs:
        raise RuntimeError(f"expected {jobs} jobs done, not {len(set(handled))}")
    seconds = max(r["end"] for r in results) - min(r["begin"] for r in results)
    return Run(
        rate=jobs / seconds,
        duplicates=len(handled) - jobs,
        deadlocks=watch.deadlocks,
        waiting=watch.share,
    )


def work(gate: Gate, queue_name: str, url: str, key: str) -> dict[str, Any]:
    """Work until no more jobs come; return the handled jobs, the start and the end."""
    handled: list[int] = []

    async def handler(message: meshhook.JobMessage) -> None:
        handled.append(uuid.UUID(message.run_id).int)

    async def main() -> dict[str, Any]:
        async with meshhook.connect(url, key) as client:
            worker = meshhook.Worker(client, handler, queue_name, poll_interval_ms=100)
            gate.wait()
            begin = time.monotonic()
            async with worker:
                end = await _last_settlement(worker)
        return {"handled": handled, "begin": begin, "end": end}

    return anyio.run(main)


async def _last_settlement(worker: meshhook.Worker) -> float:
    """Wait until a worker has had nothing to settle for a while; return when it last had."""
    settled, at = 0, time.monotonic()
    while time.monotonic() < at + QUIET_SECONDS:
        await anyio.sleep(0.01)
        if worker.get_stats().succeeded != settled:
            settled, at = worker.get_stats().succeeded, time.monotonic()
    return at
