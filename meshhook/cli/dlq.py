"""`meshhook dlq`: dead letters."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from meshhook.cli import bulk, complete, output
from meshhook.cli.exits import CommandError, ExitCode, usage
from meshhook.cli.options import (
    DryRunOption,
    JsonOption,
    LimitOption,
    YesOption,
    with_options,
    with_queue,
)
from meshhook.cli.project import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.models import DeadLetterJob
    from meshhook.sync_services import SyncDLQService

app = typer.Typer(help="Look at dead letters, replay and delete them.")

PAGE = 500
"""How many dead letters one call lists."""

DlqOption = Annotated[
    str | None,
    typer.Option(
        "--dlq",
        metavar="NAME",
        help="The dead letter queue (that of the queue).",
        autocompletion=complete.queues,
    ),
]
ErrorOption = Annotated[
    str | None,
    typer.Option("--error", metavar="TEXT", help="All whose error contains this text."),
]


@attrs.frozen(kw_only=True)
class Choice:
    """The options that choose dead letters."""

    msg_ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="[MSG_ID]...", help="Their ids in the dead letter queue."),
    ] = None
    error: ErrorOption = None

    @property
    def are_named(self) -> bool:
        """Whether ids are given."""
        return bool(self.msg_ids)

    def ids(self, service: "SyncDLQService", *, everything: bool = False) -> list[int]:
        """Return the ids of the chosen dead letters.

        Raises:
            CommandError: None of the ways to choose, or more than one, is given.
        """
        if sum((self.are_named, self.error is not None, everything)) != 1:
            raise usage("say which dead letters: give their ids, or --error TEXT, or --all")
        if self.msg_ids:
            return list(dict.fromkeys(self.msg_ids))
        return [letter.msg_id for letter in _matching(service, self.error)]


@app.command("list")
@with_queue
def list_all(
    settings: Settings,
    *,
    dlq: DlqOption = None,
    limit: LimitOption = 100,
    error: ErrorOption = None,
    after: Annotated[
        int, typer.Option("--after", metavar="MSG_ID", min=0, help="Only those after this one (0).")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, oldest first."""
    with settings.open_dlq(dlq) as service:
        # One more than is shown, to know whether there are more.
        size = PAGE if error else min(limit + 1, PAGE)
        found = list(islice(_matching(service, error, after, size), limit + 1))
        total = None if error else service.get_dlq_metrics().total_jobs
    letters, more = found[:limit], len(found) > limit
    if as_json:
        output.show_json({"dead_letters": letters, "total": total, "more": more})
        return
    output.show_table(
        ("msg_id:", "run_id", "attempt:", "moved here", "from", "error"),
        map(_row, letters),
        f"There are no such dead letters in {service.dlq_name}."
        if error or after
        else f"{service.dlq_name} is empty.",
    )
    if more:
        output.note_rest(len(letters), total, f"--after {letters[-1].msg_id}")


