"""The measured database with its API, and unique names for everything created in it."""

from __future__ import annotations

import itertools
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Target:
    """A database and its API.

    Attributes:
        url: The project's URL.
        key: Its secret key.
        database_url: How to connect to the database as the role that owns MeshHook's tables.
        is_embedded: Whether it is the embedded stack, or one that was named on the command line.
    """

    url: str
    key: str = attrs.field(repr=False)
    database_url: str = attrs.field(repr=False)
    is_embedded: bool = False

    def connect(self) -> psycopg.Connection:
        """Connect to the database; each statement is a transaction."""
        return psycopg.connect(self.database_url, autocommit=True)


class Space:
    """The objects that the benchmarks create in the database; all are removed at the end.

    Args:
        target: The database.
        connection: A connection to it.

    Attributes:
        target: The database.
        prefix: The prefix of every name.
    """

    def __init__(self, target: Target, connection: psycopg.Connection) -> None:
        self.target = target
        self.connection = connection
        self.prefix = f"mhb_{uuid.uuid4().hex[:8]}"
        self._numbers = itertools.count()
        self._queues: dict[str, int] = {}
        self._plain_queues: list[str] = []
        self._schemas: list[str] = []

    def name(self) -> str:
        """Return a new name."""
        return f"{self.prefix}_{next(self._numbers)}"

    @contextmanager
    def queue(self, **settings: Any) -> Iterator[str]:
        """Create a queue of MeshHook, and drop it at the end of the block.

        Args:
            **settings: The arguments of `meshhook_create_queue`.

        Yields:
            Its name.
        """
        name = self.name()
        given = sql.SQL("").join(
            sql.SQL(", {} => {}").format(sql.Identifier(setting), value)
            for setting, value in settings.items()
        )
        self.connection.execute(
            sql.SQL("select public.meshhook_create_queue(queue_name => {}{})").format(name, given)
        )
        row = self.connection.execute(
            "select queue_id from meshhook.queues where queue_name = %s", [name]
        ).fetchone()
        assert row is not None
        self._queues[name] = row[0]
        yield name
        self._drop(name)

    @contextmanager
    def plain_queue(self) -> Iterator[str]:
        """Create a queue that only PGMQ uses, and drop it at the end of the block."""
        name = self.name()
        self._plain_queues.append(name)
        self.connection.execute("select pgmq.create(%s)", [name])
        yield name
        self.connection.execute("select pgmq.drop_queue(%s)", [name])
        self._plain_queues.remove(name)

    @contextmanager
    def schema(self) -> Iterator[str]:
        """Create a schema for a peer, and drop it with its content."""
        name = self.name()
        self._schemas.append(name)
        self.connection.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
        yield name
        self._drop_schema(name)
        self._schemas.remove(name)

    def fill(
        self, queue_name: str, jobs: int, *, delay_seconds: float = 0, padding: int = 0
    ) -> None:
        """Put jobs in a queue, faster than by enqueueing them.

        They are the jobs of `payload.job`, as MeshHook stores them.

        Args:
            queue_name: The queue, MeshHook's or PGMQ's own.
            jobs: How many.
            delay_seconds: How long they stay hidden.
            padding: How many more bytes each of them has.
        """
        self.connection.execute(
            sql.SQL(FILL).format(sql.Identifier("pgmq", f"q_{queue_name}")),
            {"jobs": jobs, "delay": delay_seconds, "padding": padding},
        )

    def settle_down(self, *tables: str) -> None:
        """Vacuum and analyze tables, so that filling them does not affect the measurement.

        Args:
            *tables: Their names with their schemas.
        """
        for table in tables:
            self.connection.execute(
                sql.SQL("vacuum (analyze) {}").format(sql.Identifier(*table.split(".")))
            )

    def close(self) -> None:
        """Remove everything that is left, including the history of the queues."""
        for name in list(self._queues):
            if self._exists(name):
                self._drop(name)
        for name in self._plain_queues:
            self.connection.execute("select pgmq.drop_queue(%s)", [name])
        for name in self._schemas:
            self._drop_schema(name)
        ids = list(self._queues.values())
        for table in ("jobs", "attempts", "totals"):
            self.connection.execute(
                sql.SQL("delete from meshhook.{} where queue_id = any (%s)").format(
                    sql.Identifier(table)
                ),
                [ids],
            )
        self.connection.execute(
            "delete from meshhook.requests where starts_with(queue_name, %s)", [self.prefix]
        )

    def _exists(self, name: str) -> bool:
        row = self.connection.execute(
            "select from pgmq.meta where queue_name = %s", [name]
        ).fetchone()
        return row is not None

    def _drop(self, name: str) -> None:
        self.connection.execute(
            "select public.meshhook_drop_queue(queue_name => %s, drop_dlq => true)", [name]
        )

    def _drop_schema(self, name: str) -> None:
        self.connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))


# vt differs from row to row, as for enqueued jobs.
FILL = """
    insert into {} (vt, message)
    select
      clock_timestamp() + make_interval(secs => %(delay)s),
      jsonb_build_object(
        'run_id', lpad(to_hex(n), 32, '0')::uuid,
        'workflow_id', '8f14e45f-ceea-467f-8bd5-6f1e2d3c4b5a',
        'project_id', 'c9f0f895-fb98-4b91-99a8-1c2d3e4f5a6b',
        'metadata', jsonb_build_object(
          'source', 'webhook', 'event', 'order.created', 'priority', 'high',
          'customer', 'cus_00000000000000'
        ) || case when %(padding)s::integer > 0
          then jsonb_build_object('padding', repeat('x', %(padding)s)) else '{{}}' end,
        'attempt', 1, 'max_attempts', 5, 'enqueued_at', clock_timestamp(),
        '_meshhook', '{{"default_max_attempts": true}}'::jsonb
      )
    from generate_series(0, %(jobs)s::bigint - 1) n
"""


@contextmanager
def space(target: Target) -> Iterator[Space]:
    """Open a space in a target, and remove it at the end.

    Args:
        target: The database.

    Yields:
        The space.
    """
    with target.connect() as connection:
        opened = Space(target, connection)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def user_function(space: Space) -> Iterator[str]:
    """Create a function, as a user of the API may have, and wait until the API serves it."""
    name = space.name()
    function = sql.Identifier("public", name)
    run = space.connection.execute
    run(sql.SQL("create function {}() returns integer language sql as 'select 1'").format(function))
    try:
        run(sql.SQL("revoke all on function {}() from public").format(function))
        run(sql.SQL("grant execute on function {}() to service_role").format(function))
        run("notify pgrst, 'reload schema'")
        _wait_until_served(space.target, name)
        yield name
    finally:
        run(sql.SQL("drop function {}()").format(function))


def _wait_until_served(target: Target, function: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = httpx.post(
            f"{target.url}/rest/v1/rpc/{function}", headers={"apikey": target.key}, json={}
        )
        if answer.is_success:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the API does not serve the function {function}: {answer.text}")
