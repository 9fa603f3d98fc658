"""Reading JSON Lines of any length in chunks whose borders depend on the input alone."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from meshhook.cli.exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHUNK_BYTES = 4_000_000
"""How large a chunk may grow before it ends early: gateways limit the size of a request."""


ONE_EACH = "write one JSON object on each line"


class NotAJobError(CommandError):
    """A line is not a JSON object.

    Args:
        line: Its number.
        column: Where in the line the JSON goes wrong, None where that cannot be said.
        value: What the line is instead.
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
        text: What stands in it.
    """

    number: int
    text: bytes = attrs.field(repr=False)

    def job(self) -> dict[str, Any]:
        """Return the job.

        Raises:
            NotAJobError: The line is not a JSON object.
        """
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
        """Return the jobs.

        Raises:
            NotAJobError: A line is not a JSON object.
        """
        return [line.job() for line in self.lines]

    def request_id(self, *context: str) -> str:
        """Return the id under which the chunk is enqueued once, however often it is sent.

        Args:
            context: What else makes an enqueue another one.

        Returns:
            The id: the same for the same lines at the same place in the same context.
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
        size: How many lines a chunk has at the most.
        first_line: Which line to begin with; those before are passed over.

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


def _kind(value: object) -> str:
    kinds = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
