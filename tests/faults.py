"""A transport that breaks calls as networks and servers do, and tells which calls came through."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import httpx
from supabase import AsyncClient, AsyncClientOptions, acreate_client

if TYPE_CHECKING:
    from collections.abc import Callable


def verbs(function: str) -> set[str]:
    """Return what a function does: one settles and claims, and counts as both."""
    if function == "meshhook_settle_and_dequeue":
        return {function, "meshhook_settle", "meshhook_dequeue"}
    return {function}


@attrs.define
class Fault:
    """What happens to the next calls of a function.

    Attributes:
        function: The function, or None for any.
        times: How many calls it happens to yet.
        before: What is done instead of sending; returns an answer or raises.
        after: What is done with the answer; returns an answer or raises.
        hold: What the call waits for before it is sent.
        hold_answer: What the answer waits for before it is passed on.
    """

    function: str | None
    times: int
    before: Callable[[httpx.Request], httpx.Response] | None = None
    after: Callable[[httpx.Request, httpx.Response], httpx.Response] | None = None
    hold: anyio.Event | None = None
    hold_answer: anyio.Event | None = None


class FaultInjector(httpx.AsyncBaseTransport):
    """Passes requests on, but for those that a fault is laid for.

    Attributes:
        calls: Function and JSON body of every call that was attempted, in order.
    """

    def __init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._http = httpx.AsyncClient(transport=self, timeout=10)
        self._faults: list[Fault] = []
        self._answered: Counter[str] = Counter()
        self._news = anyio.Event()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def client(self, url: str, key: str) -> AsyncClient:
        """Return a Supabase client whose every request goes through here."""
        return await acreate_client(url, key, AsyncClientOptions(httpx_client=self._http))

    def refuse(self, function: str | None = None, times: int = 1) -> None:
        """Let the next calls find no connection."""

        def before(request: httpx.Request) -> httpx.Response:
            message = "connection refused"
            raise httpx.ConnectError(message, request=request)

        self._faults.append(Fault(function, times, before=before))

    def lose_answer(self, function: str | None = None, times: int = 1) -> None:
        """Let the next calls be carried out, and their answers be lost."""

        def after(request: httpx.Request, _: httpx.Response) -> httpx.Response:
            message = "connection reset"
            raise httpx.ReadError(message, request=request)

        self._faults.append(Fault(function, times, after=after))

    def answer(
        self, status: int, body: object, function: str | None = None, times: int = 1, **headers: str
    ) -> None:
        """Let something before the database answer the next calls."""
        content = body if isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        def before(request: httpx.Request) -> httpx.Response:
            return httpx.Response(status, text=content, headers=named, request=request)

        self._faults.append(Fault(function, times, before=before))

    def hold(self, function: str | None = None, times: int = 1) -> anyio.Event:
        """Keep the next calls waiting until the returned event is set."""
        event = anyio.Event()
        self._faults.append(Fault(function, times, hold=event))
        return event

    def hold_answer(self, function: str | None = None, times: int = 1) -> anyio.Event:
        """Have the next calls carried out, and keep their answers until the event is set."""
        event = anyio.Event()
        self._faults.append(Fault(function, times, hold_answer=event))
        return event

    def clear(self) -> None:
        """Let everything pass again."""
        self._faults.clear()

    def count(self, function: str) -> int:
        """Return how many calls of a function were attempted."""
        return sum(function in verbs(called) for called, _ in self.calls)

    def answered(self, function: str) -> int:
        """Return how many calls of a function the database has answered."""
        return self._answered[function]

    async def wait_attempted(self, function: str, times: int = 1) -> None:
        """Wait until a function has been called so often."""
        while self.count(function) < times:
            await self._wait_news()

    async def wait_answered(self, function: str, times: int = 1) -> None:
        """Wait until so many calls of a function have been answered by the database."""
        while self._answered[function] < times:
            await self._wait_news()

    async def wait_next_answer(self, function: str) -> None:
        """Wait until the database answers another call of a function."""
        await self.wait_answered(function, self.answered(function) + 1)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or do to it what was laid for it."""
        function = request.url.path.rpartition("/")[2]
        body = await request.aread()
        self.calls.append((function, json.loads(body) if body else {}))
        self._tell()
        fault = self._next_fault(function)
        if fault is not None and fault.hold is not None:
            await fault.hold.wait()
        if fault is not None and fault.before is not None:
            return fault.before(request)
        response = await self._real.handle_async_request(request)
        if fault is not None and fault.hold_answer is not None:
            await fault.hold_answer.wait()
        if fault is not None and fault.after is not None:
            await response.aread()
            await response.aclose()
            return fault.after(request, response)
        self._answered.update(verbs(function))
        self._tell()
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._real.aclose()

    def _next_fault(self, function: str) -> Fault | None:
        for fault in self._faults:
            if fault.function in {None, *verbs(function)}:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None

    def _tell(self) -> None:
        self._news.set()

    async def _wait_news(self) -> None:
        if self._news.is_set():
            self._news = anyio.Event()
        await self._news.wait()
