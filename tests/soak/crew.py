"""The crew: worker processes, each behind a proxy of its own, replaced whenever one ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import attrs

from tests.network.proxy import Proxy

if TYPE_CHECKING:
    from meshhook.local import LocalStack
    from tests.soak.journal import Journal
    from tests.soak.ledger import Ledger

# Every kind of handler on every event loop.
FLAVOURS = [("asyncio", "async"), ("trio", "sync"), ("asyncio", "sync"), ("trio", "async")]

PROJECT = Path(__file__).parents[2]


@attrs.frozen
class Hand:
    """A worker."""

    name: str
    process: anyio.abc.Process

    @property
    def is_alive(self) -> bool:
        """Whether nobody has seen it end."""
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


@attrs.define(eq=False)
class Post:
    """A place in the crew, which one worker after the other holds.

    Attributes:
        index: Which.
        proxy: Through which its workers reach the stack.
        worker_lock: Held by what is done to its worker.
        network_lock: Held by what is done to its network.
        hand: Its worker, once there is one.
    """

    index: int
    proxy: Proxy
    worker_lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    network_lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    hand: Hand | None = None
    _served: int = 0
    _manned: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def is_manned(self) -> bool:
        """Whether there is a worker that lives."""
        return self.hand is not None and self.hand.is_alive

    def man(self, hand: Hand) -> None:
        """Let another worker hold this post."""
        self.hand = hand
        self._manned.set()
        self._manned = anyio.Event()

    async def wait_manned(self) -> None:
        """Wait until there is a worker that lives."""
        while not self.is_manned:
            await self._manned.wait()

    def next_name(self) -> str:
        """Return the name of the next worker here."""
        self._served += 1
        return f"w{self.index}.{self._served}"


class Crew:
    """Keeps every post manned."""

    def __init__(
        self, stack: LocalStack, queue_name: str, journal_path: Path, journal: Journal
    ) -> None:
        self._stack = stack
        self._queue_name = queue_name
        self._journal_path = journal_path
        self._journal = journal
        self._is_leaving = False
        self._left = anyio.Event()
        self.posts: list[Post] = []

    @contextlib.asynccontextmanager
    async def at_work(self, size: int, ledger: Ledger, slowness: float) -> AsyncIterator[None]:
        """Keep so many workers at work during the block; kill what is left of them at its end."""
        async with contextlib.AsyncExitStack() as exits:
            for index in range(size):
                proxy = await exits.enter_async_context(Proxy(self._stack.url, ledger.observe))
                proxy.slowness = slowness
                self.posts.append(Post(index, proxy))
            async with anyio.create_task_group() as group:
                for post in self.posts:
                    group.start_soon(self._man, post)
                try:
                    yield
                finally:
                    self._is_leaving = True
                    for hand in self._hands():
                        hand.send(signal.SIGKILL)

    async def dismiss(self) -> None:
        """Ask all workers to stop, and wait until they have."""
        self._is_leaving = True
        for hand in self._hands():
            self._journal.note("term", worker=hand.name)
            hand.send(signal.SIGTERM)
        for hand in self._hands():
            await hand.process.wait()

    def _hands(self) -> list[Hand]:
        return [post.hand for post in self.posts if post.hand is not None]

    async def _man(self, post: Post) -> None:
        while not self._is_leaving:
            name = post.next_name()
            async with await self._spawn(post.index, post.proxy.url, name) as process:
                post.man(Hand(name, process))
                code = await process.wait()
                self._journal.note("exit", worker=name, code=code)

    async def _spawn(self, index: int, url: str, name: str) -> anyio.abc.Process:
        backend, kind = FLAVOURS[index % len(FLAVOURS)]
        module = "tests.soak.worker_process"
        arguments = [name, self._queue_name, str(self._journal_path), backend, kind]
        keys = {"SUPABASE_URL": url, "SUPABASE_KEY": self._stack.secret_key}
        return await anyio.open_process(
            [sys.executable, "-m", module, *arguments],
            stdin=None,
            stdout=None,
            stderr=None,
            cwd=PROJECT,
            env=os.environ | keys,
        )
