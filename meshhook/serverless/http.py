"""The endpoint behind the ASGI and the WSGI app: who may drain, and what is answered."""

from __future__ import annotations

import hmac
import json
import threading
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._environment import setting
from meshhook.exceptions import ConfigurationError, MeshHookError, OutageError
from meshhook.serverless.environment import drain_connected

if TYPE_CHECKING:
    from meshhook.worker.draining import DrainOptions, Handler

SECRET_VARIABLE = "MESHHOOK_DRAIN_SECRET"  # noqa: S105 - the name of a variable
_OUTAGE = "503 Service Unavailable"
MIN_SECRET_LENGTH = 16
DEADLINE_SECONDS = 50.0
"""How long a drain takes, at most, unless an option says otherwise: many platforms allow 60 s."""


@attrs.frozen
class Reply:
    """An HTTP answer.

    Attributes:
        status: The status, with its reason.
        body: The body, to be sent as JSON.
        headers: Headers in addition to those of the body.
    """

    status: str
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self) -> tuple[list[tuple[str, str]], bytes]:
        """Return all headers, and the body as bytes."""
        content = json.dumps(self.body).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            *self.headers,
        ]
        return headers, content


BUSY = Reply("409 Conflict", {"error": "another drain of this process runs"})
NOT_ALLOWED = Reply("405 Method Not Allowed", {"error": "use POST"}, (("Allow", "POST"),))
UNAUTHORIZED = Reply(
    "401 Unauthorized",
    {"error": "send Authorization: Bearer <the drain secret>"},
    (("WWW-Authenticate", "Bearer"),),
)


class Endpoint:
    """Drains at the request of a caller who knows the secret, one drain at a time.

    Args:
        handler: What jobs are handed to.
        secret: The secret; None for ``MESHHOOK_DRAIN_SECRET`` of the environment or of `.env`.
        options: See `DrainOptions`.

    Raises:
        ConfigurationError: There is no secret, it is too short, or `.env` cannot be read.
    """

    def __init__(self, handler: Handler, secret: str | None, options: DrainOptions) -> None:
        self._handler = handler
        self._secret = _drain_secret(secret)
        self._options: DrainOptions = {"deadline_seconds": DEADLINE_SECONDS, **options}
        self._draining = threading.Lock()

    def refusal(self, method: str, authorization: str) -> Reply | None:
        """Return the answer to a request that may not drain, None if it may.

        Args:
            method: The request's method.
            authorization: Its Authorization header, empty if it has none.
        """
        if method != "POST":
            return NOT_ALLOWED
        scheme, _, token = authorization.partition(" ")
        # compare_digest takes as long for a token that is nearly right as for any other.
        is_right = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._secret)
        return None if scheme.lower() == "bearer" and is_right else UNAUTHORIZED

    async def drain(self) -> Reply:
        """Drain and return the report; an error's text names the fix and no secret."""
        if not self._draining.acquire(blocking=False):
            return BUSY
        try:
            report = await drain_connected(self._handler, self._options)
        except OutageError as error:
            return Reply(_OUTAGE, {"error": str(error)})
        except MeshHookError as error:
            return Reply("500 Internal Error", {"error": str(error)})
        finally:
            self._draining.release()
        body = attrs.asdict(report)
        if report.outage is None:
            return Reply("200 OK", body)
        return Reply(_OUTAGE, {"error": report.outage, **body})


def _drain_secret(given: str | None) -> bytes:
    secret = given or setting(SECRET_VARIABLE)
    if not _is_text(secret) or len(secret) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            f"The drain secret must have at least {MIN_SECRET_LENGTH} characters: "
            f"give secret, or set {SECRET_VARIABLE}."
        )
    return secret.encode()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii()
