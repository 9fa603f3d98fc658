"""The clients that fixtures make."""

from __future__ import annotations

import gc
import ssl
import warnings
from typing import Any

import anyio
import pytest

from meshhook import QueueService
from meshhook.local import LocalStack
from meshhook.testing import RunningStack, open_async_client, open_sync_client
from tests.network.proxy import Exchange, Proxy
from tests.network.wire import Wire


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_client_that_is_not_closed_leaves_nothing_open(
    stack: LocalStack, backend: str
) -> None:
    client = open_async_client(stack)

    for _ in range(2):  # two event loops, one after the other
        metrics = anyio.run(QueueService(client).get_queue_metrics, backend=backend)
        assert metrics.queue_name == "workflow_jobs"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del client
        gc.collect()


def test_calls_at_the_same_time_have_a_connection_each(stack: LocalStack) -> None:
    """The first 20 calls get no answer before all 20 have arrived."""
    connections: list[Wire] = []

    async def measure_often() -> None:
        all_arrived = anyio.Event()

        async def answer_together(exchange: Exchange) -> None:
            connections.append(exchange.client)
            if len(connections) == 20:
                all_arrived.set()
            await all_arrived.wait()
            await exchange.pass_on()

        async with Proxy(stack.url) as proxy:
            proxy.lay(answer_together, times=20)
            service = QueueService(open_async_client(behind(proxy, stack)))
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    for _ in range(50):
                        group.start_soon(service.get_queue_metrics)
            assert len(proxy.requests) == 50

    anyio.run(measure_often)

    assert len({id(connection) for connection in connections}) == 20


def behind(proxy: Proxy, stack: LocalStack) -> RunningStack:
    return RunningStack(
        url=proxy.url, secret_key=stack.secret_key, admin_database_url=stack.admin_database_url
    )


@pytest.mark.parametrize(
    ("url", "verified"),
    [("https://x.supabase.co", ssl.CERT_REQUIRED), ("http://127.0.0.1:54321", ssl.CERT_NONE)],
)
def test_certificates_are_checked_where_there_are_any(url: str, verified: ssl.VerifyMode) -> None:
    stack = RunningStack(url=url, secret_key="sb_secret_any", admin_database_url="postgresql:///")

    assert verify_mode(open_async_client(stack)) is verified
    with open_sync_client(stack) as client:
        assert verify_mode(client) is verified


def verify_mode(client: Any) -> ssl.VerifyMode:
    mode: ssl.VerifyMode = client.options.httpx_client._transport._pool._ssl_context.verify_mode
    return mode
