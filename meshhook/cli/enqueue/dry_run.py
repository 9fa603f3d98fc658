"""A dry run: it checks jobs as a real run does, finds all that is wrong, and sends nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
import typer

from meshhook._enqueue.batch import Batch
from meshhook._inputs import check
from meshhook.cli import output
from meshhook.cli.enqueue.json_lines import (
    ONE_EACH,
    Chunk,
    Line,
    NotAJobError,
    opened,
    progress,
)
from meshhook.cli.exits import CommandError, ExitCode, code_of
from meshhook.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from meshhook.cli.enqueue.options import How, Source
    from meshhook.cli.project import Settings
    from meshhook.exceptions import Problem

_POSITION = re.compile(r"jobs\[(\d+)\]\.?")


def check_lines(settings: Settings, source: Source, how: How) -> None:
    """Check the jobs of a file, or of standard input, and show what is wrong.

    Args:
        settings: The settings, for the queue's name.
        source: The file, and how it is read.
        how: How its jobs would be enqueued.

    Raises:
        Exit: A job is bad.
    """
    with opened(source) as chunks, progress(source, "checking") as advance:
        _check(settings, chunks, how, "line", advance)


def check_arguments(
    settings: Settings, arguments: Sequence[str | dict[str, Any]], how: How
) -> None:
    """Check jobs that are arguments; see `check_lines`."""
    texts = (given if isinstance(given, str) else json.dumps(given) for given in arguments)
    lines = tuple(
        Line(number=number, text=text.encode(errors="surrogateescape"))
        for number, text in enumerate(texts, 1)
    )
    _check(settings, [Chunk(lines=lines, end_bytes=0)], how, "job", lambda _: None)


def _check(
    settings: Settings,
    chunks: Iterable[Chunk],
    how: How,
    what: str,
    advance: Callable[[Chunk], None],
) -> None:
    options = {**how.arguments(), "idempotency_key": how.idempotency_key}
    run = DryRun(queue_name=settings.queue_name, options=options)
    bad: list[Bad] = []
    try:
        for chunk in chunks:
            problems = run.check(chunk)
            if how.as_json:
                bad += problems
            for problem in () if how.as_json else problems:
                output.say(output.printable(problem.text(what)))
            advance(chunk)
    except KeyboardInterrupt as error:
        so_far = output.counted(run.lines, what)
        message = f"interrupted after {so_far}; it was a dry run, so nothing was sent"
        raise CommandError(message, code_of(error)) from None
    _show(run, bad, what, as_json=how.as_json)
    if run.bad_lines:
        raise typer.Exit(ExitCode.FAILED)


def _show(run: DryRun, bad: list[Bad], what: str, *, as_json: bool) -> None:
    if as_json:
        counts = {"would_enqueue": run.good_lines, "bad": run.bad_lines}
        output.show_json({"dry_run": True, **counts, "problems": bad})
        return
    good = f"{output.counted(run.good_lines, 'job')} would be enqueued in {run.queue_name}"
    wrong = output.counted(run.bad_lines, what, "are")
    output.say(f"A dry run: nothing was sent. {good}, {wrong} bad.")


@attrs.frozen(kw_only=True)
class Bad:
    """One thing that is wrong with a job.

    Attributes:
        line: The number of the line, or the position of the argument, from 1 on.
        column: The column of the JSON error, None if it has none.
        field: The field of the job, None if it is about the whole job.
        value: Its value.
        fix: What to give instead.
    """

    line: int
    column: int | None = None
    field: str | None = None
    value: str
    fix: str

    def text(self, what: str) -> str:
        """Return it as one line of text; *what* is the word for a job: line or job."""
        where = f"{what} {self.line}"
        where += f", column {self.column}" if self.column is not None else ""
        where += f", {self.field}" if self.field else ""
        return f"{where} is {self.value}: {self.fix}"


@attrs.define(kw_only=True)
class DryRun:
    """A run that sends nothing.

    Attributes:
        queue_name: The queue of the jobs.
        options: The options of a real run, such as its delay and its key.
        lines: How many jobs have been checked.
        bad_lines: How many of them cannot be enqueued.
    """

    queue_name: str
    options: dict[str, Any]
    lines: int = 0
    bad_lines: int = 0

    @property
    def good_lines(self) -> int:
        """How many jobs would be enqueued."""
        return self.lines - self.bad_lines

    def check(self, chunk: Chunk) -> list[Bad]:
        """Return everything that is wrong with jobs that a real run would enqueue together."""
        check.queue_name("queue_name", self.queue_name)
        found = list(self._found(chunk))
        self.lines += len(chunk.lines)
        self.bad_lines += len({bad.line for bad in found})
        return sorted(found, key=lambda bad: bad.line)

    def _found(self, chunk: Chunk) -> Iterator[Bad]:
        jobs: dict[int, dict[str, Any]] = {}
        for line in chunk.lines:
            try:
                jobs[line.number] = line.job()
            except NotAJobError as error:
                yield Bad(line=error.line, column=error.column, value=error.value, fix=ONE_EACH)
        # Again without the bad ones: a size is only checked once nothing else is wrong.
        while problems := self._problems(list(jobs.values())):
            numbers = list(jobs)
            for problem in problems:
                bad = _in_its_line(problem, numbers)
                jobs.pop(bad.line, None)
                yield bad

    def _problems(self, jobs: list[dict[str, Any]]) -> tuple[Problem, ...]:
        try:
            for _ in Batch(self.queue_name, jobs, **self.options).check():
                pass
        except InvalidInputError as error:
            if not all(_POSITION.match(problem.field) for problem in error.problems):
                raise  # it is about an option, not about a line
            return error.problems
        return ()


def _in_its_line(problem: Problem, numbers: list[int]) -> Bad:
    match = _POSITION.match(problem.field)
    assert match  # noqa: S101 - the caller checked
    return Bad(
        line=numbers[int(match[1])],
        field=problem.field[match.end() :] or None,
        value=problem.value,
        fix=problem.fix,
    )
