"""The Data API, called as whoever a token says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import attrs
import httpx

if TYPE_CHECKING:
    from meshhook.local import LocalStack


@attrs.frozen
class Answer:
    """What a call was answered.

    Attributes:
        status: The HTTP status.
        body: The decoded JSON.
        retry_after: How long the answer asks to wait, in seconds as text.
    """

    status: int
    body: Any
    retry_after: str | None = None

    @property
    def code(self) -> str | None:
        """The code of an error."""
        return self.body.get("code") if isinstance(self.body, dict) else None

    @property
    def details(self) -> Any:
        """Field and value, which our own errors carry as JSON."""
        return json.loads(self.body["details"])

    @property
    def told(self) -> tuple[int, str | None]:
        """Status and code."""
        return self.status, self.code


class Http:
    """Calls functions and reads views over HTTP.

    Args:
        stack: Whose API.
    """

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self._client = httpx.Client(base_url=stack.rest_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, function: str, /, token: str | None = None, **arguments: Any) -> Answer:
        """Call a function; without a token as `anon`."""
        return self._send("POST", f"/rpc/{function}", token, arguments)

    def read(self, relation: str, token: str | None = None) -> Answer:
        """Read a table or a view; without a token as `anon`."""
        return self._send("GET", f"/{relation}", token)

    def serve(self, function: str, /, **arguments: Any) -> Any:
        """Call a function with the secret key; it must succeed."""
        answer = self._send("POST", f"/rpc/{function}", self.stack.service_role_key, arguments)
        assert answer.status == 200, answer
        return answer.body

    def user(self, sub: str, **claims: Any) -> str:
        """Return the access token of a signed-in user."""
        return self.stack.token("authenticated", sub=sub, aud="authenticated", **claims)

    def _send(
        self, method: str, path: str, token: str | None, body: object | None = None
    ) -> Answer:
        headers = {"apikey": self.stack.publishable_key}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        response = self._client.request(method, path, headers=headers, json=body)
        decoded = response.json() if response.content else None
        return Answer(response.status_code, decoded, response.headers.get("retry-after"))
