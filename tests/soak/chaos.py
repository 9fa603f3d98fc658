"""What is done to a soak: strikes at workers, at their network and at the database, at random.

All that is random is drawn before a strike begins, in the order of the strikes, so a seed gives the
same strikes again; how they meet what the workers do at the time is never the same.
"""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import psycopg

from tests.network import faults
from tests.network.outages import OUTAGES
from tests.soak.behaviour import LEASE_SECONDS

if TYPE_CHECKING:
    from meshhook.local import LocalStack
    from tests.network.proxy import Exchange, Fault, Proxy
    from tests.soak.crew import Crew, Hand, Post
    from tests.soak.journal import Journal

# How often, in comparison with the others, a strike is chosen.
WEIGHTS = {
    "kill": 4,
    "freeze": 3,
    "terminate": 3,
    "terminate twice": 2,
    "cut off one": 8,
    "cut off all": 2,
    "break one function": 6,
    "slow answers": 3,
    "restart the database": 1,
    "kill the database": 1,
    "restart the gateway": 1,
    "end connections": 3,
}

FUNCTIONS = ["meshhook_dequeue", "meshhook_settle", "meshhook_extend"]

# What can happen to the requests for one function while all others pass.
FAULTS: dict[str, Fault] = {
    "reset": faults.reset,
    "stall": faults.stall,
    "lose answer": faults.lose_answer,
    "stall answer": faults.stall_answer,
    "cut": faults.cut,
    "reset in answer": faults.reset_in_answer,
    "garbage": faults.garbage,
    "503": faults.answer(503),
}

# A key that expires is no outage but a thing of minutes.
CUTS = sorted(set(OUTAGES) - {"expired key"})


@attrs.frozen
class Lot:
    """All that is left to chance in a strike.

    Attributes:
        strike: Which.
        post: At whom.
        seconds: For how long.
        cut: What cuts a network off.
        fault: What happens to requests.
        function: To which.
        slow: Whether what is not broken is slow.
        slowness: How many times as long answers take that are slow.
        must_hit: Whether it waits for its turn where another strike is at work, and does not pass.
    """

    strike: str
    post: int
    seconds: float
    cut: str
    fault: str
    function: str
    slow: bool
    slowness: float
    must_hit: bool

    @classmethod
    def draw(cls, rng: random.Random, strikes: Sequence[str], posts: int, *, must_hit: bool) -> Lot:
        """Draw a lot, for one of some strikes and so many posts."""
        return cls(
            strike=rng.choices(strikes, [WEIGHTS[strike] for strike in strikes])[0],
            post=rng.randrange(posts),
            seconds=rng.uniform(0.2, 2.0) * LEASE_SECONDS,
            cut=rng.choice(CUTS),
            fault=rng.choice(sorted(FAULTS)),
            function=rng.choice(FUNCTIONS),
            slow=rng.random() < 0.2,
            slowness=rng.uniform(2, 8),
            must_hit=must_hit,
        )


