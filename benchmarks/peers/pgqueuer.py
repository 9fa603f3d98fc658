"""pgqueuer, over a direct asyncpg connection.

As its documentation recommends: asyncpg, a direct connection and no pool for the queue manager, a
batch size above the default of 10 for short jobs, and its own autovacuum settings
(docs/guides/performance-tuning.md). Its benchmark (tools/benchmark.py) runs on uvloop and drains
with five queue managers in one process, which is faster on some machines and slower on others. So
one manager with large batches and five with the batch size of the guide (25) are both measured, and
the faster one counts. Its tables stay durable, like all others.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from benchmarks import payload, processes
from benchmarks.peers import Arguments, Contender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueuer import Queries

    from benchmarks.processes import Gate
    from benchmarks.target import Space

ENTRYPOINT = "benchmark"


@contextmanager
def arena(space: Space) -> Iterator[Arguments]:
    """Create a schema and install pgqueuer in it."""
    with space.schema() as schema:
        arguments = {"database_url": space.target.database_url, "schema": schema}
        processes.run(install, **arguments)
        yield arguments


def fill(space: Space, arguments: Arguments, jobs: int) -> None:  # noqa: ARG001 - see Fill
    """Put jobs in the queue."""
    processes.run(enqueue, jobs=jobs, batch=5000, **arguments)


def install(gate: Gate, database_url: str, schema: str) -> None:
    """Create pgqueuer's tables in a separate process, because it reads the schema's name once."""

    async def main() -> None:
        queries = await _queries(database_url, schema)
        await queries.install(create_schema=False)
        await queries.optimize_autovacuum()

    gate.wait()
    asyncio.run(main())


def drain(
    gate: Gate, jobs: int, database_url: str, schema: str, managers: int, batch_size: int
) -> float:
    """Work until the queue is empty."""
    import uvloop  # noqa: PLC0415 - only in the measured process
    from pgqueuer import Job, PgQueuer  # noqa: PLC0415
    from pgqueuer.types import QueueExecutionMode  # noqa: PLC0415

    async def main() -> float:
        done = 0
        crew = []
        for _ in range(managers):
            manager = PgQueuer((await _queries(database_url, schema)).driver)

            @manager.entrypoint(ENTRYPOINT)
            async def handler(_: Job) -> None:
                nonlocal done
                done += 1

            crew.append(manager)
        gate.wait()
        begin = time.perf_counter()
        await asyncio.gather(
            *(manager.run(batch_size=batch_size, mode=QueueExecutionMode.drain) for manager in crew)
        )
        seconds = time.perf_counter() - begin
        if done != jobs:
            raise RuntimeError(f"expected {jobs} jobs done, not {done}")
        return seconds

    return uvloop.run(main())


def enqueue(gate: Gate, jobs: int, batch: int, database_url: str, schema: str) -> float:
    """Enqueue jobs in batches, or with a batch of 1 one by one."""
    import uvloop  # noqa: PLC0415 - see drain

    async def main() -> float:
        queries = await _queries(database_url, schema)
        listed = [payload.job(number) for number in range(jobs)]
        gate.wait()
        begin = time.perf_counter()
        if batch == 1:
            for data in listed:
                await queries.enqueue(ENTRYPOINT, payload.dumped(data))
        else:
            for first in range(0, jobs, batch):
                part: list[bytes | None] = [
                    payload.dumped(data) for data in listed[first : first + batch]
                ]
                await queries.enqueue([ENTRYPOINT] * len(part), part, [0] * len(part))
        return time.perf_counter() - begin

    return uvloop.run(main())


async def _queries(database_url: str, schema: str) -> Queries:
    os.environ["PGQUEUER_SCHEMA"] = schema
    import asyncpg  # type: ignore[import-untyped] # noqa: PLC0415
    from pgqueuer import AsyncpgDriver, Queries  # noqa: PLC0415

    return Queries(AsyncpgDriver(await asyncpg.connect(database_url)))


CONTENDER = Contender(
    name="pgqueuer",
    how="asyncpg, uvloop, one direct connection, `batch_size=100`, drain mode, durable tables, its "
    "autovacuum settings",
    arena=arena,
    fill=fill,
    drain=drain,
    enqueue=enqueue,
    options={"managers": 1, "batch_size": 100},
)

FIVE_MANAGERS = attrs.evolve(
    CONTENDER,
    name="pgqueuer, 5 managers",
    how="the same with five queue managers in the process, each with a connection, `batch_size=25`",
    options={"managers": 5, "batch_size": 25},
)
