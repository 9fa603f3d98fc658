"""An ASGI app that drains the queue: for Vercel, Cloud Run, Modal, FastAPI, Starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Unpack

from meshhook.serverless import http

if TYPE_CHECKING:
    from meshhook.worker.draining import DrainOptions, Handler

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def asgi_app(
    handler: Handler, *, secret: str | None = None, **options: Unpack[DrainOptions]
) -> App:
    """Make an ASGI app that drains the queue on an authenticated POST.

    It answers 200 with the fields of the `DrainReport`, 401 without ``Authorization: Bearer
    <secret>``, 405 to other methods, 409 while another drain of this process runs, 503 in an outage
    and 500 where something must be fixed. ``SUPABASE_URL`` and ``SUPABASE_KEY`` come from the
    environment.

    Args:
        handler: What jobs are handed to.
        secret: What callers must send; by default the environment's ``MESHHOOK_DRAIN_SECRET``.
        **options: See `DrainOptions`; *deadline_seconds* is 50 unless given.

    Returns:
        The app.

    Raises:
        ConfigurationError: There is no secret, or it is too short.
    """
    endpoint = http.Endpoint(handler, secret, options)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
        elif scope["type"] == "http":
            authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            refused = endpoint.refusal(scope["method"], authorization)
            await _send(send, refused or await endpoint.drain())

    return app


async def _send(send: Send, reply: http.Reply) -> None:
    headers, content = reply.encoded()
    await send(
        {
            "type": "http.response.start",
            "status": int(reply.status.split()[0]),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }
    )
    await send({"type": "http.response.body", "body": content})


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
