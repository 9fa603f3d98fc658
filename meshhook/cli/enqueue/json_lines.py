"""Reading JSON Lines of any length, in chunks whose borders depend only on the input."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from meshhook.cli import output
from meshhook.cli.enqueue.options import BATCH_SIZE
from meshhook.cli.exits import CommandError, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshhook.cli.enqueue.options import Source

MAX_CHUNK_BYTES = 4_000_000
"""A chunk that grows so large ends early: gateways limit the size of a request."""

ONE_EACH = "write one JSON object on each line"


class NotAJobError(CommandError):
    """A line is not a JSON object.

    Args:
        line: Its number.
        column: The column of the JSON error, None if it has none.
        value: What the line is.
    """

    def __init__(self, line: int, column: int | None, value: str) -> None:
        self.line, self.column, self.value = line, column, value
        where = "" if column is None else f", column {column}"
        super().__init__(f"line {line}{where} is {value}; {ONE_EACH}")


@attrs.frozen(kw_only=True)
class Line:
    """A line that holds a job.

    Attributes:
        number: Its number, from 1 on; empty lines count.
        text: Its text.
    """

    number: int
    text: bytes = attrs.field(repr=False)

    def job(self) -> dict[str, Any]:
        """Return the job, or raise `NotAJobError`."""
        try:
            job = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else None
            raise NotAJobError(self.number, column, "not JSON") from error
        if not isinstance(job, dict):
            raise NotAJobError(self.number, None, f"not a JSON object but {_kind(job)}")
        return job


@attrs.frozen(kw_only=True)
class Chunk:
    """Jobs that are enqueued together, all or none.

    Attributes:
        lines: The lines, at least one.
        end_bytes: How many bytes of the input have been read up to its end.
    """

    lines: tuple[Line, ...]
    end_bytes: int

    @property
    def first(self) -> int:
        """The number of its first line."""
        return self.lines[0].number

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs, or raise `NotAJobError` for the first line that is none."""
        return [line.job() for line in self.lines]

    def request_id(self, *context: str) -> str:
        """Return the key under which the chunk is enqueued once, however often it is sent.

        Args:
            context: Other texts that make it a different key, such as the upload's name.

        Returns:
            The key: the same for the same lines at the same place in the same context.
        """
        digest = hashlib.sha256()
        for part in (*context, str(self.first)):
            digest.update(part.encode() + b"\0")
        for line in self.lines:
            digest.update(line.text + b"\n")
        return f"lines-{digest.hexdigest()[:40]}"


def chunks(stream: BinaryIO, size: int, first_line: int = 1) -> Iterator[Chunk]:
    """Read the chunks of a stream, holding one of them at a time.

    Args:
        stream: The stream, from its beginning.
        size: How many lines a chunk has at most.
        first_line: The line to begin with; those before are skipped.

    Yields:
        The chunks. Lines with nothing but spaces are left out.
    """
    lines: list[Line] = []
    held = read = 0
    for number, raw in enumerate(stream, 1):
        read += len(raw)
        text = raw.strip().removeprefix(b"\xef\xbb\xbf") if number == 1 else raw.strip()
        if number < first_line or not text:
            continue
        lines.append(Line(number=number, text=text))
        held += len(text)
        if len(lines) == size or held >= MAX_CHUNK_BYTES:
            yield Chunk(lines=tuple(lines), end_bytes=read)
            lines, held = [], 0
    if lines:
        yield Chunk(lines=tuple(lines), end_bytes=read)


@contextmanager
def opened(source: Source) -> Iterator[Iterator[Chunk]]:
    """Open a file, or standard input, and yield its chunks."""
    size, first = source.batch_size or BATCH_SIZE, source.resume_from or 1
    if source.file is None:
        yield chunks(sys.stdin.buffer, size, first)
        return
    try:
        with source.file.open("rb") as stream:
            yield chunks(stream, size, first)
    except OSError as error:
        raise usage(f"--file {source.file}: {error.strerror}") from error


@contextmanager
def progress(source: Source, doing: str) -> Iterator[Callable[[Chunk], None]]:
    """Show a progress bar on a terminal; yield a function that takes each chunk that is done."""
    total = source.file.stat().st_size if source.file else None
    with output.progress_bar(doing, total) as show:
        yield lambda chunk: show(chunk.end_bytes, output.counted(chunk.lines[-1].number, "line"))


def _kind(value: object) -> str:
    kinds = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
