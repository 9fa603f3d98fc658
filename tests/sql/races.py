"""Calls of several connections, held up in the midst and let go in a known order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import sql

from tests.locks import wait_until_blocked
from tests.sql.client import Api, JobQueue
from tests.sql.databases import Database

Call = Callable[[JobQueue], Any]

# A deadlock is found after this time; Postgres' own is a second.
DEADLOCK_MILLISECONDS = 20


class Crew:
    """Connections that work on one queue at the same time.

    Args:
        database: Where the queues are.
        size: How many connections there are.
    """

    def __init__(self, database: Database, size: int) -> None:
        self.connections = [database.admin() for _ in range(size)]
        for connection in self.connections:
            # Without a superuser, as a running stack may be, a deadlock takes Postgres' second.
            if connection.info.parameter_status("is_superuser") == "on":
                connection.execute(
                    sql.SQL("set deadlock_timeout = {}").format(sql.Literal(DEADLOCK_MILLISECONDS))
                )
            # A test that waits for itself fails instead of standing still.
            connection.execute("set lock_timeout = '10s'")
        self._watch = database.admin()
        self._gate = database.admin()
        self._threads = ThreadPoolExecutor(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for connection in (*self.connections, self._watch, self._gate):
            connection.close()

    def queue(self, number: int, name: str) -> JobQueue:
        """Return a queue as one of the connections works on it."""
        return JobQueue(Api(self.connections[number]), name)

    @contextmanager
    def holding(self, queue_name: str, *msg_ids: int) -> Iterator[None]:
        """Hold jobs of a queue: whoever wants to change one of them has to wait."""
        table = sql.Identifier("pgmq", f"q_{queue_name}")
        with self._gate.transaction():
            self._gate.execute(
                sql.SQL("select from {} where msg_id = any (%s) for update").format(table),
                [list(msg_ids)],
            )
            yield

    def begin(self, number: int, queue_name: str, call: Call) -> Future[Any]:
        """Let a connection make a call, and return when it has to wait for somebody."""
        future = self._threads.submit(call, self.queue(number, queue_name))
        wait_until_blocked(self._watch, self.connections[number].info.backend_pid)
        return future

    def interleave(self, queue_name: str, held: Sequence[int], *calls: Call) -> list[Any]:
        """Begin each call before those ahead of it are done, then let them all go on.

        Args:
            queue_name: The queue that the calls are given, each on a connection of its own.
            held: The jobs that are held until every call waits, for these or for another call.
            calls: What to do.

        Returns:
            What the calls returned.
        """
        with self.holding(queue_name, *held):
            futures = [self.begin(n, queue_name, call) for n, call in enumerate(calls)]
        return [future.result() for future in futures]

    def at_once(self, queue_name: str, calls: Sequence[Call]) -> list[Any]:
        """Make calls at the same time, each on a connection of its own."""
        return list(
            self._threads.map(
                lambda numbered: numbered[1](self.queue(numbered[0], queue_name)),
                enumerate(calls),
            )
        )

    def of_one_slot(self, slots: int) -> tuple[int, int]:
        """Return two connections whose backends' numbers leave the same remainder."""
        seen: dict[int, int] = {}
        for number, connection in enumerate(self.connections):
            remainder = connection.info.backend_pid % slots
            if remainder in seen:
                return seen[remainder], number
            seen[remainder] = number
        raise AssertionError(seen)


@contextmanager
def uncommitted(crew: Crew, number: int, queue_name: str) -> Iterator[JobQueue]:
    """Give a queue whose calls are committed only at the end."""
    connection: psycopg.Connection = crew.connections[number]
    with connection.transaction():
        yield crew.queue(number, queue_name)
