"""A worker that takes all jobs, says so, and never finishes one: to be killed by a test."""

from __future__ import annotations

import sys

import anyio

import meshhook


async def main(queue_name: str) -> None:
    """Work on the queue for ever."""
    begun = 0

    async def handler(_: meshhook.JobMessage) -> None:
        nonlocal begun
        begun += 1
        if begun == 5:
            sys.stdout.write("working\n")
            sys.stdout.flush()
        await anyio.sleep_forever()

    async with meshhook.connect() as client:
        await meshhook.Worker(client, handler, queue_name, visibility_timeout_seconds=30).run()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
