"""pgmq-py, the client of PGMQ itself, over a direct psycopg connection.

It has no worker, so this is the loop that its documentation shows: read a batch, work, delete the
batch. The batch is as large as MeshHook's largest claim. There are no fence, retries and history.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks import payload
from benchmarks.peers import Arguments, Contender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgmq import PGMQueue

    from benchmarks.processes import Gate
    from benchmarks.target import Space

BATCH_SIZE = 500


@contextmanager
def arena(space: Space) -> Iterator[Arguments]:
    """Create a queue."""
    with space.plain_queue() as queue_name:
        yield {"queue_name": queue_name, "database_url": space.target.database_url}


def fill(space: Space, arguments: Arguments, jobs: int) -> None:
    """Put jobs in the queue."""
    space.fill(arguments["queue_name"], jobs)


def drain(gate: Gate, jobs: int, queue_name: str, database_url: str) -> float:
    """Work until the queue is empty."""
    queue = _client(database_url)
    queue.metrics(queue_name)  # connects
    gate.wait()
    begin = time.perf_counter()
    done = 0
    while messages := queue.read_batch(queue_name, vt=30, batch_size=BATCH_SIZE):
        done += len(messages)
        queue.delete_batch(queue_name, [message.msg_id for message in messages])
    seconds = time.perf_counter() - begin
    queue.close()
    if done != jobs:
        raise RuntimeError(f"expected {jobs} jobs done, not {done}")
    return seconds


def enqueue(gate: Gate, jobs: int, batch: int, queue_name: str, database_url: str) -> float:
    """Enqueue jobs in batches, or with a batch of 1 one by one."""
    queue = _client(database_url)
    queue.metrics(queue_name)
    listed = [payload.job(number) for number in range(jobs)]
    gate.wait()
    begin = time.perf_counter()
    if batch == 1:
        for data in listed:
            queue.send(queue_name, data)
    else:
        for first in range(0, jobs, batch):
            queue.send_batch(queue_name, listed[first : first + batch])
    seconds = time.perf_counter() - begin
    queue.close()
    return seconds


def _client(database_url: str) -> PGMQueue:
    from pgmq import PGMQueue  # noqa: PLC0415 - not in the processes of other peers

    return PGMQueue(conn_string=database_url, init_extension=False, pool_size=1)


def obstacle(space: Space) -> str | None:
    """Return why the client cannot run: it uses a column that only later versions of PGMQ have."""
    found = space.connection.execute(
        "select from pg_attribute where attname = 'last_read_at'"
        " and attrelid = to_regclass('pgmq.message_record')"
    ).fetchone()
    if found is not None:
        return None
    return "since it reads last_read_at, which this PGMQ does not have"


CONTENDER = Contender(
    name="pgmq-py",
    how=f"psycopg, a loop of `read_batch({BATCH_SIZE})` and `delete_batch`, `send_batch`",
    arena=arena,
    fill=fill,
    drain=drain,
    enqueue=enqueue,
    obstacle=obstacle,
)
