"""Deliver webhooks, end to end: what MeshHook does, in one file.

    make demo

Starts the embedded stack and a receiver that fails in several ways. Enqueues the deliveries of
`webhook_deliveries.jsonl` and lets two workers deliver them. A failed delivery is retried with
backoff, until the receiver accepts it or it goes to the dead letter queue. Then the broken receiver
is repaired, and its dead letters are replayed. Every number comes from the queue, the workers or
the receiver. The exit code is 1 if a delivery is unaccounted for.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from webhook_receiver import Receiver

import meshhook
from meshhook.local import LocalStack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supabase import AsyncClient

DELIVERIES = Path(__file__).parent / "webhook_deliveries.jsonl"
RETRY_CONFIG = {"base_delay_ms": 250, "max_delay_ms": 2000, "max_attempts": 4}
GIVE_UP_AFTER_SECONDS = 50

console = Console()


def read_deliveries(path: Path) -> list[dict[str, Any]]:
    """Read one delivery from each line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def enqueue(queue: meshhook.QueueService, deliveries: list[dict[str, Any]]) -> None:
    """Enqueue all deliveries, some of them with a delay."""
    jobs = [
        {
            "run_id": delivery["run_id"],
            "workflow_id": delivery["workflow_id"],
            "project_id": delivery["project_id"],
            "metadata": {key: delivery[key] for key in ("endpoint", "event", "body")},
        }
        for delivery in deliveries
    ]
    delays = [delivery.get("delay_seconds", 0) for delivery in deliveries]
    batch = await queue.enqueue_many(jobs, delays)
    metrics = await queue.get_queue_metrics()
    console.print(
        f"Enqueued [bold]{len(batch)}[/] deliveries: {metrics.visible_jobs} due now, "
        f"{metrics.invisible_jobs} delayed."
    )


def deliver_to(
    receiver_url: str, http: httpx.AsyncClient
) -> Callable[[meshhook.JobMessage], Awaitable[None]]:
    """Return the handler: it sends one POST and turns the status into an answer for the job."""

    async def deliver(message: meshhook.JobMessage) -> None:
        endpoint = message.metadata["endpoint"]
        answer = await http.post(
            receiver_url + endpoint,
            json={"delivery": message.run_id, "body": message.metadata["body"]},
        )
        if answer.status_code == httpx.codes.GONE:
            raise meshhook.DeadLetter(f"{endpoint} is gone (410)")
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            pause = float(answer.headers["Retry-After"])
            raise meshhook.Retry(after_seconds=pause, reason=f"{endpoint} is busy (429)")
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{endpoint} answered {answer.status_code}", request=answer.request, response=answer
            )

    return deliver


async def watch(queue: meshhook.QueueService, total: int, title: str) -> None:
    """Show a progress bar until the queue is empty."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[waiting]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, waiting="")
        with anyio.fail_after(GIVE_UP_AFTER_SECONDS):
            while True:
                metrics = await queue.get_queue_metrics()
                left = metrics.queue_length
                waiting = f"{metrics.invisible_jobs} running or waiting for a retry" if left else ""
                progress.update(task, completed=total - left, waiting=waiting)
                if not left:
                    return
                await anyio.sleep(0.1)


def print_worker_statistics(workers: dict[str, meshhook.Worker]) -> None:
    """Print what each worker counted."""
    table = Table(title="Workers (worker.get_stats())", title_justify="left")
    fields = ("processed", "succeeded", "failed", "retried", "moved_to_dlq", "lost")
    for heading in ("worker", *fields):
        table.add_column(heading, justify="right")
    for name, worker in workers.items():
        stats = worker.get_stats()
        table.add_row(name, *(str(getattr(stats, field)) for field in fields))
    console.print(table)


async def print_job_statistics(client: AsyncClient) -> None:
    """Print the queue's row of the view job_statistics."""
    view = client.table("job_statistics")
    answer = await view.select("*").eq("queue_name", "workflow_jobs").single().execute()
    row = cast("dict[str, Any]", answer.data)
    table = Table("column", "value", title="select * from job_statistics", title_justify="left")
    for name, value in row.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)