@app.command()
@with_queue
def show(
    settings: Settings,
    msg_id: Annotated[int, typer.Argument(metavar="MSG_ID", min=1, help="Its id there.")],
    *,
    dlq: DlqOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter with each of its failed attempts."""
    with settings.open_dlq(dlq) as service:
        letter = service.get_dead_letter_job(msg_id)
    if letter is None:
        raise CommandError(f"there is no dead letter {msg_id} in {service.dlq_name}")
    if as_json:
        output.show_json(letter)
        return
    message = dict(letter.message)
    stack = message.pop("error_stack", None)
    output.show_fields(
        [
            ("dead letter queue", letter.dlq_name),
            ("msg_id", letter.msg_id),
            ("moved here", letter.enqueued_at),
            ("message", output.indented(message)),
            ("stack", stack),
        ]
    )
    output.show_attempts(letter.attempts)


@app.command()
@with_queue
def errors(
    settings: Settings,
    *,
    dlq: DlqOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="How many errors to show at most.")
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """Count all dead letters by the first line of their errors."""
    with settings.open_dlq(dlq) as service:
        counts = service.count_by_error_type(limit)
    if as_json:
        output.show_json(counts)
        return
    output.show_table(
        ("count:", "first", "last", "newest:", "error"),
        (
            (one.jobs, one.first_moved_at, one.last_moved_at, one.msg_id, one.error)
            for one in counts.errors
        ),
        f"{service.dlq_name} is empty.",
    )
    if counts.errors_left_out:
        output.note_rest(len(counts.errors), counts.total_errors)
        output.note(f"Dead letters with other errors: {counts.jobs_left_out:,}.")


@app.command()
@with_queue
@with_options(choice=Choice)
def replay(
    settings: Settings,
    *,
    choice: Choice,
    everything: Annotated[bool, typer.Option("--all", help="All that are there.")] = False,
    dlq: DlqOption = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="QUEUE",
            help="Where to (the queue each came from).",
            autocompletion=complete.queues,
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.01, help="How many a second at most.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move dead letters back to their queues, each as a new job."""
    with settings.open_dlq(dlq) as service:
        msg_ids = choice.ids(service, everything=everything)
        if dry_run:
            _show_choice("replay", service, msg_ids, as_json=as_json)
            return
        done = bulk.replay(service, msg_ids, target, rate, are_named=choice.are_named)
    failed = [error for summary in done for error in summary.errors]
    replayed = sum(summary.success for summary in done)
    if as_json:
        output.show_json({"replayed": replayed, "errors": failed})
    else:
        output.say(f"Replayed {replayed} of {_letters(len(msg_ids))}.")
        for one in failed:
            output.note(f"{one.msg_id}: {one.error}")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
@with_queue
@with_options(choice=Choice)
def delete(
    settings: Settings,
    *,
    choice: Choice,
    dlq: DlqOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters, by id or by error."""
    with settings.open_dlq(dlq) as service:
        msg_ids = choice.ids(service)
        if dry_run:
            _show_choice("delete", service, msg_ids, as_json=as_json)
            return
        output.confirm(
            f"This deletes {_letters(len(msg_ids))} of {service.dlq_name}", yes=yes or not msg_ids
        )
        missing = bulk.delete(service, msg_ids, are_named=choice.are_named)
    deleted = len(msg_ids) - len(missing)
    if as_json:
        output.show_json({"deleted": deleted, "missing": missing})
    else:
        output.say(f"Deleted {deleted} of {_letters(len(msg_ids))}.")
        for msg_id in missing:
            output.note(f"{msg_id}: there is no such dead letter")
    if missing:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
@with_queue
def purge(
    settings: Settings,
    *,
    dlq: DlqOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete every dead letter."""
    with settings.open_dlq(dlq) as service:
        total = service.get_dlq_metrics().total_jobs
        if not dry_run:
            output.confirm(f"This deletes all of {service.dlq_name}: {_letters(total)}", yes=yes)
        deleted = 0 if dry_run else service.purge_dlq()
    if as_json:
        output.show_json({"deleted": deleted, "there": total})
    elif dry_run:
        output.say(f"Would delete all of {service.dlq_name}: {_letters(total)}.")
    else:
        output.say(f"Deleted {_letters(deleted)} of {service.dlq_name}.")


def _matching(
    service: "SyncDLQService", error: str | None, after: int = 0, page_size: int = PAGE
) -> "Iterator[DeadLetterJob]":
    while page := service.list_dead_letter_jobs(page_size, after_msg_id=after):
        for letter in page:
            if error is None or error in _error_of(letter):
                yield letter
        after = page[-1].msg_id


def _error_of(letter: "DeadLetterJob") -> str:
    return output.as_text(letter.message.error_message or "")


def _show_choice(verb: str, service: "SyncDLQService", chosen: list[int], *, as_json: bool) -> None:
    if as_json:
        output.show_json({"dry_run": True, "msg_ids": chosen})
        return
    output.say(f"Would {verb} {_letters(len(chosen))} of {service.dlq_name}.")
    for msg_id in chosen:
        output.say(str(msg_id))


def _letters(number: int) -> str:
    return output.counted(number, "dead letter")


def _row(letter: "DeadLetterJob") -> tuple[object, ...]:
    message = letter.message
    return (
        letter.msg_id,
        message.get("run_id"),
        message.get("attempt"),
        letter.enqueued_at,
        message.original_msg_id,
        output.one_line(_error_of(letter)),
    )
