"""A WSGI app that drains the queue: for Django, Flask and any other WSGI server."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Unpack

import anyio
import attrs

from meshhook.exceptions import MeshHookError
from meshhook.serverless import http
from meshhook.serverless.environment import drain_connected

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
    expected = http.drain_secret(secret)
    within: DrainOptions = {"deadline_seconds": http.DEADLINE_SECONDS, **options}
    draining = threading.Lock()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        reply = http.refusal(environ["REQUEST_METHOD"], authorization, expected)
        if reply is None:
            reply = _drain_alone(draining, functools.partial(drain_connected, handler, within))
        headers, content = reply.encoded()
        start_response(reply.status, headers)
        return [content]

    return app


def _drain_alone(draining: threading.Lock, work: Callable[[], Any]) -> http.Reply:
    if not draining.acquire(blocking=False):
        return http.BUSY
    try:
        return http.Reply("200 OK", attrs.asdict(anyio.run(work)))
    except MeshHookError as error:
        return http.of_error(error)
    finally:
        draining.release()
