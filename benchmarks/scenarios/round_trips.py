"""How many round trips a worker makes: per job at full speed, and while it is idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

import meshhook
from benchmarks import processes
from benchmarks.counting import RoundTrips
from benchmarks.results import Result, Row, at_most

if TYPE_CHECKING:
    from benchmarks.processes import Gate
    from benchmarks.settings import Settings
    from benchmarks.target import Space

BUSY = "RPCs per job at full speed"
IDLE = "RPCs per poll interval while idle"
POLL_INTERVAL_MS = 100


def measure(space: Space, settings: Settings) -> Result:
    """Count the requests of a worker that drains and of one that waits."""
    jobs = settings.size(20_000, 2000)
    intervals = settings.size(50, 8)
    busy = [_busy(space, jobs) for _ in range(settings.runs)]
    idle = [_idle(space, intervals) for _ in range(settings.runs)]
    rows = [Row(BUSY, "", busy, "RPC"), Row(IDLE, "", idle, "RPC")]
    return Result(
        name="round_trips",
        title="Round trips of a worker, counted",
        how=[
            f"full speed: `Worker` with its default settings drains {jobs:,} no-op jobs",
            "all its requests count, from the start to the end of the worker",
            f"idle: {intervals} polls one after the other, at an interval of {POLL_INTERVAL_MS} ms",
        ],
        x_title="",
        rows=rows,
        verdicts=[
            at_most("at most 0.02 RPC per job at full speed", max(busy), 0.02),
            at_most("at most one RPC per poll interval while idle", max(idle), 1),
        ],
    )


def _busy(space: Space, jobs: int) -> float:
    with space.queue() as queue_name:
        space.fill(queue_name, jobs)
        count: int = processes.run(
            drain, jobs=jobs, queue_name=queue_name, url=space.target.url, key=space.target.key
        ).value
    return count / jobs


def _idle(space: Space, intervals: int) -> float:
    with space.queue() as queue_name:
        outcome = processes.run(
            idle,
            intervals=intervals,
            queue_name=queue_name,
            url=space.target.url,
            key=space.target.key,
        )
    polls, seconds = outcome.value
    return float(polls / whole_intervals(seconds))


def whole_intervals(seconds: float) -> int:
    """Return how many poll intervals a time has, rounded.

    A request leaves a few milliseconds after its poll began, on a busy machine more, so a time
    between two requests may seem to be a little less than the intervals between their polls.
    """
    return round(1000 * seconds / POLL_INTERVAL_MS)


def drain(gate: Gate, jobs: int, queue_name: str, url: str, key: str) -> int:
    """Drain a queue, and return how many requests that took."""
    gate.wait()
    return anyio.run(count_of_drain, jobs, queue_name, url, key)


async def count_of_drain(jobs: int, queue_name: str, url: str, key: str) -> int:
    """Drain a queue, and return how many requests that took."""
    done = 0

    async def handler(_: meshhook.JobMessage) -> None:
        nonlocal done
        done += 1
        if done == jobs:
            enough.set()

    enough = anyio.Event()
    async with meshhook.connect(url, key) as client:
        round_trips = RoundTrips(client)
        async with meshhook.Worker(client, handler, queue_name):
            await enough.wait()
    return len(round_trips)


def idle(gate: Gate, intervals: int, queue_name: str, url: str, key: str) -> tuple[int, float]:
    """Let a worker wait for jobs that never come, and count."""
    gate.wait()
    return anyio.run(count_of_polls, intervals, queue_name, url, key)


async def count_of_polls(intervals: int, queue_name: str, url: str, key: str) -> tuple[int, float]:
    """Let a worker poll an empty queue; return how many requests it made in how many seconds.

    The first pause, of any length up to the interval, does not count: it keeps workers that start
    together from always polling at the same time.
    """

    async def handler(_: meshhook.JobMessage) -> None:
        raise AssertionError

    async with meshhook.connect(url, key) as client:
        round_trips = RoundTrips(client)
        async with meshhook.Worker(client, handler, queue_name, poll_interval_ms=POLL_INTERVAL_MS):
            with anyio.fail_after(30 + 2 * intervals * POLL_INTERVAL_MS / 1000):
                await round_trips.wait_for(intervals + 2)
            # Before the stop, which makes another call.
            times = [at for _, at in round_trips.calls[1:]]
    return len(times) - 1, times[-1] - times[0]
