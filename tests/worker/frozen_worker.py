"""A worker whose handler finishes when it reads a line: a test freezes it while it waits."""

from __future__ import annotations

import sys

import anyio

import meshhook


async def main(queue_name: str) -> None:
    """Work on one job and tell what came of it."""
    over = anyio.Event()

    def handler(_: meshhook.JobMessage) -> None:
        say("working")
        sys.stdin.readline()

    async def on_event(event: meshhook.WorkerEvent) -> None:
        if event.kind in {"lost", "succeeded"}:
            over.set()

    async with meshhook.connect() as client:
        worker = meshhook.Worker(
            client, handler, queue_name, visibility_timeout_seconds=30, on_event=on_event
        )
        async with worker:
            await over.wait()
        stats = worker.get_stats()
    say(f"lost {stats.lost} succeeded {stats.succeeded}")


def say(line: str) -> None:
    """Write a line for the test to read."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
