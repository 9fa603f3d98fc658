"""`meshhook drain`: work until the queue is empty."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from meshhook.cli import output
from meshhook.cli.exits import CommandError, ExitCode
from meshhook.cli.options import JsonOption
from meshhook.cli.project import Settings
from meshhook.cli.worker.options import WorkerOptions, with_worker

if TYPE_CHECKING:
    from meshhook.worker.draining import DrainReport

_SIGNALS = {"SIGINT": ExitCode.INTERRUPTED, "SIGTERM": ExitCode.TERMINATED}


@with_worker
def drain(
    settings: Settings,
    *,
    options: WorkerOptions,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", min=1, help="How many jobs at most.")
    ] = None,
    deadline_seconds: Annotated[
        float | None, typer.Option("--deadline-seconds", help="How much time there is in all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hand jobs to a handler until the queue is empty, enough is done, or the time is up."""
    from meshhook.cli.worker import run  # noqa: PLC0415 - as in `meshhook worker`

    options = options.completed(settings, max_jobs=max_jobs, deadline_seconds=deadline_seconds)
    report = run.drain(options, on_terminal=sys.stderr.isatty())
    _show(report, as_json=as_json)
    if report.reason in _SIGNALS:
        raise typer.Exit(_SIGNALS[report.reason])
    if report.outage is not None:
        raise CommandError(f"Supabase could not be reached: {report.outage}", ExitCode.OUTAGE)


def _show(report: "DrainReport", *, as_json: bool) -> None:
    if as_json:
        output.show_json(report)
        return
    output.say(
        f"{report.succeeded} succeeded, {report.failed} failed ({report.moved_to_dlq} to the"
        f" dead letter queue), {report.snoozed} snoozed, {report.released} handed back, in"
        f" {report.seconds:g} s: {report.reason}."
    )
    if report.more_waiting and report.outage is None:
        output.note("More jobs are due.")
