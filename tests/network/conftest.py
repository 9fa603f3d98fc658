"""What tests of the network share: a stack behind a proxy, and clients and workers before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import attrs
import httpx
import pytest
from supabase import AsyncClient, Client

from meshhook import SyncQueueService, Worker, connect, connect_sync
from meshhook.exceptions import RequestError
from meshhook.local import LocalStack
from meshhook.worker.health import Backoff
from tests.network.proxy import Proxy
from tests.worker.conftest import Events, MakeWorker, quick_worker

CEILING_SECONDS = 0.02

# How long those wait for an answer who meet a network that gives none, and before and after that.
IMPATIENT = httpx.Timeout(0.35, connect=5.0)
PATIENT = httpx.Timeout(5.0)


@attrs.frozen
class Net:
    """What a test of a worker over a broken network needs.

    Attributes:
        proxy: What stands between the worker and the gateway.
        queue: The test's queue, whose calls nothing breaks.
        events: What the workers of the test do.
        make_worker: Makes workers of the queue that reach it through the proxy.
    """

    proxy: Proxy
    queue: SyncQueueService
    events: Events
    make_worker: MakeWorker


class Pauses:
    """The pauses that workers made after failed calls, and a way to wait for them."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self._news = anyio.Event()

    def note(self, seconds: float) -> float:
        """Note a pause."""
        self.all.append(seconds)
        self._news.set()
        return seconds

    async def wait(self, times: int) -> None:
        """Wait until so many pauses were made in all."""
        with anyio.fail_after(20):
            while len(self.all) < times:
                if self._news.is_set():
                    self._news = anyio.Event()
                await self._news.wait()


@pytest.fixture
async def proxy(stack: LocalStack) -> AsyncIterator[Proxy]:
    """What stands between the client and the gateway, and can break every connection."""
    async with Proxy(stack.url) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy, stack: LocalStack) -> AsyncIterator[AsyncClient]:
    """An async client that reaches the stack through the proxy."""
    async with connect(proxy.url, stack.secret_key) as client:
        yield client


@pytest.fixture(scope="module")
def direct_client(stack: LocalStack) -> Iterator[Client]:
    """A client that reaches the module's stack directly, to see what broken calls have done."""
    with connect_sync(stack.url, stack.secret_key) as client:
        yield client


@pytest.fixture
def safe_queue(direct_client: Client, queue_name: str) -> SyncQueueService:
    """The service of the test's queue whose calls nothing breaks."""
    return SyncQueueService(direct_client, queue_name)


@pytest.fixture
async def events() -> Events:
    """What the workers of the test do."""
    return Events()


@pytest.fixture
async def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """The pauses that workers make after failed calls, which are short here."""
    monkeypatch.setattr("meshhook.worker.health.BASE_SECONDS", CEILING_SECONDS / 8)
    monkeypatch.setattr("meshhook.worker.health.CEILING_SECONDS", CEILING_SECONDS)
    noted = Pauses()
    failed = Backoff.failed

    def note(backoff: Backoff, error: RequestError) -> float:
        return noted.note(failed(backoff, error))

    monkeypatch.setattr(Backoff, "failed", note)
    return noted


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `connect` make clients that wait a moment for an answer, and not twenty seconds."""
    monkeypatch.setattr("meshhook._http.clients.TIMEOUT", IMPATIENT)


@pytest.fixture
def make_worker(
    monkeypatch: pytest.MonkeyPatch, client: AsyncClient, queue_name: str, events: Events
) -> MakeWorker:
    """Make workers of the test's queue that reach it through the proxy and lose no time."""

    def make(handler: Any, *, settle_seconds: float = 10.0, **settings: Any) -> Worker:
        monkeypatch.setattr("meshhook.worker.settings.SETTLE_SECONDS", settle_seconds)
        return quick_worker(client, handler, queue_name, events, **settings)

    return make


@pytest.fixture
async def net(
    proxy: Proxy, safe_queue: SyncQueueService, events: Events, make_worker: MakeWorker
) -> Net:
    """A queue, workers, and the proxy between them."""
    return Net(proxy, safe_queue, events, make_worker)
