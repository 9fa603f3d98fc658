"""`meshhook worker`: hand jobs to a handler until stopped."""

import sys
from pathlib import Path
from typing import Annotated

import anyio
import attrs
import typer

from meshhook.cli.exits import usage
from meshhook.cli.project import Settings
from meshhook.cli.watch import Watch
from meshhook.cli.worker import logs
from meshhook.cli.worker.options import WorkerOptions, with_worker
from meshhook.cli.worker.processes import Crew


@with_worker
def worker(  # noqa: PLR0913 - a command's options
    settings: Settings,
    *,
    options: WorkerOptions,
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
    grace_seconds: Annotated[
        float, typer.Option("--grace-seconds", min=0, help="How long a stop waits for handlers.")
    ] = 30,
    processes: Annotated[
        int,
        typer.Option("--processes", min=1, max=256, help="Worker processes, kept running."),
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: restart when code changes.")
    ] = False,
    reload_dirs: Annotated[
        list[Path] | None,
        typer.Option("--reload-dir", metavar="DIR", help="Where changes count (--app-dir)."),
    ] = None,
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
) -> None:
    """Hand jobs to a handler until SIGTERM or Ctrl-C; running jobs are finished first."""
    if reload and processes > 1:
        raise usage("--reload runs one process; leave --processes out")
    options = attrs.evolve(
        options.completed(
            settings,
            poll_interval_ms=poll_interval_ms,
            prefetch=prefetch,
            grace_seconds=grace_seconds,
        ),
        monitoring_host=monitoring_host,
        monitoring_port=monitoring_port,
    )
    if reload or processes > 1:
        folders = reload_dirs or [Path(options.app_dir)]
        raise typer.Exit(_supervise(options, processes, folders if reload else None))
    # Late: a worker's parts take 0.15 s to import, which all other commands would wait for.
    from meshhook.cli.worker.run import work  # noqa: PLC0415

    work(options, on_terminal=sys.stderr.isatty())


def _supervise(options: WorkerOptions, processes: int, watched: list[Path] | None) -> int:
    logs.configure(options.log_level, options.log_format)
    watch = None if watched is None else Watch(watched, ".py")
    grace = options.settings["grace_seconds"]

    async def run() -> int:
        return await Crew(options, processes, grace_seconds=grace, watch=watch).run()

    return anyio.run(run)
