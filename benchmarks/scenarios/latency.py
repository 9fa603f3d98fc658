"""How long a job waits for an idle worker, at several poll intervals."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import anyio

import meshhook
from benchmarks import payload, processes
from benchmarks.results import Result, Row, at_most
from benchmarks.statistics import percentile

if TYPE_CHECKING:
    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space


def measure(space: Space, settings: Settings) -> Result:
    """Enqueue single jobs at random moments, and note when their handlers start."""
    samples = settings.size({50: 60, 200: 60, 1000: 30}, {50: 10})
    rows = []
    verdicts = []
    for interval_ms, count in samples.items():
        runs = [_waits(space, interval_ms, count) for _ in range(settings.runs)]
        x = f"{interval_ms} ms"
        rows += [
            Row("median", x, [percentile(waits, 0.5) for waits in runs], "ms"),
            Row("99th percentile", x, [percentile(waits, 0.99) for waits in runs], "ms"),
        ]
        every = [wait for waits in runs for wait in waits]
        verdicts.append(
            at_most(
                f"added latency at most the poll interval of {interval_ms} ms "
                f"(99th percentile of all {len(every)})",
                percentile(every, 0.99),
                interval_ms,
                " ms",
            )
        )
    return Result(
        name="latency",
        title="From the answer to an enqueue until the handler starts on an idle worker, ms",
        how=[
            "single jobs, enqueued by another process, one to two poll intervals apart at random",
            "jobs in each run: "
            + ", ".join(f"{count} at {interval} ms" for interval, count in samples.items()),
        ],
        x_title="poll interval",
        rows=rows,
        verdicts=verdicts,
    )


def _waits(space: Space, interval_ms: int, count: int) -> list[float]:
    """Return how long each job waited, in milliseconds."""
    target = {"url": space.target.url, "key": space.target.key}
    with (
        space.queue() as queue_name,
        processes.children(
            serve, {"queue_name": queue_name, "interval_ms": interval_ms, "jobs": count, **target}
        ) as (worker,),
    ):
        worker.go()
        enqueued = anyio.run(_enqueue, queue_name, interval_ms / 1000, count, space)
        started: dict[str, float] = worker.outcome().value
    # A worker may have a job before the answer to its enqueue is back.
    return [max(0.0, 1000 * (started[run_id] - at)) for run_id, at in enqueued.items()]


async def _enqueue(
    queue_name: str, interval_seconds: float, count: int, space: Space
) -> dict[str, float]:
    enqueued = {}
    async with meshhook.connect(space.target.url, space.target.key) as client:
        queue = meshhook.QueueService(client, queue_name)
        for number in range(count):
            await anyio.sleep(interval_seconds * random.uniform(1, 2))
            data = payload.job(number)
            await queue.enqueue(data)
            enqueued[data["run_id"]] = time.monotonic()
    return enqueued


def serve(
    gate: Gate, queue_name: str, interval_ms: int, jobs: int, url: str, key: str
) -> dict[str, float]:
    """Work until this many jobs have arrived, and return when each handler started.

    The clock is the machine's monotonic one, which all its processes share.
    """
    started: dict[str, float] = {}

    async def handler(message: meshhook.JobMessage) -> None:
        started[message.run_id] = time.monotonic()
        if len(started) == jobs:
            enough.set()

    enough = anyio.Event()

    async def main() -> None:
        async with (
            meshhook.connect(url, key) as client,
            meshhook.Worker(client, handler, queue_name, poll_interval_ms=interval_ms),
        ):
            gate.wait()
            await enough.wait()

    anyio.run(main)
    return started
