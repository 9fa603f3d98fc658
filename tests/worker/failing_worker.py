"""A worker of a job that fails, in a program that sets up no logging."""

from __future__ import annotations

import sys

import anyio

import meshhook
from tests.jobs import job_data


async def send_mail(_: meshhook.JobMessage) -> None:
    """Fail as handlers do."""
    raise RuntimeError("the mail server is down")


async def main(url: str, key: str, queue_name: str) -> None:
    """Work until the job is given up."""
    gone = anyio.Event()

    async def on_event(event: meshhook.WorkerEvent) -> None:
        if event.kind == "dead_lettered":
            gone.set()

    async with meshhook.connect(url, key) as client:
        await meshhook.QueueService(client, queue_name).enqueue(job_data(max_attempts=2))
        retry = {"base_delay_ms": 0, "max_delay_ms": 0}
        async with meshhook.Worker(
            client,
            send_mail,
            queue_name,
            poll_interval_ms=20,
            retry_config=retry,
            on_event=on_event,
        ):
            await gone.wait()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
