"""`meshhook stats`: depth, rates and failures of the queues, once or live."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.console import Group
from rich.live import Live

from meshhook._calls import inspect
from meshhook._http import views
from meshhook._http.transport import SyncTransport
from meshhook.cli import complete, output
from meshhook.cli.options import JsonOption, with_project
from meshhook.cli.project import Settings
from meshhook.exceptions import OutageError, QueueNotFoundError
from meshhook.sync_services import SyncQueueService

if TYPE_CHECKING:
    from rich.table import Table
    from supabase import Client

    from meshhook.models import WorkerInfo

_COLUMNS = (
    "queue",
    "due:",
    "hidden:",
    "oldest:",
    "in/s:",
    "done/s:",
    "done:",
    "dead-lettered:",
    "in dlq:",
    "average s:",
)

_WORKER_COLUMNS = (
    "worker",
    "state",
    "queues",
    "running:",
    "host",
    "pid:",
    "since",
    "seen",
    "version",
)


@attrs.frozen(kw_only=True)
class QueueStats:
    """The numbers of a queue at one moment.

    Attributes:
        queue_name: The queue.
        visible_jobs: Jobs that can be claimed now.
        invisible_jobs: Jobs that are running or wait for their time.
        oldest_job_age_seconds: Age of the oldest job, None in an empty queue.
        completed_jobs: Jobs that were completed so far.
        failed_jobs: Jobs that went to the dead letter queue so far.
        dlq_jobs: Dead letters that are there now.
        avg_processing_time_seconds: How long an attempt takes on average.
        avg_attempts: How many attempts a job takes on average.
        enqueued_per_second: Since the numbers before; None the first time.
        finished_per_second: Likewise.
    """

    queue_name: str
    visible_jobs: int
    invisible_jobs: int
    oldest_job_age_seconds: int | None
    completed_jobs: int
    failed_jobs: int
    dlq_jobs: int
    avg_processing_time_seconds: float | None
    avg_attempts: float | None
    enqueued_per_second: float | None = None
    finished_per_second: float | None = None

    @property
    def finished(self) -> int:
        """Jobs that were finished so far."""
        return self.completed_jobs + self.failed_jobs

    @property
    def enqueued(self) -> int:
        """Jobs that were enqueued so far: those that are there, and those that were finished."""
        return self.finished + self.visible_jobs + self.invisible_jobs


@attrs.frozen
class Look:
    """The numbers of a project at one moment.

    Attributes:
        queues: The numbers of each queue.
        workers: The workers of these queues that were seen within a day.
    """

    queues: Sequence[QueueStats]
    workers: "Sequence[WorkerInfo]"


@with_project
def stats(
    settings: Settings,
    *,
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            metavar="NAME",
            help="A queue (all); may be given several times.",
            autocompletion=complete.queues,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    interval_seconds: Annotated[
        float, typer.Option("--interval-seconds", min=0.1, help="How often, with --watch.")
    ] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Show depth, age, rates and failures of the queues."""
    with settings.connect() as client:
        if watch:
            _watch(client, queues or [], interval_seconds, as_json=as_json)
            return
        seen = look(client, queues or [])
        reasons = list(_missing(client, queues or [], seen).values())
    _show(seen, as_json=as_json)
    for reason in reasons:
        output.note(reason)
    if reasons:
        raise typer.Exit(1)


def _missing(client: "Client", queues: list[str], seen: Look) -> dict[str, str]:
    """Return the queues that were asked for and are not there, each with the reason."""
    names = sorted(set(queues) - {queue.queue_name for queue in seen.queues})
    return {name: _why_missing(client, name) for name in names}


def _why_missing(client: "Client", queue_name: str) -> str:
    """Return the database's error for a queue that is not there; it suggests a similar name."""
    try:
        SyncQueueService(client, queue_name).get_queue_metrics()
    except QueueNotFoundError as error:
        return output.flat(str(error))
    return f"There was no queue {queue_name} a moment ago."


