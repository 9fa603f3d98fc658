"""Sending calls through a Supabase client, async and sync, and repeating those that met an outage.

A call goes out as a POST through the client's own `rpc`, so URL, headers and connections are the
client's. The answer is read from the HTTP response itself, because postgrest's exception no longer
has the status.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import anyio.to_thread
import httpx
from postgrest import APIError

from meshhook import exceptions
from meshhook._http import advice, answers, failures
from meshhook._http.repeat import RepeatPolicy, Tries, policy_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supabase import AsyncClient, Client

    from meshhook._calls.base import Call

T = TypeVar("T")


class Transport(Protocol):
    """What sends calls for code that awaits them."""

    @property
    def client(self) -> AsyncClient | Client:
        """The Supabase client that they go through."""

    async def call(self, call: Call[T]) -> T:
        """Send a call and return its result."""


class ThreadedTransport:
    """Sends calls through a sync `Client`, each in a thread, for code that awaits them."""

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    @property
    def client(self) -> Client:
        """The Supabase client that the calls go through."""
        return self._transport.client

    async def call(self, call: Call[T]) -> T:
        """Send a call in a thread and return its result; see `SyncTransport.call`."""
        return await anyio.to_thread.run_sync(self._transport.call, call)


class AsyncTransport:
    """Sends calls through an `AsyncClient`.

    Args:
        client: The client.
        policy: When to repeat a call.
        sleep: How to wait; tests put their own here.
        clock: What time it is, in seconds from any start.
    """

    def __init__(
        self,
        client: AsyncClient,
        policy: RepeatPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._policy = policy_of(policy)
        self._sleep = sleep
        self._clock = clock

    async def call(self, call: Call[T]) -> T:
        """Send a call and return its result, repeating it while an outage lasts.

        Raises:
            RequestError: The call failed, or the outage outlasted the repeats.
        """
        tries = Tries(self._policy, self._clock)
        body = _encoded(call)
        while True:
            try:
                return await self._send(call, body)
            except exceptions.OutageError as error:
                await self._sleep(tries.pause_after(error))

    async def _send(self, call: Call[T], body: bytes) -> T:
        with failures.translated(call.function, self.client):
            request = _request(self.client, call, body)
            response = await self.client.postgrest.session.send(request)
        return _result(call, response)


class SyncTransport:
    """Sends calls through a sync `Client`; see `AsyncTransport`."""

    def __init__(
        self,
        client: Client,
        policy: RepeatPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._policy = policy_of(policy)
        self._sleep = sleep
        self._clock = clock

    def call(self, call: Call[T]) -> T:
        """Send a call and return its result; see `AsyncTransport.call`."""
        tries = Tries(self._policy, self._clock)
        body = _encoded(call)
        while True:
            try:
                return self._send(call, body)
            except exceptions.OutageError as error:
                self._sleep(tries.pause_after(error))

    def _send(self, call: Call[T], body: bytes) -> T:
        with failures.translated(call.function, self.client):
            request = _request(self.client, call, body)
            response = self.client.postgrest.session.send(request)
        return _result(call, response)


def _encoded(call: Call[Any]) -> bytes:
    """Return the body of a call. It is encoded once, so every repeat has the same bytes."""
    rest = {name: value for name, value in call.params.items() if name not in call.encoded}
    text = json.dumps(rest, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    pieces = [text[1:-1]] if rest else []
    pieces += [f'"{name}":{value}' for name, value in call.encoded.items()]
    return f"{{{','.join(pieces)}}}".encode()


def _request(client: Any, call: Call[Any], body: bytes) -> httpx.Request:
    """Return the request of a call: always a POST."""
    try:
        postgrest = client.postgrest
        if postgrest.headers.get("Content-Profile") != "public":
            # The client may be set to another schema; MeshHook's functions are in this one.
            postgrest = postgrest.schema("public")
        rpc = postgrest.rpc(call.function, {}).request
        request: httpx.Request = postgrest.session.build_request(
            "POST",
            str(rpc.path),
            content=body,
            headers={**rpc.headers, "Content-Type": "application/json"},
        )
    except UnicodeEncodeError:
        pass  # raised below, without this error: it holds the whole header, and with it the key
    else:
        return request
    raise failures.cannot_send(call.function)


def _result(call: Call[T], response: httpx.Response) -> T:
    answer = answers.Answer(response.status_code, response.headers, response.content)
    # A response and its stream refer to each other. Without this, the bodies of the request and the
    # answer would stay in memory until the garbage collector looks for cycles.
    response.stream = httpx.ByteStream(b"")
    if not response.is_success:
        error = answers.failure(call.function, answer, role_of(response.request))
        raise error from APIError(answers.error_body(answer))
    decoded = answers.data(call.function, answer)
    try:
        return call.decode(decoded)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise answers.unexpected(
            call.function, answer, "has another shape than expected"
        ) from error


def role_of(request: httpx.Request) -> str | None:
    """Return the role of a request; None if neither key nor token shows it."""
    # If there is a bearer token that names a role, it decides; the key only lets the request pass.
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return advice.role_of(bearer) or advice.role_of(request.headers.get("apikey", ""))
