"""Fifty workers and a user's own API calls on PostgREST's ten connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx

import meshhook
from benchmarks import payload, processes
from benchmarks.results import Result, Row, Verdict, at_least
from benchmarks.statistics import percentile
from benchmarks.target import user_function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

WORKERS = 50
JOB_SECONDS = 0.02
RATE = 1000
"""How many jobs are enqueued per second while the workers are busy."""

CASES = ("no workers", "idle workers", "busy workers")
USER = "the user's call"


def measure(space: Space, settings: Settings) -> Result:
    """Call a user's function alone, with idle workers, and with busy ones."""
    workers = settings.size(WORKERS, 10)
    seconds = settings.size(5.0, 1.0)
    with user_function(space) as function:
        runs = [
            {case: _run(space, function, case, workers, seconds) for case in CASES}
            for _ in range(settings.runs)
        ]
    rows = [
        Row(f"{who}, {name}", case, [percentile(run[case][who], share) for run in runs], "ms")
        for who, cases in ((USER, CASES), ("a worker's call", CASES[1:]))
        for name, share in (("median", 0.5), ("99th percentile", 0.99))
        for case in cases
    ]
    return Result(
        name="shared_pool",
        title=f"{workers} workers and a user's own calls on one pool, ms",
        how=[
            f"{workers} workers in one process, each with its own client",
            "a poll interval of one second, handlers that take 20 ms, `concurrency=2`",
            f"the user calls a function, one call after the other, for {seconds:g} s",
            f"busy: {RATE} jobs are enqueued per second",
            "the embedded gateway has a pool of 10 connections; another PostgREST has its own",
        ],
        x_title="",
        rows=rows,
        verdicts=_verdicts(runs),
    )


def _verdicts(runs: list[dict[str, dict[str, Any]]]) -> list[Verdict]:
    failures = sum(run[case]["failures"] for run in runs for case in CASES)
    idle_hands = min(min(run[CASES[2]]["jobs"]) for run in runs)
    return [
        Verdict("no call of user or worker fails", f"{failures} failed", failures == 0),
        at_least("no worker starves: each gets jobs", idle_hands, 1, " at least"),
    ]


def _run(space: Space, function: str, case: str, workers: int, seconds: float) -> dict[str, Any]:
    with space.queue() as queue_name:
        common = {"url": space.target.url, "key": space.target.key, "seconds": seconds}
        crew = {
            **common,
            "queue_name": queue_name,
            "workers": workers if case != CASES[0] else 0,
            "rate": RATE if case == CASES[2] else 0,
        }
        with (
            processes.children(work, crew) as (crew_process,),
            processes.children(call, {**common, "function": function}) as (user,),
        ):
            crew_process.go()
            user.go()
            called, worked = user.outcome().value, crew_process.outcome().value
    return {
        USER: called["times"],
        "a worker's call": worked["times"],
        "jobs": worked["jobs"],
        "failures": called["failures"] + worked["failures"],
    }


def call(gate: Gate, url: str, key: str, seconds: float, function: str) -> dict[str, Any]:
    """Call a user's function, one call after the other."""
    times = []
    failures = 0
    with httpx.Client(headers={"apikey": key}, timeout=30) as client:
        path = f"{url}/rest/v1/rpc/{function}"
        client.post(path, json={})
        gate.wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            failures += not client.post(path, json={}).is_success
            times.append(1000 * (time.perf_counter() - begin))
    return {"times": times, "failures": failures}


def work(
    gate: Gate, url: str, key: str, seconds: float, queue_name: str, workers: int, rate: int
) -> dict[str, Any]:
    """Run workers with jobs for a while, and time each of their calls."""
    target = {"url": url, "key": key}
    calls = Calls(workers)
    jobs = [0] * workers

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(workers):
                group.start_soon(_one_worker, target, queue_name, calls, jobs, number)
            await calls.all_poll.wait()
            await anyio.to_thread.run_sync(gate.wait)
            calls.times.clear()
            await _enqueue(target, queue_name, rate, seconds)
            group.cancel_scope.cancel()

    anyio.run(main)
    return {"times": calls.times, "failures": calls.failures, "jobs": jobs}


async def _one_worker(
    target: Mapping[str, str], queue_name: str, calls: Calls, jobs: list[int], number: int
) -> None:
    async def handler(_: meshhook.JobMessage) -> None:
        jobs[number] += 1
        await anyio.sleep(JOB_SECONDS)

    async with meshhook.connect(target["url"], target["key"]) as client:
        calls.watch(client.postgrest.session)
        await meshhook.Worker(client, handler, queue_name, concurrency=2).run()


async def _enqueue(target: Mapping[str, str], queue_name: str, rate: int, seconds: float) -> None:
    """Enqueue at a rate, ten times per second; at a rate of 0 only wait."""
    async with meshhook.connect(target["url"], target["key"]) as client:
        queue = meshhook.QueueService(client, queue_name)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if rate:
                await queue.enqueue_many(payload.job(number) for number in range(rate // 10))
            await anyio.sleep(0.1)


class Calls:
    """The calls of all workers: how long each took, and how many failed.

    Args:
        workers: How many workers there are.

    Attributes:
        times: In milliseconds.
        failures: How many answers were errors.
        all_poll: Set when every worker has had its second answer: by then they have started, and
            no longer poll in step.
    """

    def __init__(self, workers: int) -> None:
        self.times: list[float] = []
        self.failures = 0
        self.all_poll = anyio.Event()
        self._starting = workers
        if not workers:
            self.all_poll.set()

    def watch(self, session: httpx.AsyncClient) -> None:
        """Time the calls of a worker's client from now on."""
        answers = 0

        async def end(response: httpx.Response) -> None:
            nonlocal answers
            answers += 1
            if answers == 2:  # noqa: PLR2004 - see all_poll
                self._polls()
            self.times.append(1000 * (time.perf_counter() - response.request.extensions["begin"]))
            self.failures += not response.is_success

        session.event_hooks["request"].append(self._begin)
        session.event_hooks["response"].append(end)

    def _polls(self) -> None:
        self._starting -= 1
        if not self._starting:
            self.all_poll.set()

    @staticmethod
    async def _begin(request: httpx.Request) -> None:
        request.extensions["begin"] = time.perf_counter()
