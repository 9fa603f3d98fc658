"""`meshhook enqueue`: jobs from arguments, a file or a pipe."""

import json
import secrets
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import attrs
import typer

from meshhook.cli import output
from meshhook.cli.enqueue.json_lines import Chunk, Line, chunks
from meshhook.cli.enqueue.upload import Upload
from meshhook.cli.exits import CommandError, ExitCode, code_of, sigterm_as_ctrl_c, usage
from meshhook.cli.options import DryRunOption, JsonOption, with_queue
from meshhook.cli.output import progress_bar
from meshhook.cli.project import Settings

if TYPE_CHECKING:
    from meshhook.cli.enqueue.dry_run import Bad, DryRun
    from meshhook.cli.enqueue.upload import Send
    from meshhook.models import EnqueueBatch

BATCH_SIZE = 1000

PATIENT_TRIES = 10
"""How often a chunk is sent in an outage: for about a minute, since nobody likes to resume."""

_ID_NAMES = ("run_id", "workflow_id", "project_id")

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "meshhook enqueue --metadata")
"""What the ids of jobs that are given by their metadata alone are made from."""

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
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", metavar="UUID", help="With --metadata: the run.")
    ] = None,
    workflow_id: Annotated[
        str | None,
        typer.Option("--workflow-id", metavar="UUID", help="With --metadata: the workflow."),
    ] = None,
    project_id: Annotated[
        str | None,
        typer.Option("--project-id", metavar="UUID", help="With --metadata: the project."),
    ] = None,
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
    ids = {"run_id": run_id, "workflow_id": workflow_id, "project_id": project_id}
    if metadata is not None:
        if jobs or file:
            raise usage("--metadata is a job of its own: give no other jobs, and no --file")
        made = job_of(metadata, settings.queue_name, ids, idempotency_key)
        _enqueue_arguments(settings, [made], how, told=made)
        return
    if any(given is not None for given in ids.values()):
        raise usage("--run-id, --workflow-id and --project-id go with --metadata")
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
    with sigterm_as_ctrl_c():
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


