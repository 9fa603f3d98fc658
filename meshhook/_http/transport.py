"""Sending calls through a Supabase client, async and sync, and repeating those that an outage hit.

Requests and answers of httpx and postgrest are known here alone. A call goes out as a POST through
the client's own `rpc`, so URL, headers and connections are the client's. The answer is read from
the HTTP response itself, because postgrest's exception no longer has the status.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import anyio.to_thread
import attrs
import httpx
from postgrest import APIError
from supabase import AsyncClient, Client

from meshhook import exceptions
from meshhook._defaults import REQUEST_SECONDS
from meshhook._entered import AsyncBlock, Entered, PlainBlock, how_to_enter
from meshhook._http import advice, answers
from meshhook._inputs import check

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshhook._calls.base import Call

T = TypeVar("T")

_BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError, httpx.DecodingError)


@attrs.frozen(kw_only=True)
class RepeatPolicy:
    """How often and after which pauses a call that an outage hit is repeated.

    Attributes:
        tries: How often a call is sent at the most.
        base_seconds: The pause after the first try, without jitter.
        max_seconds: What a pause never exceeds, one that the server asked for included.
        total_seconds: How long after its first try a call is still repeated. The database forgets
            request ids after ten minutes, and would carry a forgotten call out a second time.
    """

    tries: int = 5
    base_seconds: float = attrs.field(default=0.2, converter=check.seconds)
    max_seconds: float = attrs.field(default=10.0, converter=check.seconds)
    total_seconds: float = attrs.field(default=REQUEST_SECONDS / 2, converter=check.seconds)

    def __attrs_post_init__(self) -> None:
        check.all_of(
            lambda: check.whole_number("tries", self.tries, 1, check.MAX_ATTEMPTS),
            lambda: check.number_of_seconds("base_seconds", self.base_seconds, 0),
            lambda: check.number_of_seconds("max_seconds", self.max_seconds, 0),
            lambda: check.number_of_seconds(
                "total_seconds", self.total_seconds, 0, REQUEST_SECONDS / 2
            ),
        )

    def pause(
        self, tried: int, elapsed_seconds: float, error: exceptions.OutageError
    ) -> float | None:
        """Return how long to wait before the next try.

        Args:
            tried: How often the call has been sent.
            elapsed_seconds: How long ago it was sent first.
            error: What the last try met.

        Returns:
            The pause in seconds, or None if the call should not be repeated.
        """
        if error.code == _QUOTA_USED_UP:
            return None  # there is room again when the database says, which may be in hours
        pause: float = self.base_seconds * 2 ** min(tried - 1, 40) * (1 + random.random())  # noqa: S311 - a jitter is no secret
        pause = min(max(pause, error.retry_after_seconds or 0.0), self.max_seconds)
        if tried >= self.tries or elapsed_seconds + pause > self.total_seconds:
            return None
        return pause


_OTHER_LOOP = ("event loop", "different loop", "async context")
_QUOTA_USED_UP = "MH005"
_ADVICE = "Wait; if it lasts, check SUPABASE_URL, the network and the project's status."


def _checked(policy: object) -> RepeatPolicy:
    if policy is None:
        return RepeatPolicy()
    if not isinstance(policy, RepeatPolicy):
        check.refuse(
            [exceptions.Problem("repeat_policy", check.shown(policy), "give a RepeatPolicy")]
        )
    return policy  # type: ignore[return-value]  # as just checked


NEVER = RepeatPolicy(tries=1)
"""Send each call once: for those who have a back-off of their own."""


class Transport(Protocol):
    """What sends calls."""

    @property
    def client(self) -> AsyncClient | Client:
        """The Supabase client that they go through."""

    async def call(self, call: Call[T]) -> T:
        """Send a call and return its result."""


class ThreadedTransport:
    """Runs calls through a sync `Client`, each in a thread, for code that awaits them.

    Args:
        transport: What sends the calls.
    """

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    @property
    def client(self) -> Client:
        """The Supabase client that the calls go through."""
        return self._transport.client

    async def call(self, call: Call[T]) -> T:
        """Send a call in a thread and return its result; see `SyncTransport.call`."""
        return await anyio.to_thread.run_sync(self._transport.call, call)


def async_client(client: object, owner: str, *, has_sync: bool = True) -> AsyncClient:
    """Return the client if it is an async one.

    Args:
        client: What was given as client.
        owner: The class that it was given to.
        has_sync: Whether there is a ``Sync…`` class beside that one.

    Returns:
        The client.

    Raises:
        TypeError: It is something else; the text names the right class.
    """
    if isinstance(client, AsyncClient):
        return client
    made = "make one with meshhook.connect() or supabase.acreate_client()"
    if isinstance(client, AsyncBlock):
        made = f"enter it, {how_to_enter(client)[1]}, and give the client"
    advice = f"use Sync{owner} for that" if has_sync and isinstance(client, Client) else made
    raise TypeError(f"{owner} takes a supabase.AsyncClient, not {_kind(client)}: {advice}")


def sync_client(client: object, owner: str) -> Client:
    """Return the client if it is a sync one; see `async_client`.

    Args:
        client: What was given as client.
        owner: The class that it was given to.

    Returns:
        The client.

    Raises:
        TypeError: It is something else; the text names the right class.
    """
    if isinstance(client, Client):
        return client
    made = "make one with meshhook.connect_sync() or supabase.create_client()"
    if isinstance(client, PlainBlock):
        made = f"enter it, {how_to_enter(client)[1]}, and give the client"
    advice = (
        f"use {owner.removeprefix('Sync')} for that" if isinstance(client, AsyncClient) else made
    )
    raise TypeError(f"{owner} takes a sync supabase.Client, not {_kind(client)}: {advice}")


def _kind(client: object) -> str:
    if isinstance(client, AsyncClient | Client):
        return f"supabase.{type(client).__name__}"
    if isinstance(client, Entered):
        return how_to_enter(client)[0]
    return type(client).__qualname__


class AsyncTransport:
    """Runs calls through an `AsyncClient`.

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
        self._policy = _checked(policy)
        self._sleep = sleep
        self._clock = clock

    async def call(self, call: Call[T]) -> T:
        """Send a call and return its result, repeating it while an outage lasts.

        Args:
            call: The call.

        Returns:
            What the call's answer decodes to.

        Raises:
            RequestError: The call failed, or the outage outlasted the repeats.
        """
        tried, begin = 0, self._clock()
        body = _encoded(call)
        while True:
            try:
                return await self._send(call, body)
            except exceptions.OutageError as error:
                tried += 1
                pause = self._policy.pause(tried, self._clock() - begin, error)
                if pause is None:
                    raise
                await self._sleep(pause)

    async def _send(self, call: Call[T], body: bytes) -> T:
        try:
            request = _request(self.client, call, body)
            response = await self.client.postgrest.session.send(request)
        except RuntimeError as error:
            raise _unusable(call.function, self.client, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(call.function, error) from error
        return _result(call, response)


class SyncTransport:
    """Runs calls through a sync `Client`; see `AsyncTransport`.

    Args:
        client: The client.
        policy: When to repeat a call.
        sleep: How to wait; tests put their own here.
        clock: What time it is, in seconds from any start.
    """

    def __init__(
        self,
        client: Client,
        policy: RepeatPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._policy = _checked(policy)
        self._sleep = sleep
        self._clock = clock

    def call(self, call: Call[T]) -> T:
        """Send a call and return its result; see `AsyncTransport.call`.

        Args:
            call: The call.

        Returns:
            What the call's answer decodes to.

        Raises:
            RequestError: The call failed, or the outage outlasted the repeats.
        """
        tried, begin = 0, self._clock()
        body = _encoded(call)
        while True:
            try:
                return self._send(call, body)
            except exceptions.OutageError as error:
                tried += 1
                pause = self._policy.pause(tried, self._clock() - begin, error)
                if pause is None:
                    raise
                self._sleep(pause)

    def _send(self, call: Call[T], body: bytes) -> T:
        try:
            request = _request(self.client, call, body)
            response = self.client.postgrest.session.send(request)
        except RuntimeError as error:
            raise _unusable(call.function, self.client, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise no_answer(call.function, error) from error
        return _result(call, response)


def _encoded(call: Call[Any]) -> bytes:
    """Return the body of a call: encoded once, so that each repeat is the same to the byte."""
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
            # The client may be made for another schema; MeshHook's functions are in this one.
            postgrest = postgrest.schema("public")
        rpc = postgrest.rpc(call.function, {}).request
        request: httpx.Request = postgrest.session.build_request(
            "POST",
            str(rpc.path),
            content=body,
            headers={**rpc.headers, "Content-Type": "application/json"},
        )
    except UnicodeEncodeError:
        # The error holds the whole header, and with it the key.
        what = "a header, such as the key, has characters that HTTP does not allow"
    else:
        return request
    raise exceptions.ConfigurationError(f"{call.function}: the client cannot send ({what}).")


def _result(call: Call[T], response: httpx.Response) -> T:
    answer = answers.Answer(response.status_code, response.headers, response.content)
    # A response and its stream refer to each other, so the bodies of the request and the answer
    # would stay in memory until the garbage collector looks for cycles.
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


def _unusable(
    function: str, client: AsyncClient | Client, error: RuntimeError
) -> exceptions.ConfigurationError:
    """Return our error for a client that is not fit to send."""
    is_async = isinstance(client, AsyncClient)
    form = "async with meshhook.connect()" if is_async else "with meshhook.connect_sync()"
    if client.postgrest.session.is_closed:
        return exceptions.ConfigurationError(
            f"{function}: the client is closed, since the block that opened it has ended. Work "
            f"inside {form} as client, or open another one."
        )
    # asyncio, trio and anyio have neither a class nor a code for it.
    if is_async and any(words in str(error).lower() for words in _OTHER_LOOP):
        return exceptions.ConfigurationError(
            f"{function}: the client belongs to another event loop ({error}). Open one in each "
            f"loop, {form} as client, inside the function that asyncio.run() is given; or use the "
            "Sync classes, whose clients any thread may use."
        )
    return exceptions.ConfigurationError(f"{function}: the client cannot send ({error}).")


def role_of(request: httpx.Request) -> str | None:
    """Return the role that a request was made as, as far as its key or token says.

    Args:
        request: The request.

    Returns:
        The role; None if it is not known.
    """
    # A bearer token decides, where there is one that says something; the key lets it pass.
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return advice.role_of(bearer) or advice.role_of(request.headers.get("apikey", ""))


def no_answer(function: str, error: Exception) -> exceptions.MeshHookError:
    """Return our error for a request that got no answer."""
    what = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return exceptions.RequestTimeoutError(
            f"{function}: no answer in time ({what}). {_ADVICE}", function=function
        )
    if isinstance(error, _BROKEN):
        return exceptions.UnreachableError(
            f"{function}: no connection ({what}). {_ADVICE}", function=function
        )
    if isinstance(error, httpx.LocalProtocolError):
        # Its text, its causes and its frames may hold a header, and with it the key.
        what = "a header, such as the key, has characters that HTTP does not allow"
        error.args = (what,)
        error.__cause__ = error.__context__ = error.__traceback__ = None
    return exceptions.ConfigurationError(f"{function}: the client cannot send ({what}).")
