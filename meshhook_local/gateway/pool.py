"""Connections to the database, made when a request needs one, as PostgREST's pool makes them.

psycopg_pool connects in the background and lets requests wait for it; with the database down it
would answer late and with the wrong error. Here the request that needs a connection makes it, so it
fails at once and with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.adapt import Loader

from meshhook_local.gateway.errors import connection_failed, pool_timed_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg.abc import Buffer

_CONNECT_TIMEOUT_SECONDS = 10

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class ConnectionPool:
    """A bounded number of connections in autocommit mode.

    Args:
        conninfo: How to connect.
        size: The largest number of connections at a time.
        timeout_seconds: How long a request waits for one to become free, in seconds.
    """

    def __init__(self, conninfo: str, size: int, timeout_seconds: float) -> None:
        self._conninfo = conninfo
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._generation = 0

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; a broken one is thrown away, and all idle ones with it.

        Raises:
            ApiError: If the database cannot be reached or no connection becomes free in time.
        """
        await self._take_slot()
        try:
            generation = self._generation
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                await self._take_back(connection, generation)
        finally:
            self._slots.release()

    async def flush(self) -> None:
        """Close what is idle now, and what is lent now once it comes back."""
        self._generation += 1
        while self._idle:
            await self._idle.pop().close()

    async def _connect(self) -> Connection:
        connection = await connect(self._conninfo)
        connection.adapters.register_loader("text", _BytesLoader)
        return connection

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise pool_timed_out() from None

    async def _take_back(self, connection: Connection, generation: int) -> None:
        if connection.closed:
            # One broken connection means a restart, which broke the others too.
            await self.flush()
        is_idle = connection.info.transaction_status == pq.TransactionStatus.IDLE
        if is_idle and generation == self._generation:
            self._idle.append(connection)
        else:
            await connection.close()


async def connect(conninfo: str) -> Connection:
    """Connect to the database in autocommit mode.

    Raises:
        ApiError: If it cannot be reached.
    """
    try:
        return await psycopg.AsyncConnection.connect(
            conninfo,
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            cursor_factory=psycopg.AsyncRawCursor,
        )
    except psycopg.OperationalError as error:
        raise connection_failed(str(error)) from error


class _BytesLoader(Loader):
    """Leaves a text as it comes: bodies go out as they are."""

    format = pq.Format.TEXT

    def load(self, data: Buffer) -> bytes:
        return bytes(data)
