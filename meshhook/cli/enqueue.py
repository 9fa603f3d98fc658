"""`meshhook enqueue`: jobs from arguments, a file or a pipe."""

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import attrs
import typer

from meshhook.cli import output
from meshhook.cli.exits import CommandError, ExitCode, usage
from meshhook.cli.json_lines import Chunk, chunks
from meshhook.cli.options import DryRunOption, JsonOption, with_queue
from meshhook.cli.settings import Settings
from meshhook.cli.upload import Upload

if TYPE_CHECKING:
    from meshhook.cli.upload import Send
    from meshhook.models import EnqueueBatch

BATCH_SIZE = 1000

PATIENT_TRIES = 10
"""How often a chunk is sent in an outage: for about a minute, since nobody likes to resume."""

_A_FILE = "file"
"""What files' uploads are called: their chunks are known by content and place alone."""


@attrs.frozen(kw_only=True)
class _How:
    delay_seconds: float
    run_at: datetime | None
    idempotency_key: str | None
    idempotency_seconds: float
    batch_size: int
    resume_from: int
    upload: str | None
    again: bool
    dry_run: bool
    as_json: bool


@with_queue
def enqueue(  # noqa: PLR0913 - a command's options
    settings: Settings,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Jobs as JSON objects; or - for standard input."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="JSON Lines: one job on each line."),
    ] = None,
    delay_seconds: Annotated[
        float, typer.Option("--delay-seconds", min=0, help="How long they stay hidden.")
    ] = 0,
    run_at: Annotated[
        str | None,
        typer.Option(
            "--run-at",
            metavar="TIME",
            help="When they may run instead, such as 2027-01-01T09:00:00+01:00.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="NAME", help="Enqueue the arguments once under this name."
        ),
    ] = None,
    idempotency_seconds: Annotated[
        float, typer.Option("--idempotency-seconds", min=1, help="How long names are remembered.")
    ] = 86_400,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=10_000, help="Lines in each transaction.")
    ] = BATCH_SIZE,
    resume_from: Annotated[
        int, typer.Option("--resume-from", min=1, metavar="LINE", help="Begin with this line.")
    ] = 1,
    upload: Annotated[
        str | None,
        typer.Option("--upload", metavar="NAME", help="A name that makes repeats of it harmless."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Enqueue a file's jobs even if a run before has.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enqueue jobs: from arguments, or JSON Lines of any length from a file or a pipe."""
    how = _How(
        delay_seconds=delay_seconds,
        run_at=None if run_at is None else _time(run_at),
        idempotency_key=idempotency_key,
        idempotency_seconds=idempotency_seconds,
        batch_size=batch_size,
        resume_from=resume_from,
        upload=upload,
        again=again,
        dry_run=dry_run,
        as_json=as_json,
    )
    arguments = [] if jobs == ["-"] else jobs or []
    if how.run_at and delay_seconds:
        raise usage("give --run-at or --delay-seconds, not both")
    if arguments and file:
        raise usage("give jobs as arguments or in a --file, not both")
    if arguments:
        _enqueue_arguments(settings, arguments, how)
        return
    if idempotency_key is not None:
        raise usage("--idempotency-key is for arguments; give --upload NAME with a file or a pipe")
    if file is None and sys.stdin.isatty():
        raise usage("give jobs as arguments, in a --file, or through a pipe")
    _enqueue_lines(settings, file, how)


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


def _enqueue_arguments(settings: Settings, arguments: list[str], how: _How) -> None:
    jobs = [_parsed(position, text) for position, text in enumerate(arguments, 1)]
    with _sender(settings, how) as send:
        batch = send(jobs, how.idempotency_key)
    if batch is None:
        output.note(f"{len(jobs)} jobs could be enqueued in {settings.queue_name}.")
    elif how.as_json:
        output.show_json({"msg_ids": batch.msg_ids, "duplicate": batch.duplicate})
    else:
        for msg_id in batch.msg_ids:
            output.say(str(msg_id))
        done = "were there already" if batch.duplicate else "are enqueued"
        output.note(f"{len(jobs)} jobs {done} in {settings.queue_name}.")


def _parsed(position: int, text: str) -> dict[str, Any]:
    try:
        job = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise usage(f"job {position} is not JSON: {error}") from error
    if not isinstance(job, dict):
        raise usage(f"job {position} is not a JSON object")
    return job


def _enqueue_lines(settings: Settings, file: Path | None, how: _How) -> None:
    usual = _A_FILE if file and not how.again else secrets.token_hex(6)
    name = how.upload or usual
    more = "" if how.batch_size == BATCH_SIZE else f" --batch-size {how.batch_size}"
    more += "" if name == _A_FILE else f" --upload {name}"
    with _sender(settings, how) as send, _opened(file) as stream, _progress(file) as advance:
        when = f"{how.delay_seconds:g}" if how.run_at is None else how.run_at.isoformat()
        upload = Upload(send=send, name=f"{name}/{when}", how_to_go_on=more)
        try:
            upload.run(chunks(stream, how.batch_size, how.resume_from), advance)
        except KeyboardInterrupt:
            raise CommandError(upload.stopped("interrupted"), ExitCode.INTERRUPTED) from None
    _show(settings, upload, how, is_file=name == _A_FILE)


def _show(settings: Settings, upload: Upload, how: _How, *, is_file: bool) -> None:
    if how.as_json:
        names = ("lines", "enqueued", "known", "first_msg_id", "last_msg_id")
        output.show_json({name: getattr(upload, name) for name in names})
    elif how.dry_run:
        output.say(f"{upload.lines} jobs could be enqueued in {settings.queue_name}.")
    else:
        output.say(f"Enqueued {upload.enqueued} jobs in {settings.queue_name}.")
    if upload.known:
        hint = "; --again enqueues them once more" if is_file else ""
        output.note(f"{upload.known} jobs were there already, from an earlier run{hint}.")


@contextmanager
def _sender(settings: Settings, how: _How) -> "Iterator[Send]":
    """Give what sends jobs; in a dry run it checks them as a real one would."""
    from meshhook import RepeatPolicy, SyncQueueService  # noqa: PLC0415 - heavy
    from meshhook._calls import enqueue as calls  # noqa: PLC0415 - heavy

    def check(jobs: list[dict[str, Any]], _: str | None) -> None:
        calls.many(settings.queue_name, jobs, how.delay_seconds, run_at=how.run_at)

    if how.dry_run:
        yield check
        return
    with settings.connect() as client:
        patient = RepeatPolicy(tries=PATIENT_TRIES)
        queue = SyncQueueService(client, settings.queue_name, repeat_policy=patient)

        def send(jobs: list[dict[str, Any]], key: str | None) -> "EnqueueBatch":
            return queue.enqueue_many(
                jobs,
                how.delay_seconds,
                run_at=how.run_at,
                idempotency_key=key,
                idempotency_seconds=how.idempotency_seconds,
            )

        yield send


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    if file is None:
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise usage(f"--file {file}: {error.strerror}") from error


@contextmanager
def _progress(file: Path | None) -> Iterator[Callable[[Chunk], None]]:
    """Show a bar on a terminal, and nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress  # noqa: PLC0415 - heavy

    columns = (
        progress.TextColumn("enqueueing"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[lines]} lines"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=output.console(stderr=True)) as bar:
        task = bar.add_task("", total=file.stat().st_size if file else None, lines=0)

        def advance(chunk: Chunk) -> None:
            bar.update(task, completed=chunk.end_bytes, lines=chunk.lines[-1].number)

        yield advance
