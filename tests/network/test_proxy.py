"""The proxy itself: each fault is for a client what its name says."""

from __future__ import annotations

import socket
import time

import anyio
import httpx
import pytest

from meshhook.local import LocalStack
from tests.network import faults
from tests.network.proxy import ConnectionFault, Fault, Proxy
from tests.network.wire import Message, Wire

READ = "queue_monitoring"


def patience(*errors: type[Exception]) -> float:
    """Return how long to wait for an answer, in seconds: a moment if none is to come."""
    return 0.3 if httpx.ReadTimeout in errors else 5.0


@pytest.fixture
async def http(proxy: Proxy, stack: LocalStack) -> httpx.AsyncClient:
    headers = {"apikey": stack.secret_key}
    return httpx.AsyncClient(base_url=f"{proxy.url}/rest/v1", headers=headers)


async def test_everything_passes_unchanged(
    proxy: Proxy, http: httpx.AsyncClient, stack: LocalStack
) -> None:
    async with http, httpx.AsyncClient(headers=http.headers) as direct:
        answers = [await http.get(f"/{READ}?select=queue_name") for _ in range(2)]
        expected = await direct.get(f"{stack.rest_url}/{READ}?select=queue_name")

    assert [answer.content for answer in answers] == [expected.content] * 2
    assert (proxy.attempted(READ), proxy.forwarded(READ)) == (2, 2)


async def test_a_slow_proxy_takes_a_multiple_of_the_gateways_time(
    proxy: Proxy, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = proxy.ask_gateway
    seconds: list[float] = []

    async def ask_timed(request: Message) -> Message:
        answer = await ask(request)
        seconds.append(proxy._gateway_seconds)
        return answer

    monkeypatch.setattr(proxy, "ask_gateway", ask_timed)
    async with http:
        await http.get(f"/{READ}")
        proxy.slowness = 9
        begin = time.monotonic()
        answer = await http.get(f"/{READ}")
        took = time.monotonic() - begin

    assert answer.status_code == 200
    before, now = seconds
    assert took >= 4 * before + now + 4 * now


BROKEN: dict[str, tuple[Fault, type[Exception], int]] = {
    "reset": (faults.reset, httpx.ReadError, 0),
    "stall": (faults.stall, httpx.ReadTimeout, 0),
    "lose_answer": (faults.lose_answer, httpx.ReadError, 1),
    "stall_answer": (faults.stall_answer, httpx.ReadTimeout, 1),
    "cut": (faults.cut, httpx.RemoteProtocolError, 1),
    "reset_in_answer": (faults.reset_in_answer, httpx.ReadError, 1),
    "garbage": (faults.garbage, httpx.RemoteProtocolError, 0),
}


@pytest.mark.parametrize(("fault", "error", "forwarded"), BROKEN.values(), ids=BROKEN)
async def test_a_fault_breaks_one_request_and_no_other(
    proxy: Proxy, http: httpx.AsyncClient, fault: Fault, error: type[Exception], forwarded: int
) -> None:
    proxy.lay(fault, READ)
    async with http:
        with pytest.raises(error):
            await http.get(f"/{READ}", timeout=patience(error))
        await proxy.wait_forwarded(READ, forwarded)
        assert proxy.forwarded(READ) == forwarded
        assert (await http.get(f"/{READ}")).status_code == 200


async def test_an_answer_of_somebody_else_is_told_with_its_headers(
    proxy: Proxy, http: httpx.AsyncClient
) -> None:
    proxy.lay(faults.answer(429, {"message": "slow down"}, retry_after="7"))
    async with http:
        answer = await http.get(f"/{READ}")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json() == {"message": "slow down"}
    assert proxy.forwarded(READ) == 0


# Whether a client meets such a reset when it writes or when it reads is a matter of microseconds.
RESET = (httpx.NetworkError, httpx.RemoteProtocolError)

ON_CONNECTION: dict[str, tuple[ConnectionFault, tuple[type[Exception], ...]]] = {
    "reset_at_once": (faults.reset_at_once, RESET),
    "reset_in_request": (faults.reset_in_request, RESET),
    "stall_at_once": (faults.stall_at_once, (httpx.ReadTimeout,)),
}


@pytest.mark.parametrize(("fault", "error"), ON_CONNECTION.values(), ids=ON_CONNECTION)
async def test_a_fault_of_connections_breaks_idle_ones_too(
    proxy: Proxy,
    http: httpx.AsyncClient,
    fault: ConnectionFault,
    error: tuple[type[Exception], ...],
) -> None:
    async with http:
        await http.get(f"/{READ}")
        proxy.lay_on_connections(fault)
        with pytest.raises(error):
            await http.get(f"/{READ}", timeout=patience(*error))
        proxy.clear()
        assert (await http.get(f"/{READ}")).status_code == 200


async def test_a_port_that_refuses_connections_accepts_them_again(
    proxy: Proxy, http: httpx.AsyncClient
) -> None:
    async with http:
        await http.get(f"/{READ}")
        proxy.refuse()
        with pytest.raises(httpx.ConnectError):
            await http.get(f"/{READ}")
        proxy.accept()
        assert (await http.get(f"/{READ}")).status_code == 200


async def test_a_connection_that_was_just_accepted_is_reset_too(
    proxy: Proxy, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = proxy._serve

    async def refuse_first(client: Wire) -> None:
        proxy.refuse()
        await serve(client)

    monkeypatch.setattr(proxy, "_serve", refuse_first)
    async with http:
        with pytest.raises(RESET):
            await http.get(f"/{READ}")
    assert proxy.attempted(READ) == 0


async def test_nobody_else_gets_the_port_while_it_refuses_connections(proxy: Proxy) -> None:
    proxy.refuse()

    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", proxy.port))


async def test_a_request_that_is_held_is_forwarded_when_it_may_be(
    proxy: Proxy, http: httpx.AsyncClient
) -> None:
    may_go = anyio.Event()
    proxy.lay(faults.hold(may_go), READ)
    async with http, anyio.create_task_group() as group:
        group.start_soon(http.get, f"/{READ}")
        await proxy.wait_attempted(READ)
        assert proxy.forwarded(READ) == 0
        may_go.set()
        await proxy.wait_forwarded(READ)
