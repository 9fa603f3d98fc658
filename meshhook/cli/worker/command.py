"""`meshhook worker`: hand jobs to a handler until told to stop."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshhook.cli import complete, project
from meshhook.cli.exits import usage
from meshhook.cli.options import EnvFileOption, KeyOption, UrlOption

if TYPE_CHECKING:
    from meshhook.cli.worker.options import WorkerOptions


class Loop(StrEnum):
    """The event loops."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


class LogLevel(StrEnum):
    """From which level on log lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For whom log lines are."""

    TEXT = "text"
    JSON = "json"


TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:HANDLER",
        help="The handler, such as tasks:handle.",
        autocompletion=complete.handlers,
    ),
]
QueuesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME[=WEIGHT]",
        help="A queue (workflow_jobs); may be given several times. \\[env var: MESHHOOK_QUEUE]",
        autocompletion=complete.queues,
    ),
]
AppDirOption = Annotated[
    Path, typer.Option("--app-dir", metavar="DIR", help="Where the module is looked for first.")
]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", "-c", min=1, help="How many handlers may run at once.")
]
VisibilityTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--visibility-timeout-seconds",
        min=1,
        help="The lease; it is extended while a handler runs (the queue's).",
    ),
]
MaxAttemptsOption = Annotated[
    int | None, typer.Option("--max-attempts", min=1, help="The last attempt (the queue's).")
]
BaseDelayOption = Annotated[
    int | None,
    typer.Option("--base-delay-ms", min=0, help="Delay after a first failure (the queue's)."),
]
MaxDelayOption = Annotated[
    int | None,
    typer.Option("--max-delay-ms", min=0, help="What a delay never exceeds (the queue's)."),
]
JobTimeoutOption = Annotated[
    float | None, typer.Option("--job-timeout-seconds", help="How long an attempt may take.")
]
FatalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fatal-exception",
        metavar="MODULE:CLASS",
        help="After this a job is not tried again; may be given several times.",
    ),
]
OnEventOption = Annotated[
    str | None,
    typer.Option(
        "--on-event",
        metavar="MODULE:FUNCTION",
        help="Called with each WorkerEvent.",
        autocompletion=complete.handlers,
    ),
]
OnErrorOption = Annotated[
    str | None,
    typer.Option(
        "--on-error",
        metavar="MODULE:FUNCTION",
        help="Called with error and job of each failed attempt.",
    ),
]
LogTracebacksOption = Annotated[
    bool,
    typer.Option(
        "--log-tracebacks/--no-log-tracebacks", help="Log failed attempts with their tracebacks."
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="What the worker is called (made of host and process).")
]
LoopOption = Annotated[Loop, typer.Option("--loop", help="The event loop of async handlers.")]
LogLevelOption = Annotated[LogLevel, typer.Option("--log-level", help="Which log lines to write.")]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="For people or machines.")]


def worker(  # noqa: PLR0913 - a command's options
    target: TargetArgument,
    *,
    queues: QueuesOption = None,
    concurrency: ConcurrencyOption = 10,
    prefetch: Annotated[
        int | None,
        typer.Option(
            "--prefetch",
            min=0,
            help="Jobs claimed beyond the handlers free. \\[default: as needed]",
        ),
    ] = None,
    poll_interval_ms: Annotated[
        int, typer.Option("--poll-interval-ms", min=1, help="Pause after an empty queue.")
    ] = 1000,
    visibility_timeout_seconds: VisibilityTimeoutOption = None,
    max_attempts: MaxAttemptsOption = None,
    base_delay_ms: BaseDelayOption = None,
    max_delay_ms: MaxDelayOption = None,
    job_timeout_seconds: JobTimeoutOption = None,
    grace_seconds: Annotated[
        float, typer.Option("--grace-seconds", min=0, help="How long a stop waits for handlers.")
    ] = 30,
    fatal_exceptions: FatalOption = None,
    on_event: OnEventOption = None,
    on_error: OnErrorOption = None,
    name: NameOption = None,
    processes: Annotated[
        int,
        typer.Option("--processes", min=1, max=256, help="Worker processes, kept running."),
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start anew when code changes.")
    ] = False,
    reload_dirs: Annotated[
        list[Path] | None,
        typer.Option("--reload-dir", metavar="DIR", help="Where changes count (--app-dir)."),
    ] = None,
    loop: LoopOption = Loop.ASYNCIO,
    monitoring_host: Annotated[
        str, typer.Option("--monitoring-host", help="Where probes and metrics are served.")
    ] = "127.0.0.1",
    monitoring_port: Annotated[
        int | None,
        typer.Option(
            "--monitoring-port",
            min=0,
            max=65_535,
            help="Serve /healthz, /readyz and /metrics; process 2 takes the next port, and so on.",
        ),
    ] = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_tracebacks: LogTracebacksOption = True,
    app_dir: AppDirOption = Path(),
    url: UrlOption = None,
    key: KeyOption = None,
    env_file: EnvFileOption = None,
) -> None:
    """Hand jobs to a handler until SIGTERM or Ctrl-C; running jobs are finished first."""
    from meshhook.cli.worker.options import (  # noqa: PLC0415 - heavy
        WorkerOptions,
        queue_weights,
        retry_settings,
    )

    if reload and processes > 1:
        raise usage("--reload runs one process; leave --processes out")
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
            "poll_interval_ms": poll_interval_ms,
            "visibility_timeout_seconds": visibility_timeout_seconds,
            "concurrency": concurrency,
            "prefetch": prefetch,
            "job_timeout_seconds": job_timeout_seconds,
            "grace_seconds": grace_seconds,
            "log_tracebacks": log_tracebacks,
            "name": name,
        },
        loop=loop,
        monitoring_host=monitoring_host,
        monitoring_port=monitoring_port,
        log_level=log_level,
        log_format=log_format,
    )
    if reload or processes > 1:
        code = _supervise(options, processes, [*(reload_dirs or [app_dir])] if reload else [])
        raise typer.Exit(code)
    from meshhook.cli.worker.run import work  # noqa: PLC0415 - heavy

    work(options, on_terminal=sys.stderr.isatty())


def _supervise(options: "WorkerOptions", processes: int, reload_dirs: list[Path]) -> int:
    import anyio  # noqa: PLC0415 - heavy

    from meshhook.cli.watch import Watch  # noqa: PLC0415 - heavy
    from meshhook.cli.worker import logs  # noqa: PLC0415 - heavy
    from meshhook.cli.worker.processes import Crew  # noqa: PLC0415 - heavy

    logs.configure(options.log_level, options.log_format)
    watch = Watch(reload_dirs, ".py") if reload_dirs else None
    grace = options.settings["grace_seconds"]

    async def run() -> int:
        return await Crew(options, processes, grace_seconds=grace, watch=watch).run()

    return anyio.run(run)
