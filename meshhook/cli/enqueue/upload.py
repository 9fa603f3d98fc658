"""Enqueueing the jobs of a file or a pipe, so that no repeat enqueues a job twice."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from meshhook import RepeatPolicy
from meshhook.cli import output
from meshhook.cli.enqueue.json_lines import opened, progress
from meshhook.cli.enqueue.options import flags
from meshhook.cli.exits import CommandError, code_of, exit_code
from meshhook.exceptions import InvalidInputError, MeshHookError, Problem
from meshhook.sync_services import SyncQueueService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from meshhook.cli.enqueue.json_lines import Chunk
    from meshhook.cli.enqueue.options import How, Source
    from meshhook.cli.project import Settings
    from meshhook.models import EnqueueBatch

    Send = Callable[[list[dict[str, Any]], str | None], EnqueueBatch]

PATIENT_TRIES = 10
"""How often a chunk is sent in an outage: for about a minute, since resuming is a manual step."""

_A_FILE = "file"
"""The upload's name for files: the content and place of their chunks identify them."""

_POSITION = re.compile(r"jobs\[(\d+)\]")


def upload_lines(settings: Settings, source: Source, how: How) -> None:
    """Enqueue the jobs of a file, or of standard input.

    Args:
        settings: The settings of the project.
        source: The file, and how it is read.
        how: How its jobs are enqueued.

    Raises:
        CommandError: The upload ended early; the message says how to go on.
    """
    usual = _A_FILE if source.file and not source.again else secrets.token_hex(6)
    name = source.upload or usual
    repeated = source if name == _A_FILE else attrs.evolve(source, upload=name)
    arguments = how.arguments()
    run_at = arguments["run_at"]
    when = f"{how.delay_seconds:g}" if run_at is None else run_at.isoformat()
    with (
        sender(settings, how) as send,
        opened(source) as chunks,
        progress(source, "enqueueing") as advance,
    ):
        upload = Upload(send=send, name=f"{name}/{when}", how_to_go_on=flags(repeated, how))
        try:
            upload.run(chunks, advance)
        except KeyboardInterrupt as error:
            raise CommandError(upload.stopped("interrupted"), code_of(error)) from None
    _show(settings, upload, how, is_file=name == _A_FILE)


@contextmanager
def sender(settings: Settings, how: How) -> Iterator[Send]:
    """Connect to the project, and yield a function that enqueues jobs under a key."""
    with settings.connect() as client:
        patient = RepeatPolicy(tries=PATIENT_TRIES)
        queue = SyncQueueService(client, settings.queue_name, repeat_policy=patient)
        yield lambda jobs, key: queue.enqueue_many(jobs, idempotency_key=key, **how.arguments())


def _show(settings: Settings, upload: Upload, how: How, *, is_file: bool) -> None:
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


@attrs.define(kw_only=True)
class Upload:
    """An upload and its progress.

    A chunk is sent under a key made of the upload's name, its place and its content. The database
    remembers the key: the same chunk, sent again by a repeat or a later run, enqueues nothing.

    Attributes:
        send: Enqueues jobs under a key.
        name: The name of the upload.
        how_to_go_on: The options that a run that resumes needs besides ``--resume-from``.
        next_line: The first line that is not known to be done.
        lines: How many lines with a job are done.
        enqueued: Jobs that this run has enqueued.
        known: Jobs that an earlier run had enqueued.
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
        """Send all chunks, one after the other.

        Args:
            chunks: The chunks.
            advance: Called with each chunk that is done.

        Raises:
            CommandError: A chunk failed; the message has the line to resume from.
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
        """Return why the upload ended early, and how to go on."""
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
