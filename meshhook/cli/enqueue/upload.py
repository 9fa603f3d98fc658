"""Sending chunk after chunk so that no repeat enqueues a job twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from meshhook.cli import output
from meshhook.cli.exits import CommandError, exit_code
from meshhook.exceptions import InvalidInputError, MeshHookError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshhook.cli.enqueue.json_lines import Chunk
    from meshhook.models import EnqueueBatch

    Send = Callable[[list[dict[str, Any]], str | None], EnqueueBatch]

_POSITION = re.compile(r"jobs\[(\d+)\]")


@attrs.define(kw_only=True)
class Upload:
    """An upload, and how far it has come.

    A chunk is sent under a name made of the upload's, its place and its content, which the database
    remembers: sent again, by a repeat or by a later run, it enqueues nothing.

    Attributes:
        send: Sends jobs under a request id.
        name: What the upload is called.
        how_to_go_on: Options that a run that resumes needs beside ``--resume-from``.
        next_line: The first line that is not known to be done.
        lines: How many lines with a job are done.
        enqueued: Jobs that this run has put in the queue.
        known: Jobs that an earlier run had put there.
        first_msg_id: The id of the first job, None before it.
        last_msg_id: The id of the last job so far.
    """

    send: Send
    name: str
    how_to_go_on: str
    next_line: int = 1
    lines: int = 0
    enqueued: int = 0
    known: int = 0
    first_msg_id: int | None = None
    last_msg_id: int | None = None

    def run(self, chunks: Iterable[Chunk], advance: Callable[[Chunk], None]) -> None:
        """Send all chunks, in order.

        Args:
            chunks: The chunks.
            advance: Told of each that is done.

        Raises:
            CommandError: With the line to resume from.
        """
        for chunk in chunks:
            self._send(chunk)
            advance(chunk)

    def _send(self, chunk: Chunk) -> None:
        self.next_line = chunk.first
        try:
            self._count(self.send(chunk.jobs(), chunk.request_id(self.name)), len(chunk.lines))
        except InvalidInputError as error:
            problems = [_in_its_line(problem, chunk) for problem in error.problems]
            why = str(InvalidInputError(problems))
            raise CommandError(self.stopped(why), exit_code(error)) from error
        except (MeshHookError, CommandError) as error:
            raise CommandError(self.stopped(str(error)), exit_code(error)) from error
        self.next_line = chunk.lines[-1].number + 1

    def _count(self, batch: EnqueueBatch, lines: int) -> None:
        self.lines += lines
        if batch.duplicate:
            self.known += lines
        else:
            self.enqueued += lines
        if batch.msg_ids:
            self.first_msg_id = self.first_msg_id or batch.msg_ids[0]
            self.last_msg_id = batch.msg_ids[-1]

    def stopped(self, why: str) -> str:
        """Say why the upload ended before its end, and how to go on."""
        jobs = output.counted(self.lines, "job")
        are = "is" if self.lines == 1 else "are"
        return (
            f"{why.rstrip('.')}. The {jobs} before line {self.next_line} {are} done; "
            f"go on with --resume-from {self.next_line}{self.how_to_go_on}"
        )


def _in_its_line(problem: Problem, chunk: Chunk) -> Problem:
    def line(match: re.Match[str]) -> str:
        return f"line {chunk.lines[int(match[1])].number}"

    return attrs.evolve(problem, field=_POSITION.sub(line, problem.field, count=1))
