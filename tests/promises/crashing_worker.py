"""A worker whose handler ends the whole process: to be run by a test."""

from __future__ import annotations

import os
import sys

import anyio

import meshhook


async def main(queue_name: str) -> None:
    """Work on the queue until the first job."""
    async with meshhook.connect() as client:
        await meshhook.Worker(client, crash, queue_name, visibility_timeout_seconds=30).run()


async def crash(_: meshhook.JobMessage) -> None:
    """End the process without a word, as a fault in a C extension would."""
    os._exit(86)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
