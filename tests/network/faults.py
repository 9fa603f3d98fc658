"""What can happen to a request on its way, each as a function for `Proxy.lay`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anyio

    from tests.network.proxy import Exchange, Fault
    from tests.network.wire import Wire

HTML = "<html><body><h1>Bad gateway</h1></body></html>"
GARBAGE = b"\x15\x03\x01\x00\x02\x02\x28 this port speaks no HTTP\r\n\r\n"


async def reset(exchange: Exchange) -> None:
    """Reset the connection without carrying anything out."""
    exchange.client.reset()


async def stall(exchange: Exchange) -> None:
    """Take the request and do nothing at all, until the client gives up."""
    await exchange.client.wait_closed()
    exchange.client.close()


async def lose_answer(exchange: Exchange) -> None:
    """Have the request carried out, and reset the connection instead of answering."""
    await exchange.forward()
    exchange.client.reset()


async def stall_answer(exchange: Exchange) -> None:
    """Have the request carried out, and never answer."""
    await exchange.forward()
    await stall(exchange)


async def cut(exchange: Exchange) -> None:
    """Have the request carried out, and close in the middle of the answer's body."""
    await exchange.client.send((await exchange.forward()).half)
    exchange.client.close()


async def reset_in_answer(exchange: Exchange) -> None:
    """Have the request carried out, and reset in the middle of the answer's body."""
    await exchange.client.send((await exchange.forward()).half)
    exchange.client.reset()


async def garbage(exchange: Exchange) -> None:
    """Answer with something that is no HTTP."""
    await exchange.client.send(GARBAGE)
    exchange.client.close()


def answer(status: int, body: object = HTML, **headers: str) -> Fault:
    """Let something before the database answer.

    Args:
        status: The status.
        body: The body: HTML as it is, anything else as JSON.
        headers: Headers, with underscores for hyphens.
    """
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) else "application/json"
    named = {"content-type": kind, "content-length": str(len(text.encode()))} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    raw = "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", text]).encode()

    async def send(exchange: Exchange) -> None:
        await exchange.client.send(raw)

    return send


def hold(until: anyio.Event) -> Fault:
    """Keep the request back until the event is set."""

    async def pass_on_later(exchange: Exchange) -> None:
        await until.wait()
        await exchange.pass_on()

    return pass_on_later


def hold_answer(until: anyio.Event) -> Fault:
    """Have the request carried out, and keep the answer back until the event is set."""

    async def pass_on_later(exchange: Exchange) -> None:
        await exchange.forward()
        await until.wait()
        await exchange.pass_on()

    return pass_on_later


async def reset_at_once(client: Wire) -> None:
    """Reset a connection before it has said anything."""
    client.reset()


async def reset_in_request(client: Wire) -> None:
    """Reset a connection when a part of its request has come."""
    await client.read_some()
    client.reset()


async def stall_at_once(client: Wire) -> None:
    """Accept a connection and do nothing at all, until the client gives up."""
    await client.wait_closed()
    client.close()
