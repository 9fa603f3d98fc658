"""procrastinate, over direct psycopg connections.

As its documentation recommends: the async psycopg connector with a pool, asynchronous tasks with
the concurrency of its own example (30, docs/howto/concurrency.md), notifications on, and
`batch_defer_async` to enqueue many (docs/howto/basics/batch_defer.md).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks import payload
from benchmarks.peers import Arguments, Contender

if TYPE_CHECKING:
    from collections.abc import Iterator

    import procrastinate
    from procrastinate.types import JSONValue

    from benchmarks.processes import Gate
    from benchmarks.target import Space

CONCURRENCY = 30


@contextmanager
def arena(space: Space) -> Iterator[Arguments]:
    """Create a schema and install procrastinate in it."""
    with space.schema() as schema:
        arguments = {"database_url": space.target.database_url, "schema": schema}

        async def install() -> None:
            async with _app(**arguments).open_async() as app:
                await app.schema_manager.apply_schema_async()

        asyncio.run(install())
        yield arguments


def fill(space: Space, arguments: Arguments, jobs: int) -> None:  # noqa: ARG001 - see Fill
    """Put jobs in the queue."""

    async def defer() -> None:
        async with _app(**arguments).open_async() as app:
            task = app.task(name="benchmark")(_handler)
            for first in range(0, jobs, 1000):
                last = min(jobs, first + 1000)
                await task.batch_defer_async(*map(_arguments, range(first, last)))

    asyncio.run(defer())


def drain(gate: Gate, jobs: int, database_url: str, schema: str) -> float:
    """Work until the queue is empty."""

    async def main() -> float:
        done = 0

        async def handler(data: object) -> None:  # noqa: ARG001 - procrastinate passes it by name
            nonlocal done
            done += 1

        async with _app(database_url, schema).open_async() as app:
            app.task(name="benchmark")(handler)
            gate.wait()
            begin = time.perf_counter()
            await app.run_worker_async(concurrency=CONCURRENCY, wait=False)
            seconds = time.perf_counter() - begin
        if done != jobs:
            raise RuntimeError(f"expected {jobs} jobs done, not {done}")
        return seconds

    return asyncio.run(main())


def enqueue(gate: Gate, jobs: int, batch: int, database_url: str, schema: str) -> float:
    """Enqueue jobs in batches, or with a batch of 1 one by one."""

    async def main() -> float:
        async with _app(database_url, schema).open_async() as app:
            task = app.task(name="benchmark")(_handler)
            listed = [_arguments(number) for number in range(jobs)]
            gate.wait()
            begin = time.perf_counter()
            if batch == 1:
                for data in listed:
                    await task.defer_async(**data)
            else:
                for first in range(0, jobs, batch):
                    await task.batch_defer_async(*listed[first : first + batch])
            return time.perf_counter() - begin

    return asyncio.run(main())


def _app(database_url: str, schema: str) -> procrastinate.App:
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415 - not in the processes of other peers

    return App(
        connector=PsycopgConnector(
            conninfo=database_url, kwargs={"options": f"-c search_path={schema}"}
        )
    )


def _arguments(number: int) -> dict[str, JSONValue]:
    return {"data": payload.job(number)}


async def _handler(data: object) -> None:
    """Do nothing."""


CONTENDER = Contender(
    name="procrastinate",
    how=f"async psycopg pool, `concurrency={CONCURRENCY}`, LISTEN on, `batch_defer_async`",
    arena=arena,
    fill=fill,
    drain=drain,
    enqueue=enqueue,
    share=0.05,
)
