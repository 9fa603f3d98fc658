"""What the ASGI and the WSGI app have in common: who may drain, and what is answered."""

from __future__ import annotations

import hmac
import json
from typing import Any

import attrs

from meshhook._environment import setting
from meshhook.exceptions import ConfigurationError, MeshHookError, OutageError

SECRET_VARIABLE = "MESHHOOK_DRAIN_SECRET"  # noqa: S105 - the name of a variable
MIN_SECRET_LENGTH = 16
DEADLINE_SECONDS = 50.0
"""How long a drain takes at the most unless it is told otherwise: many platforms allow a minute."""


@attrs.frozen
class Reply:
    """An HTTP answer.

    Attributes:
        status: The status, with its reason.
        body: What is said, as JSON.
        headers: Headers beside those of the body.
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


def drain_secret(given: str | None) -> bytes:
    """Return the secret that callers must send.

    Args:
        given: The secret; None for ``MESHHOOK_DRAIN_SECRET`` of the environment or of `.env`.

    Returns:
        The secret.

    Raises:
        ConfigurationError: There is none, it is too short to be one, or `.env` cannot be read.
    """
    secret = given or setting(SECRET_VARIABLE)
    if not _is_text(secret) or len(secret) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            f"The drain secret must have at least {MIN_SECRET_LENGTH} characters: "
            f"give secret, or set {SECRET_VARIABLE}."
        )
    return secret.encode()


def refusal(method: str, authorization: str, secret: bytes) -> Reply | None:
    """Return why a request may not drain, None if it may.

    Args:
        method: The request's method.
        authorization: Its Authorization header, empty if it has none.
        secret: The secret.

    Returns:
        The answer, or None.
    """
    if method != "POST":
        return NOT_ALLOWED
    scheme, _, token = authorization.partition(" ")
    # compare_digest takes as long for a token that is nearly right as for any other.
    is_right = hmac.compare_digest(token.strip().encode("utf-8", "replace"), secret)
    return None if scheme.lower() == "bearer" and is_right else UNAUTHORIZED


def of_error(error: MeshHookError) -> Reply:
    """Return the answer for a drain that failed; its text names the fix and no secret."""
    status = "503 Service Unavailable" if isinstance(error, OutageError) else "500 Internal Error"
    return Reply(status, {"error": str(error)})


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isascii()
