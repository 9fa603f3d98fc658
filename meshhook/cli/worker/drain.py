"""`meshhook drain`: work until the queue is empty."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshhook.cli import output, project
from meshhook.cli.exits import ExitCode
from meshhook.cli.options import EnvFileOption, JsonOption, KeyOption, UrlOption
from meshhook.cli.worker import command

if TYPE_CHECKING:
    from meshhook.cli.worker.options import WorkerOptions
    from meshhook.serverless import DrainReport

_SIGNALS = {"SIGINT": ExitCode.INTERRUPTED, "SIGTERM": ExitCode.TERMINATED}


def drain(  # noqa: PLR0913 - a command's options
    target: command.TargetArgument,
    *,
    queues: command.QueuesOption = None,
    max_jobs: Annotated[
        int | None, typer.Option("--max-jobs", min=1, help="How many jobs at the most.")
    ] = None,
    deadline_seconds: Annotated[
        float | None, typer.Option("--deadline-seconds", help="How much time there is in all.")
    ] = None,
    concurrency: command.ConcurrencyOption = 10,
    visibility_timeout_seconds: command.VisibilityTimeoutOption = None,
    max_attempts: command.MaxAttemptsOption = None,
    base_delay_ms: command.BaseDelayOption = None,
    max_delay_ms: command.MaxDelayOption = None,
    job_timeout_seconds: command.JobTimeoutOption = None,
    fatal_exceptions: command.FatalOption = None,
    on_event: command.OnEventOption = None,
    on_error: command.OnErrorOption = None,
    name: command.NameOption = None,
    loop: command.LoopOption = command.Loop.ASYNCIO,
    log_level: command.LogLevelOption = command.LogLevel.INFO,
    log_format: command.LogFormatOption = command.LogFormat.TEXT,
    log_tracebacks: command.LogTracebacksOption = True,
    app_dir: command.AppDirOption = Path(),
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    env_file: EnvFileOption = None,
) -> None:
    """Hand jobs to a handler until the queue is empty, enough is done, or the time is up."""
    from meshhook.cli.worker.options import (  # noqa: PLC0415 - heavy
        WorkerOptions,
        queue_weights,
        retry_settings,
    )

    settings = project.find(url, key, None, env_file)
    project.export(env_file)
    options = WorkerOptions(
        target=target,
        app_dir=str(app_dir),
        url=settings.url,
        key=settings.key,
        queues=queue_weights(queues or [], settings.queue_name),
        fatal_exceptions=tuple(fatal_exceptions or ()),
        on_event=on_event,
        on_error=on_error,
        retry=retry_settings(max_attempts, base_delay_ms, max_delay_ms),
        settings={
            "max_jobs": max_jobs,
            "deadline_seconds": deadline_seconds,
            "visibility_timeout_seconds": visibility_timeout_seconds,
            "concurrency": concurrency,
            "job_timeout_seconds": job_timeout_seconds,
            "log_tracebacks": log_tracebacks,
            "name": name,
        },
        loop=loop,
        log_level=log_level,
        log_format=log_format,
    )
    report = _drain(options)
    _show(report, as_json=as_json)
    if report.reason in _SIGNALS:
        raise typer.Exit(_SIGNALS[report.reason])


def _show(report: "DrainReport", *, as_json: bool) -> None:
    if as_json:
        output.show_json(report)
    else:
        output.say(
            f"{report.succeeded} succeeded, {report.failed} failed ({report.moved_to_dlq} to the"
            f" dead letter queue), {report.snoozed} snoozed, {report.released} handed back, in"
            f" {report.seconds:g} s: {report.reason}."
        )
    if report.more_waiting and not as_json:
        output.note("More jobs are due.")


def _drain(options: "WorkerOptions") -> "DrainReport":
    import anyio  # noqa: PLC0415 - heavy

    from meshhook import connect  # noqa: PLC0415 - heavy
    from meshhook.cli.worker import logs  # noqa: PLC0415 - heavy
    from meshhook.cli.worker.run import backend, run_shown  # noqa: PLC0415 - heavy
    from meshhook.worker.draining import Draining  # noqa: PLC0415 - heavy

    arguments: Any = options.load()
    logs.configure(options.log_level, options.log_format)
    handler = arguments.pop("job_handler")

    async def run() -> "DrainReport":
        async with connect(options.url, options.key) as client:
            draining = Draining.by_client(client, handler, arguments)
            work = functools.partial(draining.run, handles_signals=True)
            return await run_shown(draining, work, on_terminal=sys.stderr.isatty())

    return anyio.run(run, backend=backend(options.loop))
