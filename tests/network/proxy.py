"""A TCP proxy in front of the gateway that breaks connections as networks do."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import anyio
import attrs

from tests.faults import verbs
from tests.network.wire import Message, Wire, connect

if TYPE_CHECKING:
    from types import TracebackType

_BACKLOG = 128


@attrs.define
class Exchange:
    """A request on its way, and what has happened to it so far.

    Attributes:
        request: The request.
        client: The connection that it came from.
        sent_on: Whether it was sent on to the gateway, which may have carried it out then.
        answer: The gateway's answer, whether or not the client got it.
        answered_at: When that came, on the clock of `time.monotonic`.
        passed: Whether the client was sent the whole of that answer.
    """

    request: Message
    client: Wire
    sent_on: bool = False
    answer: Message | None = None
    answered_at: float = math.inf
    passed: bool = False
    _proxy: Proxy = attrs.field(kw_only=True, repr=False)

    async def forward(self) -> Message:
        """Have the gateway carry the request out, and return its whole answer."""
        self.sent_on = True
        await self._proxy.dawdle()
        self.answer = await self._proxy.ask_gateway(self.request)
        self.answered_at = time.monotonic()
        await self._proxy.dawdle()
        return self.answer

    async def pass_on(self) -> None:
        """Send the client the whole answer."""
        if self.answer is None:
            await self.forward()
        if self.answer is not None:
            await self.client.send(self.answer.raw)
            self.passed = True


Fault = Callable[[Exchange], Awaitable[None]]
ConnectionFault = Callable[[Wire], Awaitable[None]]


@attrs.define
class _Laid:
    """A fault that was laid, for whom, and for how many times yet."""

    fault: Fault
    function: str | None
    times: float


class Proxy:
    """Stands between clients and the gateway, and can break everything between them.

    It listens on a port of its own, which stays the same when it refuses connections for a while.
    Each request is forwarded on a connection of its own, so what one client suffers does no harm to
    another. It lives in the event loop that opens it::

        async with Proxy(stack.url) as proxy:
            proxy.lay(lose_answer, "meshhook_enqueue")
            ...  # a client of proxy.url
            await proxy.wait_forwarded("meshhook_enqueue")

    Args:
        target: The URL of the gateway.
        observe: What is called with each exchange when it is over.

    Attributes:
        slowness: How many times as long an answer takes as the gateway takes for it.
        port: Where it listens.
        requests: Every request that came in whole, in order.
    """

    def __init__(self, target: str, observe: Callable[[Exchange], None] | None = None) -> None:
        self._target = (urlsplit(target).hostname or "", urlsplit(target).port or 0)
        self._observe = observe
        self._group = anyio.create_task_group()
        self._listener: socket.socket | None = None
        self._port_holder = bound_to(0)
        self._gateway_seconds = 0.0
        self.slowness = 1.0
        self._wires: set[Wire] = set()
        self._laid: list[_Laid] = []
        self._connection_fault: ConnectionFault | None = None
        self._attempted: Counter[str] = Counter()
        self._forwarded: Counter[str] = Counter()
        self._news = anyio.Event()
        self.port = int(self._port_holder.getsockname()[1])
        self.requests: list[Message] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self.refuse()
        self._port_holder.close()
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    def lay(self, fault: Fault, function: str | None = None, times: float = 1) -> None:
        """Let something happen to the next requests.

        Args:
            fault: What happens to them.
            function: The function whose work they do; None for any request.
            times: How many of them it happens to.
        """
        self._laid.append(_Laid(fault, function, times))

    def lay_for_good(self, fault: Fault, function: str | None = None) -> None:
        """Let something happen to all requests until `clear`."""
        self.lay(fault, function, math.inf)

    def lay_on_connections(self, fault: ConnectionFault) -> None:
        """Let something happen to connections, before any request, until `clear`.

        Those there are already are reset, so that nobody goes around it.
        """
        self._connection_fault = fault
        self.reset_all()

    def clear(self) -> None:
        """Let everything pass again. What is stalled stays so until its client gives up."""
        self._laid.clear()
        self._connection_fault = None
        self.accept()

    def refuse(self) -> None:
        """Refuse connections, as a host does on which nothing listens; reset those there are."""
        if self._listener is not None:
            anyio.notify_closing(self._listener)
            self._listener.close()
            self._listener = None
            self._port_holder = bound_to(self.port)
        self.reset_all()

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        if self._listener is None:
            listener = self._port_holder
            listener.listen(_BACKLOG)
            self._listener = listener
            self._group.start_soon(self._accept_from, listener)

    def reset_all(self) -> None:
        """Reset every connection there is, idle or not."""
        for wire in tuple(self._wires):
            wire.reset()

    def attempted(self, function: str) -> int:
        """Return how many requests for a function came in whole."""
        return self._attempted[function]

    def forwarded(self, function: str) -> int:
        """Return how many requests for a function the gateway has answered."""
        return self._forwarded[function]

    async def wait_attempted(self, function: str, times: int = 1) -> None:
        """Wait until so many requests for a function came in whole."""
        await self._wait(lambda: self._attempted[function] >= times)

    async def wait_forwarded(self, function: str, times: int = 1) -> None:
        """Wait until the gateway has answered so many requests for a function."""
        await self._wait(lambda: self._forwarded[function] >= times)

    async def dawdle(self) -> None:
        """Take one half of the time that slowness costs: on the way there, or on the way back.

        How long the gateway takes is known from its last answer.
        """
        if self.slowness > 1:
            await anyio.sleep((self.slowness - 1) / 2 * self._gateway_seconds)

    async def ask_gateway(self, request: Message) -> Message:
        """Send a request to the gateway and return its whole answer."""
        begin = time.monotonic()
        gateway = await connect(self._target)
        try:
            await gateway.send(request.raw)
            answer = await gateway.read_message()
        finally:
            gateway.close()
        if answer is None:
            raise ConnectionError
        self._gateway_seconds = time.monotonic() - begin
        self._forwarded.update(verbs(request.function))
        self._tell()
        return answer

    async def _accept_from(self, listener: socket.socket) -> None:
        with contextlib.suppress(anyio.ClosedResourceError):
            while listener is self._listener:
                await anyio.wait_readable(listener)
                with contextlib.suppress(OSError):  # The client has left the queue.
                    client = Wire(listener.accept()[0])
                    # Known at once: what resets all connections may come before its task begins.
                    self._wires.add(client)
                    self._group.start_soon(self._serve, client)

    async def _serve(self, client: Wire) -> None:
        try:
            if self._connection_fault is not None:
                await self._connection_fault(client)
            while client.is_open and (request := await client.read_message()) is not None:
                await self._handle(Exchange(request, client, proxy=self))
        except (OSError, anyio.ClosedResourceError):
            client.reset()  # One of the two ends is gone, or this proxy refuses connections now.
        finally:
            client.close()
            self._wires.discard(client)

    async def _handle(self, exchange: Exchange) -> None:
        function = exchange.request.function
        self.requests.append(exchange.request)
        self._attempted.update(verbs(function))
        self._tell()
        fault = self._next_fault(function)
        try:
            await (exchange.pass_on() if fault is None else fault(exchange))
        finally:
            if self._observe is not None:
                self._observe(exchange)

    def _next_fault(self, function: str) -> Fault | None:
        for laid in self._laid:
            if laid.function is None or laid.function in verbs(function):
                laid.times -= 1
                if not laid.times:
                    self._laid.remove(laid)
                return laid.fault
        return None

    def _tell(self) -> None:
        self._news.set()

    async def _wait(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not is_so():
                if self._news.is_set():
                    self._news = anyio.Event()
                await self._news.wait()


def bound_to(port: int) -> socket.socket:
    """Return a socket that has a port and does not listen yet; 0 for any port.

    A port that nobody holds while it refuses connections could become the near end of somebody's
    outgoing connection, and could not be listened on again for as long as that lasts.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    holder.setblocking(False)
    return holder