async def print_dead_letters(
    dlq: meshhook.DLQService,
) -> dict[str, list[meshhook.DeadLetterJob]]:
    """Print the dead letters by error, and return them."""
    groups = await dlq.get_jobs_by_error_type()
    table = Table(title="Dead letters by error", title_justify="left")
    table.add_column("error")
    table.add_column("count", justify="right")
    table.add_column("deliveries of the first", justify="right")
    for error, jobs in groups.items():
        table.add_row(error, str(len(jobs)), str(jobs[0].message.read_count))
    console.print(table)
    return groups


async def replay_repaired(
    queue: meshhook.QueueService,
    dlq: meshhook.DLQService,
    groups: dict[str, list[meshhook.DeadLetterJob]],
) -> list[str]:
    """Replay the deliveries of the repaired receiver, and return their ids."""
    error, jobs = next((error, jobs) for error, jobs in groups.items() if "/hooks/broken" in error)
    summary = await dlq.replay_multiple_jobs([job.msg_id for job in jobs])
    console.print(
        f"The receiver is repaired. Replayed {summary.success} of “{error}”, "
        f"{summary.failed} failed."
    )
    await watch(queue, summary.success, "Delivering the replayed")
    return [job.message.run_id for job in jobs]


async def account_for(
    deliveries: list[dict[str, Any]],
    receiver: Receiver,
    queue: meshhook.QueueService,
    dlq: meshhook.DLQService,
) -> bool:
    """Return whether each delivery was taken or is dead-lettered, and the queue is empty."""
    expected = {delivery["run_id"] for delivery in deliveries}
    dead = {job.message.run_id async for job in dlq.iterate_dead_letter_jobs()}
    taken = set(receiver.delivered)
    repeated = sum(times - 1 for times in receiver.delivered.values())
    metrics = await queue.get_queue_metrics()
    missing = expected - taken - dead
    console.print(
        f"Of [bold]{len(expected)}[/] deliveries {len(taken)} were taken ({repeated} twice), "
        f"{len(dead - taken)} are dead letters, {metrics.queue_length} are still queued, "
        f"[bold]{len(missing)} are unaccounted for[/]."
    )
    return not missing and not (dead & taken) and not metrics.queue_length


async def main() -> int:
    """Run the demo and return the exit code."""
    begin = time.monotonic()
    deliveries = read_deliveries(DELIVERIES)
    with Receiver() as receiver:
        async with LocalStack() as stack, meshhook.connect(stack.url, stack.secret_key) as client:
            console.print(f"Stack at {stack.url}, receiver at {receiver.url}.")
            accounted = await deliver_all(client, receiver, deliveries)
    console.print(f"Took {time.monotonic() - begin:.1f} s.")
    return 0 if accounted else 1


async def deliver_all(
    client: AsyncClient, receiver: Receiver, deliveries: list[dict[str, Any]]
) -> bool:
    """Deliver everything, show the results, and return whether all are accounted for."""
    queue, dlq = meshhook.QueueService(client), meshhook.DLQService(client)
    await enqueue(queue, deliveries)
    async with httpx.AsyncClient() as http:
        workers = {
            name: meshhook.Worker(
                supabase_client=client,
                job_handler=deliver_to(receiver.url, http),
                poll_interval_ms=200,
                retry_config=RETRY_CONFIG,
                name=name,
            )
            for name in ("worker-1", "worker-2")
        }
        async with workers["worker-1"], workers["worker-2"]:
            await watch(queue, len(deliveries), "Delivering")
            console.print(f"The receiver answered {dict(receiver.answers.most_common())}.")
            print_worker_statistics(workers)
            await print_job_statistics(client)
            groups = await print_dead_letters(dlq)
            receiver.repair()
            replayed = await replay_repaired(queue, dlq, groups)
            console.print(
                f"{sum(run_id in receiver.delivered for run_id in replayed)} of the "
                f"{len(replayed)} replayed have been taken now."
            )
    return await account_for(deliveries, receiver, queue, dlq)


if __name__ == "__main__":
    try:
        sys.exit(anyio.run(main))
    except KeyboardInterrupt:
        sys.exit(130)  # the exit code that shells use after Ctrl-C
