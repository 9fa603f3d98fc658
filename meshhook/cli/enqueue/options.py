"""The options of `meshhook enqueue`, in three groups."""

import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from meshhook.cli.exits import usage
from meshhook.cli.options import DryRunOption, JsonOption

BATCH_SIZE = 1000
IDEMPOTENCY_SECONDS = 86_400.0


@attrs.frozen(kw_only=True)
class Source:
    """Options of jobs from a file or a pipe."""

    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="JSON Lines: one job on each line."),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            max=10_000,
            help=f"Lines in each transaction ({BATCH_SIZE}).",
        ),
    ] = None
    resume_from: Annotated[
        int | None,
        typer.Option("--resume-from", min=1, metavar="LINE", help="Begin with this line (1)."),
    ] = None
    upload: Annotated[
        str | None,
        typer.Option("--upload", metavar="NAME", help="A name that makes repeats of it harmless."),
    ] = None
    again: Annotated[
        bool, typer.Option("--again", help="Enqueue a file's jobs even if a run before has.")
    ] = False

    def refuse_for_arguments(self) -> None:
        """Refuse the options if the jobs are arguments."""
        given = attrs.asdict(self, filter=lambda _, value: value not in (None, False))
        for name in given:
            raise usage(f"--{name.replace('_', '-')} is for a --file or a pipe, not for arguments")


@attrs.frozen(kw_only=True)
class OneJob:
    """Options of one job that is made of its metadata."""

    metadata: Annotated[
        str | None,
        typer.Option(
            "--metadata",
            metavar="JSON",
            help=(
                "One job with this metadata, a JSON object. Its run_id is random; workflow_id and"
                " project_id are a UUID made from the queue's name."
            ),
        ),
    ] = None
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", metavar="UUID", help="With --metadata: the run."),
    ] = None
    workflow_id: Annotated[
        str | None,
        typer.Option("--workflow-id", metavar="UUID", help="With --metadata: the workflow."),
    ] = None
    project_id: Annotated[
        str | None,
        typer.Option("--project-id", metavar="UUID", help="With --metadata: the project."),
    ] = None

    @property
    def ids(self) -> dict[str, str]:
        """The ids that are given, by their names."""
        ids = {
            "run_id": self.run_id,
            "workflow_id": self.workflow_id,
            "project_id": self.project_id,
        }
        return {name: value for name, value in ids.items() if value is not None}


@attrs.frozen(kw_only=True)
class How:
    """Options of all jobs: when they may run, once under which key, and what is shown."""

    delay_seconds: Annotated[
        float, typer.Option("--delay-seconds", min=0, help="How long they stay hidden.")
    ] = 0
    run_at: Annotated[
        str | None,
        typer.Option(
            "--run-at",
            metavar="TIME",
            help="When they may run instead, such as 2027-01-01T09:00:00+01:00.",
        ),
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="NAME", help="Enqueue the arguments once under this name."
        ),
    ] = None
    idempotency_seconds: Annotated[
        float, typer.Option("--idempotency-seconds", min=1, help="How long names are remembered.")
    ] = IDEMPOTENCY_SECONDS
    dry_run: DryRunOption = False
    as_json: JsonOption = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `enqueue_many`, all but the jobs and the key."""
        if self.run_at is not None and self.delay_seconds:
            raise usage("give --run-at or --delay-seconds, not both")
        return {
            "delay_seconds": self.delay_seconds,
            "run_at": None if self.run_at is None else _time(self.run_at),
            "idempotency_seconds": self.idempotency_seconds,
        }


def flags(source: Source, how: How) -> str:
    """Return the options that a run must repeat to make the same batches, apart from the file."""
    usual = {
        "--delay-seconds": 0,
        "--run-at": None,
        "--idempotency-seconds": IDEMPOTENCY_SECONDS,
        "--batch-size": None,
        "--upload": None,
    }
    values = {**attrs.asdict(source), **attrs.asdict(how)}
    given = {name: values[name.removeprefix("--").replace("-", "_")] for name in usual}
    return "".join(
        f" {name} {shlex.quote(_shown(value))}"
        for name, value in given.items()
        if value != usual[name]
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.utcoffset() is None:
        raise usage(
            f"--run-at {text}: give a time with its zone, such as 2027-01-01T09:00:00+01:00"
            " or 2027-01-01T08:00:00Z"
        )
    return time
