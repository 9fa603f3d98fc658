"""MeshHook, over HTTP, through the gateway or any PostgREST."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

import meshhook
from benchmarks import payload
from benchmarks.peers import Arguments, Contender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import Gate
    from benchmarks.target import Space


@contextmanager
def arena(space: Space) -> Iterator[Arguments]:
    """Create a queue."""
    with space.queue() as queue_name:
        yield {"queue_name": queue_name, "url": space.target.url, "key": space.target.key}


def fill(space: Space, arguments: Arguments, jobs: int) -> None:
    """Put jobs in the queue."""
    space.fill(arguments["queue_name"], jobs)


def drain(gate: Gate, jobs: int, queue_name: str, url: str, key: str) -> float:
    """Work until this many jobs are done."""

    async def main() -> float:
        done = 0
        async with meshhook.connect(url, key) as client:

            async def handler(_: meshhook.JobMessage) -> None:
                nonlocal done
                done += 1
                if done == jobs:
                    enough.set()

            enough = anyio.Event()
            worker = meshhook.Worker(client, handler, queue_name)
            await worker.get_queue_metrics()  # connected before the start, as the peers are
            gate.wait()
            begin = time.perf_counter()
            async with worker:
                await enough.wait()
            seconds = time.perf_counter() - begin
        if worker.get_stats().succeeded != jobs:
            raise RuntimeError(f"expected {jobs} jobs done: {worker.get_stats()}")
        return seconds

    return anyio.run(main)


def enqueue(gate: Gate, jobs: int, batch: int, queue_name: str, url: str, key: str) -> float:
    """Enqueue jobs in batches, or with a batch of 1 one by one."""

    async def main() -> float:
        async with meshhook.connect(url, key) as client:
            queue = meshhook.QueueService(client, queue_name)
            await queue.get_queue_metrics()
            listed = [payload.job(number) for number in range(jobs)]
            gate.wait()
            begin = time.perf_counter()
            if batch == 1:
                for data in listed:
                    await queue.enqueue(data)
            else:
                for first in range(0, jobs, batch):
                    await queue.enqueue_many(listed[first : first + batch])
            return time.perf_counter() - begin

    return anyio.run(main)


CONTENDER = Contender(
    name="MeshHook",
    how="`Worker` with its default settings; `enqueue_many`; over HTTP; history on",
    arena=arena,
    fill=fill,
    drain=drain,
    enqueue=enqueue,
)