def job_of(
    metadata: str, queue_name: str, ids: dict[str, str | None], idempotency_key: str | None
) -> dict[str, Any]:
    """Make a job of its metadata alone.

    Args:
        metadata: The metadata, as a JSON object.
        queue_name: The queue.
        ids: The ids by their names; those that are None are made.
        idempotency_key: The key that the job is enqueued under once, if any.

    Returns:
        The job. Its run_id is random, or made of queue and key, so that a repeat under the key is
        the same job; the other two are made of the queue's name, and are one UUID.

    Raises:
        CommandError: The metadata is not a JSON object.
    """
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise usage(f"--metadata is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise usage('--metadata is not a JSON object; write it as \'{"name": "value"}\'')
    key = idempotency_key
    of_queue = str(uuid.uuid5(_IDS, queue_name))
    made = {
        "run_id": str(uuid.uuid4() if key is None else uuid.uuid5(_IDS, f"{queue_name}/{key}")),
        "workflow_id": of_queue,
        "project_id": of_queue,
    }
    given = {name: value for name, value in ids.items() if value is not None}
    return {**made, **given, "metadata": found}


def _enqueue_arguments(
    settings: Settings,
    arguments: Sequence[str | dict[str, Any]],
    how: _How,
    *,
    told: dict[str, Any] | None = None,
) -> None:
    """Enqueue the arguments; *told* is a job whose ids are shown, since they were made here."""
    if how.dry_run:
        _check(settings, _chunks_of_arguments(arguments), how, "job")
        return
    jobs = [_parsed(position, given) for position, given in enumerate(arguments, 1)]
    with _sender(settings, how) as send:
        batch = send(jobs, how.idempotency_key)
    made = {name: told[name] for name in _ID_NAMES} if told else {}
    if how.as_json:
        output.show_json({"msg_ids": batch.msg_ids, "duplicate": batch.duplicate, **made})
        return
    for msg_id in batch.msg_ids:
        output.say(str(msg_id))
    done = f"{output.counted(len(jobs), 'job', 'are')} enqueued"
    if batch.duplicate:
        done = f"{output.counted(len(jobs), 'job', 'were')} there already"
    run = f", run_id {made['run_id']}" if made else ""
    output.note(f"{done} in {settings.queue_name}{run}.")


def _parsed(position: int, given: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    try:
        job = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise usage(f"job {position} is not JSON: {error}") from error
    if not isinstance(job, dict):
        raise usage(f"job {position} is not a JSON object")
    return job


def _chunks_of_arguments(arguments: Sequence[str | dict[str, Any]]) -> Iterator[Chunk]:
    texts = (given if isinstance(given, str) else json.dumps(given) for given in arguments)
    yield Chunk(
        lines=tuple(
            Line(number=number, text=text.encode(errors="surrogateescape"))
            for number, text in enumerate(texts, 1)
        ),
        end_bytes=0,
    )


def _enqueue_lines(settings: Settings, file: Path | None, how: _How) -> None:
    if how.dry_run:
        with _opened(file) as stream, _progress(file, "checking") as advance:
            found = chunks(stream, how.batch_size, how.resume_from)
            _check(settings, found, how, "line", advance)
        return
    usual = _A_FILE if file and not how.again else secrets.token_hex(6)
    name = how.upload or usual
    more = "" if how.batch_size == BATCH_SIZE else f" --batch-size {how.batch_size}"
    more += "" if name == _A_FILE else f" --upload {name}"
    with (
        _sender(settings, how) as send,
        _opened(file) as stream,
        _progress(file, "enqueueing") as advance,
    ):
        when = f"{how.delay_seconds:g}" if how.run_at is None else how.run_at.isoformat()
        upload = Upload(send=send, name=f"{name}/{when}", how_to_go_on=more)
        try:
            upload.run(chunks(stream, how.batch_size, how.resume_from), advance)
        except KeyboardInterrupt as error:
            raise CommandError(upload.stopped("interrupted"), code_of(error)) from None
    _show(settings, upload, how, is_file=name == _A_FILE)


def _show(settings: Settings, upload: Upload, how: _How, *, is_file: bool) -> None:
    if how.as_json:
        names = ("lines", "enqueued", "known", "first_msg_id", "last_msg_id")
        output.show_json({name: getattr(upload, name) for name in names})
    else:
        jobs = output.counted(upload.enqueued, "job")
        output.say(f"Enqueued {jobs} in {settings.queue_name}.")
    if upload.known:
        hint = "; --again enqueues them once more" if is_file else ""
        known = output.counted(upload.known, "job", "were")
        output.note(f"{known} there already, from an earlier run{hint}.")


def _check(
    settings: Settings,
    found: Iterable[Chunk],
    how: _How,
    what: str,
    advance: Callable[[Chunk], None] = lambda _: None,
) -> None:
    """Tell everything that is wrong with the jobs, and send nothing."""
    from meshhook.cli.enqueue.dry_run import DryRun  # noqa: PLC0415 - only for a dry run

    options = {
        "delay_seconds": how.delay_seconds,
        "run_at": how.run_at,
        "idempotency_key": how.idempotency_key,
        "idempotency_seconds": how.idempotency_seconds,
    }
    run = DryRun(queue_name=settings.queue_name, options=options)
    bad: list[Bad] = []
    try:
        for chunk in found:
            problems = run.check(chunk)
            if how.as_json:
                bad += problems
            for problem in () if how.as_json else problems:
                output.say(output.printable(problem.told(what)))
            advance(chunk)
    except KeyboardInterrupt as error:
        so_far = output.counted(run.lines, what)
        message = f"interrupted after {so_far}; it was a dry run, so nothing was sent"
        raise CommandError(message, code_of(error)) from None
    _tell_check(run, bad, what, as_json=how.as_json)
    if run.bad_lines:
        raise typer.Exit(ExitCode.FAILED)


def _tell_check(run: "DryRun", bad: "list[Bad]", what: str, *, as_json: bool) -> None:
    if as_json:
        counts = {"would_enqueue": run.good_lines, "bad": run.bad_lines}
        output.show_json({"dry_run": True, **counts, "problems": bad})
        return
    good = f"{output.counted(run.good_lines, 'job')} would be enqueued in {run.queue_name}"
    wrong = output.counted(run.bad_lines, what, "are")
    output.say(f"A dry run: nothing was sent. {good}, {wrong} bad.")


@contextmanager
def _sender(settings: Settings, how: _How) -> "Iterator[Send]":
    """Give what sends jobs."""
    from meshhook import RepeatPolicy, SyncQueueService  # noqa: PLC0415 - heavy

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
def _progress(file: Path | None, doing: str) -> Iterator[Callable[[Chunk], None]]:
    """Show how far it is on a terminal, and nothing anywhere else."""
    with progress_bar(doing, file.stat().st_size if file else None) as show:
        yield lambda chunk: show(chunk.end_bytes, output.counted(chunk.lines[-1].number, "line"))
