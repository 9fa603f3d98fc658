"""Checking jobs as a real run would, and finding everything that is wrong with any of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._enqueue.batch import Batch
from meshhook._inputs import check
from meshhook.cli.enqueue.json_lines import ONE_EACH, NotAJobError
from meshhook.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.cli.enqueue.json_lines import Chunk
    from meshhook.exceptions import Problem

_POSITION = re.compile(r"jobs\[(\d+)\]\.?")


@attrs.frozen(kw_only=True)
class Bad:
    """One thing that is wrong with a job.

    Attributes:
        line: The number of the line, or the position of the argument, from 1 on.
        column: Where in it the JSON goes wrong, None where that cannot be said.
        field: The field of the job, None if it is about the whole.
        value: What stands there.
        fix: What to give instead.
    """

    line: int
    column: int | None = None
    field: str | None = None
    value: str
    fix: str

    def told(self, what: str) -> str:
        """Return it as one line of text; *what* jobs come as: line or job."""
        where = f"{what} {self.line}"
        where += f", column {self.column}" if self.column is not None else ""
        where += f", {self.field}" if self.field else ""
        return f"{where} is {self.value}: {self.fix}"


@attrs.define(kw_only=True)
class DryRun:
    """A run that sends nothing.

    Attributes:
        queue_name: The queue that the jobs are meant for.
        options: The delay and the idempotency key of a real run.
        lines: How many jobs have been looked at.
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
        """Check jobs that a real run would enqueue together.

        Args:
            chunk: The jobs.

        Returns:
            Everything that is wrong with them, in their order.

        Raises:
            InvalidInputError: The queue's name or an option is not usable.
        """
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
        # Again without the bad ones: what is too large is only seen where nothing else is wrong.
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
                raise  # it is about an option, which no line can help
            return error.problems
        return ()


def _in_its_line(problem: Problem, numbers: list[int]) -> Bad:
    match = _POSITION.match(problem.field)
    assert match  # noqa: S101 - asked before
    return Bad(
        line=numbers[int(match[1])],
        field=problem.field[match.end() :] or None,
        value=problem.value,
        fix=problem.fix,
    )