class Chaos:
    """Strikes, and writes down each strike's beginning and end."""

    def __init__(
        self, stack: LocalStack, crew: Crew, others: list[Proxy], journal: Journal
    ) -> None:
        self._stack = stack
        self._crew = crew
        self._others = others
        self._journal = journal
        self._database_lock = anyio.Lock()
        self._strikes: dict[str, Callable[[Lot, Post], Coroutine[Any, Any, None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "terminate": self._terminate,
            "terminate twice": self._terminate_twice,
            "cut off one": self._cut_off_one,
            "cut off all": self._cut_off_all,
            "break one function": self._break_function,
            "slow answers": self._slow_down,
            "restart the database": self._restart_database,
            "kill the database": self._kill_database,
            "restart the gateway": self._restart_gateway,
            "end connections": self._end_connections,
        }

    async def rage(
        self, rng: random.Random, strikes: Sequence[str], seconds: float, pause: float
    ) -> None:
        """Strike at random for some time, then wait until every strike has ended.

        Every kind of strike comes once before any comes again by chance.

        Args:
            rng: What decides.
            strikes: Out of which strikes.
            seconds: For how long.
            pause: How long it is from one strike to the next on average.
        """
        ends = anyio.current_time() + seconds
        due = rng.sample(strikes, len(strikes))
        async with anyio.create_task_group() as group:
            while due or anyio.current_time() < ends:
                must_hit = bool(due)
                choice = [due.pop()] if due else strikes
                lot = Lot.draw(rng, choice, len(self._crew.posts), must_hit=must_hit)
                group.start_soon(self._strikes[lot.strike], lot, self._crew.posts[lot.post])
                await anyio.sleep(rng.uniform(0.2, 1.8) * pause)

    async def _kill(self, lot: Lot, post: Post) -> None:
        async with self._at_worker(lot, post) as hand:
            if hand:
                self._send(hand, "kill", signal.SIGKILL)

    async def _freeze(self, lot: Lot, post: Post) -> None:
        async with self._at_worker(lot, post) as hand:
            if hand:
                self._send(hand, "freeze", signal.SIGSTOP)
                await anyio.sleep(lot.seconds + LEASE_SECONDS / 2)
                self._send(hand, "thaw", signal.SIGCONT)

    async def _terminate(self, lot: Lot, post: Post) -> None:
        async with self._at_worker(lot, post) as hand:
            if hand:
                self._send(hand, "term", signal.SIGTERM)
                await hand.process.wait()

    async def _terminate_twice(self, lot: Lot, post: Post) -> None:
        async with self._at_worker(lot, post) as hand:
            if hand:
                self._send(hand, "term", signal.SIGTERM)
                await anyio.sleep(lot.seconds / 10)
                self._send(hand, "stop now", signal.SIGTERM)
                await hand.process.wait()

    def _send(self, hand: Hand, what: str, number: signal.Signals) -> None:
        if hand.is_alive:
            self._journal.note(what, worker=hand.name)
            hand.send(number)

    async def _cut_off_one(self, lot: Lot, post: Post) -> None:
        async with self._at_network(lot, post, lot.cut) as may:
            if may:
                await cut_off(post.proxy, lot)

    async def _cut_off_all(self, lot: Lot, _: Post) -> None:
        async with contextlib.AsyncExitStack() as stack, anyio.create_task_group() as group:
            for post in self._crew.posts:
                if await stack.enter_async_context(self._at_network(lot, post, lot.cut)):
                    group.start_soon(cut_off, post.proxy, lot)
            for proxy in self._others:
                group.start_soon(cut_off, proxy, lot)

    async def _break_function(self, lot: Lot, post: Post) -> None:
        async with self._at_network(lot, post, f"{lot.fault} of {lot.function}") as may:
            if may:
                if lot.slow:
                    post.proxy.lay(delayed(lot.seconds / 8), None, 20)
                post.proxy.lay_for_good(FAULTS[lot.fault], lot.function)
                await anyio.sleep(lot.seconds)
                restore(post.proxy)

    async def _slow_down(self, lot: Lot, _: Post) -> None:
        proxies = [post.proxy for post in self._crew.posts] + self._others
        with self._noted(lot, lot.strike, None):
            for proxy in proxies:
                proxy.slowness *= lot.slowness
            await anyio.sleep(2 * lot.seconds)
            for proxy in proxies:
                proxy.slowness /= lot.slowness

    async def _restart_database(self, lot: Lot, _: Post) -> None:
        await self._at_database(lot, self._stack.stop_database, self._stack.start_database)

    async def _kill_database(self, lot: Lot, _: Post) -> None:
        await self._at_database(lot, self._stack.kill_database, self._stack.start_database)

    async def _restart_gateway(self, lot: Lot, _: Post) -> None:
        await self._at_database(lot, self._stack.restart_gateway)

    async def _end_connections(self, lot: Lot, _: Post) -> None:
        await self._at_database(lot, self._terminate_backends)

    def _terminate_backends(self) -> None:
        with psycopg.connect(self._stack.admin_database_url, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where usename = 'authenticator' and pid <> pg_backend_pid()"
            )

    async def _at_database(self, lot: Lot, *steps: Callable[[], None]) -> None:
        """Do something to the database, one thing after the other, with a pause in between."""
        async with for_oneself(self._database_lock, lot) as may:
            if not may:
                return
            with self._noted(lot, lot.strike, None):
                for step in steps[:-1]:
                    await anyio.to_thread.run_sync(step)
                    await anyio.sleep(lot.seconds / 2)
                await anyio.to_thread.run_sync(steps[-1])

    @contextlib.asynccontextmanager
    async def _at_worker(self, lot: Lot, post: Post) -> AsyncIterator[Hand | None]:
        """Have a worker for oneself; None if there is none, or it is struck already."""
        async with for_oneself(post.worker_lock, lot) as may:
            if lot.must_hit:
                await post.wait_manned()
            if may and post.hand is not None and post.is_manned:
                with self._noted(lot, lot.strike, post.hand.name):
                    yield post.hand
            else:
                yield None

    @contextlib.asynccontextmanager
    async def _at_network(self, lot: Lot, post: Post, what: str) -> AsyncIterator[bool]:
        """Have the network for oneself; False if something is being done to it already."""
        async with for_oneself(post.network_lock, lot) as may:
            if may:
                with self._noted(lot, what, f"w{post.index}."):
                    yield True
            else:
                yield False

    @contextlib.contextmanager
    def _noted(self, lot: Lot, what: str, whom: str | None) -> Iterator[None]:
        self._journal.note("strike", strike=what, whom=whom, kind=lot.strike)
        yield
        self._journal.note("struck", strike=what, whom=whom)


@contextlib.asynccontextmanager
async def for_oneself(lock: anyio.Lock, lot: Lot) -> AsyncIterator[bool]:
    """Hold a lock; False if somebody else does, and the lot does not say to wait."""
    if lock.locked() and not lot.must_hit:
        yield False
        return
    async with lock:
        yield True


async def cut_off(proxy: Proxy, lot: Lot) -> None:
    """Break everything that goes through a proxy for some time."""
    OUTAGES[lot.cut].begin(proxy)
    await anyio.sleep(lot.seconds)
    restore(proxy)


def restore(proxy: Proxy) -> None:
    """Let everything pass again, and let go of what is stalled."""
    proxy.clear()
    proxy.reset_all()


def delayed(seconds: float) -> Fault:
    """Return the fault that an answer takes long."""

    async def pass_on_late(exchange: Exchange) -> None:
        await exchange.forward()
        await anyio.sleep(seconds)
        await exchange.pass_on()

    return pass_on_late
