"""`meshhook jobs`: look at jobs, and cancel or retry one."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from meshhook.cli import output
from meshhook.cli.exits import CommandError
from meshhook.cli.options import JsonOption, LimitOption, with_queue
from meshhook.cli.project import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.models import JobRecord
    from meshhook.sync_services import SyncQueueService

app = typer.Typer(help="Look at jobs; cancel one, or run it again.")

PAGE = 1000
"""How many jobs one call lists at most."""

MsgIdArgument = Annotated[int, typer.Argument(metavar="MSG_ID", min=1, help="The job's id.")]

_COLUMNS = ("msg_id:", "run_id", "state", "attempt:", "enqueued", "due or finished", "last error")


class State(StrEnum):
    """The states of a job."""

    AVAILABLE = "available"
    SCHEDULED = "scheduled"
    LEASED = "leased"
    COMPLETED = "completed"
    ARCHIVED = "archived"
    DEAD_LETTERED = "dead_lettered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    REPLAYED = "replayed"


@app.command("list")
@with_queue
def list_all(
    settings: Settings,
    *,
    state: Annotated[
        State | None, typer.Option("--state", help="Only these (all that are in the queue).")
    ] = None,
    limit: LimitOption = 100,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="MSG_ID", min=1, help="Only those before this one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first: those in the queue, or those in a state."""
    with settings.open_queue() as queue:
        # One more than is shown, to know whether there are more.
        found = list(_pages(queue, state, limit + 1, before))
    jobs, more = found[:limit], len(found) > limit
    _show(
        jobs,
        more=more,
        as_json=as_json,
        empty=f"There are no such jobs in {settings.queue_name}.",
    )
    if more and not as_json:
        output.note_rest(len(jobs), None, f"--before {jobs[-1].msg_id}")


def _pages(
    queue: "SyncQueueService", state: State | None, count: int, before: int | None
) -> "Iterator[JobRecord]":
    while count > 0 and (page := queue.list_jobs(state, min(count, PAGE), before)):
        yield from page
        count -= len(page)
        before = page[-1].msg_id


@app.command()
@with_queue
def cancel(settings: Settings, msg_id: MsgIdArgument, *, as_json: JsonOption = False) -> None:
    """Cancel a job, waiting or running; a running handler is cancelled by its worker."""
    with settings.open_queue() as queue:
        if not queue.cancel_job(msg_id):
            job = queue.get_job(msg_id)
            state = f"is {job.state}" if job else "is unknown"
            raise CommandError(f"job {msg_id} is no longer in {queue.queue_name}: it {state}")
    if as_json:
        output.show_json({"msg_id": msg_id, "queue_name": queue.queue_name, "cancelled": True})
    else:
        output.say(f"Cancelled job {msg_id} in {queue.queue_name}.")


@app.command()
@with_queue
def show(settings: Settings, msg_id: MsgIdArgument, *, as_json: JsonOption = False) -> None:
    """Show one job's whole life: waiting, running or finished, with each failed attempt."""
    with settings.open_queue() as queue:
        job = _job(queue, msg_id)
    if as_json:
        output.show_json(job)
        return
    output.show_fields(_fields(job))
    output.show_attempts(job.attempts)


@app.command()
@with_queue
def find(
    settings: Settings,
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run.")],
    *,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=PAGE - 1, help="How many at most.")
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """Find the jobs of a run, oldest first."""
    with settings.open_queue() as queue:
        found = queue.find_jobs(run_id, limit + 1)
    jobs, more = found[:limit], len(found) > limit
    empty = f"No job of the run {run_id} is known in this queue."
    _show(jobs, more=more, as_json=as_json, empty=empty)
    if more and not as_json:
        output.note_rest(len(jobs), None)
    if not jobs:
        raise typer.Exit(1)


@app.command()
@with_queue
def retry(settings: Settings, msg_id: MsgIdArgument, *, as_json: JsonOption = False) -> None:
    """Make a job due now: one that waits for its time, or a dead letter."""
    with settings.open_queue() as queue:
        job = _job(queue, msg_id)
        if job.state == "scheduled":
            _make_due(queue, msg_id)
    if job.state in {"scheduled", "available"}:
        done: dict[str, object] = {"msg_id": msg_id, "queue_name": queue.queue_name}
    else:
        done = _replay(settings, job)
    if as_json:
        output.show_json(done)
    else:
        output.say(f"Job {done['msg_id']} in {done['queue_name']} is due now.")


def _job(queue: "SyncQueueService", msg_id: int) -> "JobRecord":
    job = queue.get_job(msg_id)
    if job is None:
        raise CommandError(f"there is no trace of job {msg_id} in the queue {queue.queue_name}")
    return job


def _make_due(queue: "SyncQueueService", msg_id: int) -> None:
    if not queue.release(msg_id):
        raise CommandError(f"job {msg_id} is gone: it was finished or deleted a moment ago")


def _replay(settings: Settings, job: "JobRecord") -> dict[str, object]:
    if job.state != "dead_lettered" or job.dlq_msg_id is None:
        is_running = job.state == "leased"
        reason = "a worker has it; wait, or cancel it" if is_running else f"it is {job.state}"
        raise CommandError(f"job {job.msg_id} cannot run again: {reason}")
    with settings.open_dlq(job.dlq_name) as dlq:
        replayed = dlq.replay_dead_letter_job(job.dlq_msg_id)
    return {"msg_id": replayed.new_msg_id, "queue_name": replayed.target_queue}


def _show(jobs: "list[JobRecord]", *, more: bool, as_json: bool, empty: str) -> None:
    if as_json:
        output.show_json({"jobs": jobs, "more": more})
    else:
        output.show_table(_COLUMNS, map(_row, jobs), empty)


def _row(job: "JobRecord") -> tuple[object, ...]:
    return (
        job.msg_id,
        job.run_id,
        job.state,
        job.attempt,
        job.enqueued_at,
        job.finished_at or job.vt,
        output.one_line(_last_error(job), 60),
    )


def _last_error(job: "JobRecord") -> str | None:
    if job.attempts:
        return job.attempts[-1].error_message
    error = job.message and job.message.last_error
    return output.as_text(error) if error else None


def _fields(job: "JobRecord") -> list[tuple[str, object]]:
    replayed = job.replayed_at and (
        f"{job.replayed_to} {job.replayed_msg_id}, {output.when(job.replayed_at)}"
    )
    return [
        ("queue", job.queue_name),
        ("msg_id", job.msg_id),
        ("run_id", job.run_id),
        ("state", job.state),
        ("attempt", job.attempt),
        ("deliveries", job.read_ct),
        ("enqueued", job.enqueued_at),
        ("visible", job.vt),
        ("finished", job.finished_at),
        ("took", None if job.seconds is None else f"{job.seconds:.3f} s"),
        ("dead letter", job.dlq_name and f"{job.dlq_name} {job.dlq_msg_id}"),
        ("replayed to", replayed),
        ("message", None if job.message is None else output.indented(dict(job.message))),
    ]
