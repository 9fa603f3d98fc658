"""The options of `meshhook worker` and `meshhook drain`, and their form for another process."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import attrs
import typer

from meshhook._inputs import check
from meshhook.cli import complete, project
from meshhook.cli.exits import usage
from meshhook.cli.options import EnvFileOption, KeyOption, UrlOption, with_options
from meshhook.cli.worker import targets


class Loop(StrEnum):
    """The event loops."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


class LogLevel(StrEnum):
    """The lowest level of log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """The form of log lines: for people or for machines."""

    TEXT = "text"
    JSON = "json"


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """The options of a worker process; `Worker` explains each setting.

    Attributes:
        target: The handler, as ``module:name``.
        app_dir: The folder of its module.
        url: The project's URL, None for that of the environment.
        key: The project's key, likewise.
        queues: The queues and their weights.
        fatal_exceptions: Classes, as ``module:name``.
        on_event: A function that gets each event, as ``module:name``, or None.
        on_error: A function that gets each error of an attempt, as ``module:name``, or None.
        retry: The backoff and the last attempt, or None for each queue's own.
        settings: The other arguments of `Worker`, or of a drain, by their names there.
        loop: ``asyncio`` or ``trio``.
        monitoring_host: The address that serves probes and metrics.
        monitoring_port: The port for them, None for none.
        log_level: The lowest level of log lines that are written.
        log_format: ``text`` or ``json``.
        reports_folder: Where the processes of one supervisor mark which errors they have printed.
    """

    target: str
    app_dir: str = "."
    url: str | None = None
    key: str | None = attrs.field(default=None, repr=False)
    queues: dict[str, int] = attrs.field(factory=dict)
    fatal_exceptions: tuple[str, ...] = ()
    on_event: str | None = None
    on_error: str | None = None
    retry: dict[str, int] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    loop: str = "asyncio"
    monitoring_host: str = "127.0.0.1"
    monitoring_port: int | None = None
    log_level: str = "info"
    log_format: str = "text"
    reports_folder: str | None = None

    def completed(self, own: project.Settings, **settings: Any) -> Self:
        """Return the options with the project and more arguments of the worker."""
        return attrs.evolve(
            self,
            url=own.url,
            key=own.key,
            queues=self.queues or {own.queue_name: 1},
            settings={**self.settings, **settings},
        )

    def to_json(self) -> str:
        """Return the options as one line of JSON; it holds the key."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the options that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "fatal_exceptions": tuple(values["fatal_exceptions"])})

    def load(self) -> dict[str, Any]:
        """Import the targets.

        Returns:
            Arguments for `Worker`, except the client.

        Raises:
            CommandError: A target is missing, or is not usable.
        """
        from meshhook.worker.handler import create_job_handler  # noqa: PLC0415 - as `run` is

        function = targets.load(self.target, self.app_dir)
        with targets.building(self.target):
            handler = create_job_handler(function)
        return {
            "job_handler": handler,
            "queue_name": self.queues,
            "fatal_exceptions": [self._exception(name) for name in self.fatal_exceptions],
            "on_event": self.on_event and self._hook("on_event", self.on_event),
            "on_error": self.on_error and self._hook("on_error", self.on_error),
            "retry_config": self.retry,
            **self.settings,
        }

    def _hook(self, name: str, target: str) -> Any:
        hook = targets.load(target, self.app_dir)
        with targets.building(f"--{name.replace('_', '-')} {target}"):
            check.function(name, hook)
        return hook

    def _exception(self, name: str) -> type[BaseException]:
        kind = targets.load(f"builtins:{name}" if ":" not in name else name, self.app_dir)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise usage(f"--fatal-exception {name} is not a class of exceptions")
        return kind


