"""What stands in for Supabase: it notes every request and answers as the test plans it."""

from __future__ import annotations

import inspect
import json
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx
from supabase import (
    AsyncClient,
    AsyncClientOptions,
    Client,
    ClientOptions,
    acreate_client,
    create_client,
)

from meshhook import DLQService, QueueService, RepeatPolicy, SyncDLQService, SyncQueueService
from meshhook._http.transport import AsyncTransport, SyncTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    Planned = Callable[[httpx.Request], httpx.Response]

URL = "http://project.supabase.test"
KEY = "sb_secret_K7xQ2pLm9"
HTML = "<html><title>Bad Gateway</title><body>cloudflare</body></html>"


def response(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Return an answer of JSON; httpx would leave the body out where the value is None."""
    content_type = {"Content-Type": "application/json; charset=utf-8"}
    content = json.dumps(value, ensure_ascii=False).encode()
    return httpx.Response(status, content=content, headers={**content_type, **(headers or {})})


def answers(value: Any, status: int = 200) -> Planned:
    """Answer with JSON."""
    return lambda _: response(value, status)


def says(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Planned:
    """Answer with a text as it is."""
    return lambda _: httpx.Response(status, text=text, headers=headers)


def fails(status: int, code: str | None = None, retry_after: str | None = None) -> Planned:
    """Answer with an error as PostgREST gives it."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    body = {"code": code, "message": "what went wrong", "details": None, "hint": None}
    return lambda _: response(body, status, headers)


def breaks(kind: type[httpx.HTTPError], text: str = "it broke") -> Planned:
    """Answer with nothing: the connection breaks, or takes too long."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise kind(text, request=request)  # type: ignore[call-arg]  # all that are used take it

    return answer


class Time:
    """A clock that goes on when somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class FakeSupabase:
    """Supabase as one lane of a test sees it.

    A lane is the async services on one of the event loops, or the sync ones.

    Attributes:
        requests: Every request so far.
        time: The time that the services go by.
    """

    def __init__(self, lane: str) -> None:
        self.is_sync = lane == "sync"
        self.requests: list[httpx.Request] = []
        self.time = Time()
        self._planned: deque[Planned] = deque()

    def plan(self, *planned: Planned) -> None:
        """Say what the next requests are answered; the last answer is given for ever."""
        self._planned = deque(planned)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request as planned."""
        self.requests.append(request)
        planned = self._planned[0] if len(self._planned) == 1 else self._planned.popleft()
        return planned(request)

    def bodies(self) -> list[bytes]:
        """Return the body of every request so far."""
        return [request.content for request in self.requests]

    def sent(self) -> list[dict[str, Any]]:
        """Return the parameters of every call so far."""
        return [json.loads(body) for body in self.bodies()]

    async def client(self, key: str = KEY, **options: Any) -> AsyncClient | Client:
        """Make a client of the lane's kind."""
        if self.is_sync:
            http = httpx.Client(verify=False, trust_env=False)
            return create_client(URL, key, ClientOptions(httpx_client=http, **options))
        async_http = httpx.AsyncClient(verify=False, trust_env=False)
        return await acreate_client(
            URL, key, AsyncClientOptions(httpx_client=async_http, **options)
        )

    async def queue(self, policy: RepeatPolicy | None = None, **options: Any) -> Any:
        """Make the service of the queue ``q``."""
        client: Any = await self.client(**options)
        kind: Any = SyncQueueService if self.is_sync else QueueService
        return self.timed(kind(client, "q", repeat_policy=policy))

    async def dlq(self, policy: RepeatPolicy | None = None, **options: Any) -> Any:
        """Make the service of the dead letter queue ``q_dlq``."""
        client: Any = await self.client(**options)
        kind: Any = SyncDLQService if self.is_sync else DLQService
        return self.timed(kind(client, "q_dlq", repeat_policy=policy))

    async def service(self, name: str, **options: Any) -> Any:
        """Make the service of that name, ``queue`` or ``dlq``."""
        return await (self.queue(**options) if name == "queue" else self.dlq(**options))

    def timed(self, service: Any) -> Any:
        """Let a service go by this fake's time instead of sleeping."""
        made, time = service._transport, self.time
        service._transport = (
            SyncTransport(made.client, made._policy, time.sleep, time)
            if self.is_sync
            else AsyncTransport(made.client, made._policy, time.sleep_async, time)
        )
        return service


async def call(service: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of a service of either kind."""
    result = getattr(service, method)(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def listed(iterable: Any) -> list[Any]:
    """Go through an iterator of either kind."""
    if hasattr(iterable, "__aiter__"):
        return [item async for item in iterable]
    return list(iterable)
