"""A WSGI app that drains the queue: for Django, Flask and any other WSGI server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import anyio

from meshhook.serverless import http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshhook.worker.draining import DrainOptions, Handler

    StartResponse = Callable[[str, list[tuple[str, str]]], Any]
    App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def wsgi_app(
    handler: Handler, *, secret: str | None = None, **options: Unpack[DrainOptions]
) -> App:
    """Make a WSGI app that drains the queue on an authenticated POST, as `asgi_app` does.

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

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        refused = endpoint.refusal(environ["REQUEST_METHOD"], authorization)
        reply = refused or anyio.run(endpoint.drain)
        headers, content = reply.encoded()
        start_response(reply.status, headers)
        return [content]

    return app