def look(client: "Client", queues: Sequence[str]) -> Look:
    """Read the numbers of queues and their workers; by default of all but dead letter queues."""
    # First: the error of a missing function is clearer than that of a missing view.
    workers = SyncTransport(client).call(inspect.workers())
    depths = {row["queue_name"]: row for row in views.read(client, "queue_monitoring")}
    totals = {row["queue_name"]: row for row in views.read(client, "job_statistics")}
    names = [name for name in sorted(depths) if name in (queues or totals)]
    return Look(
        [_stats(name, depths[name], totals.get(name, {})) for name in names],
        [worker for worker in workers if set(worker.queue_names) & set(names)],
    )


def _stats(name: str, depth: dict[str, Any], totals: dict[str, Any]) -> QueueStats:
    return QueueStats(
        queue_name=name,
        visible_jobs=depth["visible_jobs"],
        invisible_jobs=depth["invisible_jobs"],
        oldest_job_age_seconds=depth["oldest_job_age_seconds"],
        completed_jobs=totals.get("completed_jobs", 0),
        failed_jobs=totals.get("failed_jobs", 0),
        dlq_jobs=totals.get("dlq_jobs", 0),
        avg_processing_time_seconds=totals.get("avg_processing_time_seconds"),
        avg_attempts=totals.get("avg_attempts"),
    )


def with_rates(before: Look, after: Look, seconds: float) -> Look:
    """Return the later numbers with the changes since the earlier ones, for each second."""
    known = {queue.queue_name: queue for queue in before.queues}
    return attrs.evolve(
        after,
        queues=[
            attrs.evolve(
                queue,
                enqueued_per_second=round((queue.enqueued - then.enqueued) / seconds, 2),
                finished_per_second=round((queue.finished - then.finished) / seconds, 2),
            )
            if (then := known.get(queue.queue_name))
            else queue
            for queue in after.queues
        ],
    )


def _watch(client: "Client", queues: list[str], interval: float, *, as_json: bool) -> None:
    """Show the numbers repeatedly: live on a terminal, one after the other in a pipe."""
    if as_json or not sys.stdout.isatty():
        for seen in _looks(client, queues, interval):
            _show(seen, as_json=as_json)
            sys.stdout.flush()
        return
    with Live(console=output.console(), auto_refresh=False) as live:
        for seen in _looks(client, queues, interval):
            live.update(Group(*_tables(seen)), refresh=True)


def _looks(client: "Client", queues: list[str], interval: float) -> Iterator[Look]:
    before = Look((), ())
    since = time.monotonic()
    missing: dict[str, str] = {}
    while True:
        try:
            seen, now = look(client, queues), time.monotonic()
            was_missing, missing = missing, _missing(client, queues, seen)
        except OutageError as error:
            output.note(f"meshhook stats: {output.flat(str(error))}")
        else:
            for name in missing.keys() - was_missing.keys():
                output.note(missing[name])
            yield with_rates(before, seen, max(now - since, 0.001))
            before, since = seen, now
        time.sleep(interval)


def _show(seen: Look, *, as_json: bool) -> None:
    if as_json:
        output.show_json(seen)
        return
    for table in _tables(seen):
        output.show(table)
        output.say("")


def _tables(seen: Look) -> "Iterator[Table]":
    yield output.table(_COLUMNS, map(_row, seen.queues))
    if seen.workers:
        yield output.table(_WORKER_COLUMNS, map(_worker_row, seen.workers))


def _row(queue: QueueStats) -> tuple[object, ...]:
    average = queue.avg_processing_time_seconds
    return (
        queue.queue_name,
        queue.visible_jobs,
        queue.invisible_jobs,
        output.age(queue.oldest_job_age_seconds),
        _rate(queue.enqueued_per_second),
        _rate(queue.finished_per_second),
        queue.completed_jobs,
        queue.failed_jobs,
        queue.dlq_jobs,
        None if average is None else f"{average:.3f}",
    )


def _rate(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.1f}"


def _worker_row(worker: "WorkerInfo") -> tuple[object, ...]:
    return (
        worker.name or worker.worker_id,
        "alive" if worker.is_alive else "gone",
        ", ".join(worker.queue_names),
        f"{worker.running} of {worker.concurrency}",
        worker.host,
        worker.pid,
        worker.started_at,
        worker.seen_at,
        worker.version,
    )
