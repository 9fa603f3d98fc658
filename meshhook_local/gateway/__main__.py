"""The process of the gateway: `python -m meshhook_local.gateway`.

The first line of standard input holds the settings; its end means that the parent is gone and that
the gateway must go too. One line on standard output says that requests are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from meshhook_local.gateway.app import build_app
from meshhook_local.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Callable

READY = "ready"

_GRACE_SECONDS = 2
# Longer than clients keep an idle connection, so that the client is the one that closes it.
_KEEP_ALIVE_SECONDS = 75
# A process that the parent forked without exec keeps a copy of the pipe open; see _guard.
_PARENT_CHECK_SECONDS = 1.0


class Server(uvicorn.Server):
    """A server that says when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then say so."""
        await super().startup(sockets)
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()


async def main() -> None:
    """Serve until standard input ends."""
    parent = os.getppid()
    life_line = await _open_life_line()
    line = await life_line.readline()
    if not line:
        return
    settings = GatewaySettings.from_json(line)
    config = uvicorn.Config(
        build_app(settings),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = Server(config)
    watch = asyncio.create_task(_stop_with_parent(server, life_line, parent), name="life line")
    await server.serve(sockets=[socket.socket(fileno=settings.listen_fd)])
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


async def _open_life_line() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _stop_with_parent(
    server: uvicorn.Server, life_line: asyncio.StreamReader, parent: int
) -> None:
    while not life_line.at_eof() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PARENT_CHECK_SECONDS):
                await life_line.read(1)
    server.should_exit = True


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    # Faster, and not required; uvicorn looks for httptools in the same way.
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop]
    factory = importlib.import_module("uvloop").new_event_loop
    return factory


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(main())
