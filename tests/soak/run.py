"""One soak from its beginning to its end."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs

from meshhook import DatabaseError, OutageError, QueueService, UnexpectedAnswerError, connect
from meshhook.local import LocalStack
from tests.network.proxy import Proxy
from tests.soak.accounting import Accountant, Accounts
from tests.soak.behaviour import draw_kinds, make_job
from tests.soak.chaos import WEIGHTS, Chaos
from tests.soak.crew import Crew
from tests.soak.journal import BEAT_SECONDS, Journal, read_journal
from tests.soak.ledger import Ledger
from tests.soak.records import queue_length, read_records
from tests.soak.story import tell_story

QUEUE = "soak"
BATCH = 20


@attrs.frozen(kw_only=True)
class Plan:
    """What a soak is to be.

    Attributes:
        seed: What all chance follows from.
        jobs: How many jobs.
        workers: How many worker processes.
        seconds: For how long they are ill-treated.
        pause: How long it is from one strike to the next on average, in seconds.
        settle_seconds: How long it may take, when all strikes are over, from one finished job to
            the next; after that the rest is taken to be stuck.
        journal: Where the journal is kept; None for a passing file.
        kinds: How many jobs of each kind, in this order; None to draw them by lot.
        slow: How many times as long every answer takes as the gateway takes for it.
        strikes: Out of which strikes those are drawn that hit it.
    """

    seed: int
    jobs: int
    workers: int
    seconds: float
    pause: float = 0.5
    settle_seconds: float = 120.0
    journal: Path | None = None
    kinds: dict[str, int] | None = None
    slow: float = 1.0
    strikes: Sequence[str] = tuple(WEIGHTS)

    def draw_jobs(self) -> list[dict[str, Any]]:
        """Return the data of the jobs, in the order in which they are enqueued."""
        rng = random.Random(f"jobs {self.seed}")
        if self.kinds is None:
            kinds = draw_kinds(self.jobs, rng)
        else:
            kinds = [kind for kind, count in self.kinds.items() for _ in range(count)]
        return [make_job(kind, rng) for kind in kinds]


async def soak(plan: Plan) -> Accounts:
    """Run a soak.

    Args:
        plan: What it is to be.

    Returns:
        The accounts.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = plan.journal or Path(folder, "journal.jsonl")
        async with LocalStack() as stack:
            ledger, kinds = Ledger(), dict[int, str]()
            await run(plan, stack, path, ledger, kinds)
            records = await anyio.to_thread.run_sync(read_records, stack.admin_database_url, QUEUE)
            return Accountant(kinds, records, tell_story(read_journal(path)), ledger).account()


async def run(
    plan: Plan, stack: LocalStack, path: Path, ledger: Ledger, kinds: dict[int, str]
) -> None:
    """Enqueue the jobs and have them worked on while chaos reigns; then let all settle."""
    journal = Journal(path, "soak")
    crew = Crew(stack, QUEUE, path, journal)
    async with connect(stack.url, stack.secret_key) as client:
        await QueueService(client, QUEUE).create_queue()
    async with Proxy(stack.url) as proxy, crew.at_work(plan.workers, ledger, plan.slow):
        proxy.slowness = plan.slow
        chaos = Chaos(stack, crew, [proxy], journal)
        async with anyio.create_task_group() as group:
            group.start_soon(note_standstills, journal)
            async with anyio.create_task_group() as fray:
                fray.start_soon(enqueue_all, plan, proxy.url, stack.secret_key, kinds)
                rng = random.Random(f"chaos {plan.seed}")
                await chaos.rage(rng, plan.strikes, plan.seconds, plan.pause)
                journal.note("calm")
            await wait_until_empty(plan, stack)
            await crew.dismiss()
            group.cancel_scope.cancel()
    journal.close()


async def note_standstills(journal: Journal) -> None:
    """Write down when the machine has no time for this process, as then it has none for others."""
    while True:
        begin = time.monotonic()
        await anyio.sleep(BEAT_SECONDS)
        journal.woke(begin)


async def enqueue_all(plan: Plan, url: str, key: str, kinds: dict[int, str]) -> None:
    """Enqueue all jobs, spread over most of the time, through a network that breaks."""
    rng = random.Random(f"delays {plan.seed}")
    jobs = iter(plan.draw_jobs())
    pause = 0.8 * plan.seconds / max(1, plan.jobs / BATCH)
    async with connect(url, key) as client:
        queue = QueueService(client, QUEUE)
        for number, batch in enumerate(batches(jobs)):
            delays = [rng.choice([0, 0, 0, 1]) * rng.uniform(0, 3) for _ in batch]
            ids = await enqueue(queue, batch, delays, f"{plan.seed} {number}")
            for msg_id, job in zip(ids, batch, strict=True):
                kinds[msg_id] = job["metadata"]["kind"]
            await anyio.sleep(pause)


async def enqueue(
    queue: QueueService, batch: list[dict[str, Any]], delays: list[float], key: str
) -> tuple[int, ...]:
    """Enqueue a batch, again and again under the same key until that has worked."""
    while True:
        try:
            return (await queue.enqueue_many(batch, delays, idempotency_key=key)).msg_ids
        except (DatabaseError, OutageError, UnexpectedAnswerError):
            await anyio.sleep(0.2)


def batches(jobs: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the jobs in batches."""
    while batch := list(islice(jobs, BATCH)):
        yield batch


async def wait_until_empty(plan: Plan, stack: LocalStack) -> None:
    """Wait until nothing is queued any more, or no job has been finished for too long."""
    before, since = -1, time.monotonic()
    while length := await anyio.to_thread.run_sync(queue_length, stack.admin_database_url, QUEUE):
        if length != before:
            before, since = length, time.monotonic()
        elif time.monotonic() - since > plan.settle_seconds:
            return
        await anyio.sleep(0.3)  # Nothing reports when a queue is empty.
