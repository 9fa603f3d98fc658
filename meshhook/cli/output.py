"""Output of the commands: tables for people, JSON for machines, notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs
import typer
from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from meshhook.cli.exits import CommandError, ExitCode, usage
from meshhook.cli.redaction import redact, redact_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from meshhook.models import AttemptRecord

_WIDE = 100_000
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_ATTEMPT_COLUMNS = ("attempt:", "outcome", "failed", "after s:", "worker", "error")
_SINGULAR = {"": "", "are": " is", "were": " was"}


def console(*, stderr: bool = False) -> Console:
    """Return a console; in a pipe it neither colours nor cuts anything off."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=None if stream.isatty() else _WIDE,
    )


def say(text: str) -> None:
    """Write a line on standard output."""
    sys.stdout.write(f"{redact_known(text)}\n")


def note(text: str) -> None:
    """Write a line on standard error: for people, and not for programs that read the output."""
    sys.stderr.write(f"{redact(text)}\n")
    sys.stderr.flush()


def show_json(value: object) -> None:
    """Write a value as one line of JSON on standard output."""
    say(json.dumps(plain(value), separators=(", ", ": ")))
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return a value in JSON's types: times in ISO 8601, our own classes as objects."""
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {
            field.name: plain(getattr(value, field.name))
            for field in fields
            if not field.name.startswith("_")
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    return value


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Show a table; columns whose names end in a colon hold numbers.

    Args:
        columns: The headings.
        rows: The cells; None is shown as nothing.
        empty: The note on standard error if there are no rows.
    """
    listed = list(rows)
    if not listed:
        note(empty)
        return
    show(table(columns, listed))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Make a table; see `show_table`."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            column.removesuffix(":"),
            justify="right" if column.endswith(":") else "left",
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def note_rest(shown: int, total: int | None, option: str | None = None) -> None:
    """Note on standard error that a list was cut, and how to see the rest.

    Args:
        shown: How many rows were shown.
        total: How many there are, None if that is not known.
        option: The option that continues the list, None if there is none.
    """
    those = f"{shown:,} of {total:,} shown" if total else f"{shown:,} shown, and there are more"
    onward = f", or {option} to go on from here" if option else ""
    note(f"{those}: give a larger --limit{onward}.")


def show_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Show names and values, one pair on each line; None is left out."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(name, Text(printable(value)))
    show(made)


def show(made: Table) -> None:
    """Show a table that was made."""
    out = console()
    if out.is_terminal:
        out.print(made)
        return
    with out.capture() as captured:
        out.print(made)
    # Rich pads every line to the full width, which only disturbs in a pipe.
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def show_attempts(attempts: Sequence[AttemptRecord]) -> None:
    """Show a job's failed attempts below its fields; nothing if there are none."""
    if attempts:
        say("")
        show_table(_ATTEMPT_COLUMNS, map(_attempt_row, attempts), "")


def _attempt_row(attempt: AttemptRecord) -> tuple[object, ...]:
    return (
        attempt.attempt,
        attempt.outcome,
        attempt.failed_at,
        None if attempt.seconds is None else f"{attempt.seconds:.3f}",
        attempt.worker,
        one_line(error_of(attempt)),
    )


def error_of(attempt: AttemptRecord) -> str:
    """Return type and message of an attempt's error; a worker's message begins with the type."""
    kind, message = attempt.error_type or "", attempt.error_message or ""
    if not kind or message == kind or message.startswith(f"{kind}:"):
        return message
    return f"{kind}: {message}" if message else kind


@contextmanager
def progress_bar(doing: str, total: float | None) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on a terminal, and nothing anywhere else.

    Args:
        doing: The activity, such as enqueueing.
        total: How much there is to do, None if that is not known.

    Yields:
        A function that takes how much is done, as a number and as a text.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _text: None
        return
    columns = (
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[text]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    shown = progress.Progress(
        *columns, console=console(stderr=True), redirect_stdout=sys.stdout.isatty()
    )
    with shown:
        task = shown.add_task("", total=total, text="")
        yield lambda done, text: shown.update(task, completed=done, text=text)


def printable(value: object) -> str:
    """Return a value as text that cannot control a terminal: it may come from anyone."""
    if value is None:
        return ""
    text = redact_known(as_text(value))
    return "".join(
        char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text
    )


def as_text(value: object) -> str:
    """Return a value as text: a text unchanged, a time as in `when`, anything else as JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return when(value)
    return json.dumps(plain(value), ensure_ascii=False, default=str)


def indented(value: object) -> str:
    """Return a value as JSON for people."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def flat(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


def counted(number: float, what: str, verb: str = "") -> str:
    """Return a number with its noun: 1 job, 2 jobs; or 1 job is, 2 jobs are.

    Args:
        number: How many there are.
        what: The noun in the singular; its plural takes an s (or es, after s).
        verb: Nothing, ``are`` or ``were``.
    """
    if number == 1:
        return f"1 {what}{_SINGULAR[verb]}"
    shown = number if isinstance(number, int) else f"{number:g}"
    several = f"{shown} {what}{'es' if what.endswith('s') else 's'}"
    return f"{several} {verb}".rstrip()


def one_line(text: str | None, length: int = 100) -> str:
    """Return the first line of a text, cut to a length."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= length else f"{line[: length - 3]}..."


def when(time: datetime) -> str:
    """Return a time in this machine's zone, to the second."""
    return time.astimezone().isoformat(sep=" ", timespec="seconds")


def age(seconds: float | None) -> str:
    """Return a number of seconds as people say it: 42 s, 5 m 10 s, 3 h 2 m, 4 d 7 h."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def confirm(what: str, *, yes: bool) -> None:
    """Ask before something is destroyed.

    Args:
        what: What will be done, as a sentence without its full stop.
        yes: Whether ``--yes`` was given; then nothing is asked.

    Raises:
        CommandError: The answer was no, or standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise usage(f"{what}. Nobody can be asked here: give --yes to have it done")
    if not typer.confirm(redact(f"{what}. Go on?"), err=True):
        raise CommandError("nothing was done", ExitCode.FAILED)