def _shared(  # noqa: PLR0913 - options
    *,
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:HANDLER",
            help="The handler, such as tasks:handle.",
            autocompletion=complete.handlers,
        ),
    ],
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            metavar="NAME[=WEIGHT]",
            help="A queue (workflow_jobs); may be given several times. \\[env var: MESHHOOK_QUEUE]",
            autocompletion=complete.queues,
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", "-c", min=1, help="How many handlers may run at once."),
    ] = 10,
    visibility_timeout_seconds: Annotated[
        float | None,
        typer.Option(
            "--visibility-timeout-seconds",
            min=1,
            help="The lease; it is extended while a handler runs (the queue's).",
        ),
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, help="The last attempt (the queue's).")
    ] = None,
    base_delay_ms: Annotated[
        int | None,
        typer.Option("--base-delay-ms", min=0, help="Delay after a first failure (the queue's)."),
    ] = None,
    max_delay_ms: Annotated[
        int | None,
        typer.Option("--max-delay-ms", min=0, help="What a delay never exceeds (the queue's)."),
    ] = None,
    job_timeout_seconds: Annotated[
        float | None, typer.Option("--job-timeout-seconds", help="How long an attempt may take.")
    ] = None,
    fatal_exceptions: Annotated[
        list[str] | None,
        typer.Option(
            "--fatal-exception",
            metavar="MODULE:CLASS",
            help="After this a job is not tried again; may be given several times.",
        ),
    ] = None,
    on_event: Annotated[
        str | None,
        typer.Option(
            "--on-event",
            metavar="MODULE:FUNCTION",
            help="Called with each WorkerEvent.",
            autocompletion=complete.handlers,
        ),
    ] = None,
    on_error: Annotated[
        str | None,
        typer.Option(
            "--on-error",
            metavar="MODULE:FUNCTION",
            help="Called with error and job of each failed attempt.",
            autocompletion=complete.handlers,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The worker's name (made of host and process).")
    ] = None,
    loop: Annotated[
        Loop, typer.Option("--loop", help="The event loop of async handlers.")
    ] = Loop.ASYNCIO,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="Which log lines to write.")
    ] = LogLevel.INFO,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="For people or machines.")
    ] = LogFormat.TEXT,
    log_tracebacks: Annotated[
        bool,
        typer.Option(
            "--log-tracebacks/--no-log-tracebacks",
            help="Log failed attempts with their tracebacks.",
        ),
    ] = True,
    app_dir: Annotated[
        Path,
        typer.Option("--app-dir", metavar="DIR", help="Where the module is looked for first."),
    ] = Path(),
) -> WorkerOptions:
    return WorkerOptions(
        target=target,
        app_dir=str(app_dir),
        queues=queue_weights(queues or []),
        fatal_exceptions=tuple(fatal_exceptions or ()),
        on_event=on_event,
        on_error=on_error,
        retry=retry_settings(max_attempts, base_delay_ms, max_delay_ms),
        settings={
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


def _project_of_handlers(
    *, url: UrlOption = None, key: KeyOption = None, env_file: EnvFileOption = None
) -> project.Settings:
    """Find the project, and put the file's other settings into the environment of the handlers."""
    settings = project.find(url, key, None, env_file)
    project.export(env_file)
    return settings


with_worker = with_options(settings=_project_of_handlers, options=_shared)
"""Give a command the options of every worker, as its parameters ``settings`` and ``options``."""


def queue_weights(given: Sequence[str]) -> dict[str, int]:
    """Return the weights of queues that are given as NAME or NAME=WEIGHT."""
    weights: dict[str, int] = {}
    for value in given:
        name, has_weight, weight = value.partition("=")
        if has_weight and not weight.isdecimal():
            raise usage(f"--queue {value}: the weight is not a whole number; write NAME=3")
        weights[name] = int(weight) if has_weight else 1
    return weights


def retry_settings(
    max_attempts: int | None, base_delay_ms: int | None, max_delay_ms: int | None
) -> dict[str, int] | None:
    """Return the settings of the backoff that are given, None if none is."""
    given = {
        "max_attempts": max_attempts,
        "base_delay_ms": base_delay_ms,
        "max_delay_ms": max_delay_ms,
    }
    return {name: value for name, value in given.items() if value is not None} or None
