"""Keeps the schema cache: reads it at the start, and again whenever the database says so."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

import psycopg

from meshhook._backoff import backoff
from meshhook_local.gateway.errors import ApiError
from meshhook_local.gateway.pool import Connection, ConnectionPool, connect
from meshhook_local.gateway.schema_cache import SchemaCache, read_schema

if TYPE_CHECKING:
    from meshhook_local.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 1.0


class SchemaListener:
    """Holds the schema cache and the connection that listens on the channel `pgrst`.

    Error policy: when the connection is lost, the cache stays, the idle connections of the pool are
    closed, and the listener connects again with a growing delay, then reads the schema again. When
    the schema cannot be read, there is no cache until it can.

    Args:
        settings: Where the database is and which schema is exposed.
        pool: The pool to flush when the database went away.
    """

    def __init__(self, settings: GatewaySettings, pool: ConnectionPool) -> None:
        self._settings = settings
        self._pool = pool
        self._failures = 0
        self._tried = asyncio.Event()
        self.cache: SchemaCache | None = None

    @property
    def retry_after_seconds(self) -> int:
        """When the listener tries the database again, in seconds; 0 while all is well."""
        return math.ceil(self._delay_seconds())

    def _delay_seconds(self) -> float:
        if not self._failures:
            return 0.0
        return backoff(self._failures, _FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS)

    async def wait_for_first_try(self) -> None:
        """Wait until the schema was read for the first time, or could not be."""
        await self._tried.wait()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (ApiError, psycopg.Error) as error:
                logger.warning("the schema listener starts again: %s", error)
            self._tried.set()
            await self._pool.flush()
            self._failures += 1
            await asyncio.sleep(self._delay_seconds())

    async def _listen(self) -> None:
        connection = await connect(self._settings.database)
        async with connection:
            # Listening before reading: a change in between is not missed.
            await connection.execute("listen pgrst")
            while True:
                await self._read(connection)
                self._failures = 0
                self._tried.set()
                async for _ in connection.notifies(stop_after=1):
                    pass

    async def _read(self, connection: Connection) -> None:
        try:
            self.cache = await read_schema(connection, self._settings.schema)
        except psycopg.Error as error:
            if not connection.closed:
                logger.error("the schema cannot be read: %s", error)  # noqa: TRY400 - no traceback
                self.cache = None
            raise
