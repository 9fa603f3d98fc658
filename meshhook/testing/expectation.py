"""What a test expects of a job, and how to say that no job is like that."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshhook.models import JobRecord

DELAY_TOLERANCE_SECONDS = 1.0
"""How far a delay may be off: the two dates that it lies between are not read at one moment."""

MAX_SHOWN = 5
MAX_CHARACTERS = 200
_MISSING = object()


@attrs.frozen
class Expectation:
    """What a job must be like.

    Attributes:
        fields: What its message must have. A mapping in it need only be part of the job's.
        delay_seconds: The delay that it must have been enqueued with, in seconds; None for any.
    """

    fields: Mapping[str, Any]
    delay_seconds: float | None = None

    def __str__(self) -> str:
        parts = [f"{path} == {shown(value)}" for path, value in _leaves(self.fields)]
        if self.delay_seconds is not None:
            parts.append(f"delay_seconds == {self.delay_seconds:g}")
        return ", ".join(parts)

    @property
    def is_any(self) -> bool:
        """Whether every job is like that."""
        return not self.fields and self.delay_seconds is None

    def differences(self, job: JobRecord) -> list[str]:
        """Return in what ways a job is not like that; empty if it is."""
        found = list(_differences(job.message or {}, self.fields))
        if self.delay_seconds is not None:
            found += _delay_difference(job, self.delay_seconds)
        return found


def shown(value: object) -> str:
    """Return a value as a short text."""
    text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."


def describe(jobs: Sequence[JobRecord], expectation: Expectation) -> str:
    """Return what a queue holds instead of what was expected, the most similar jobs first."""
    compared = sorted(
        ((expectation.differences(job), job) for job in jobs), key=lambda pair: len(pair[0])
    )
    lines = [_line(job, differences) for differences, job in compared[:MAX_SHOWN]]
    if len(jobs) > MAX_SHOWN:
        lines.append(f"  and {len(jobs) - MAX_SHOWN} more")
    return "\n".join(lines)


def _line(job: JobRecord, differences: Sequence[str]) -> str:
    heading = f"  job {job.msg_id} ({job.state}, attempt {job.attempt})"
    if not differences:
        return f"{heading}: {shown(dict(job.message or {}))}"
    return "\n      ".join([f"{heading}:", *differences])


def _differences(
    actual: Mapping[str, Any], expected: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    for name, value in expected.items():
        where = f"{path}.{name}" if path else str(name)
        found = actual.get(name, _MISSING)
        if found is _MISSING:
            yield f"{where} is missing, expected {shown(_plain(value))}"
        elif isinstance(value, Mapping) and isinstance(found, Mapping):
            yield from _differences(found, value, where)
        elif found != _plain(value):
            yield f"{where} is {shown(found)}, expected {shown(_plain(value))}"


def _delay_difference(job: JobRecord, expected: float) -> list[str]:
    if job.read_ct or job.vt is None:
        return ["it has been delivered since, so the delay it was enqueued with is not known"]
    actual = max(0.0, (job.vt - job.enqueued_at).total_seconds())
    if abs(actual - expected) <= DELAY_TOLERANCE_SECONDS:
        return []
    return [f"delay_seconds is {actual:.1f}, expected {expected:g}"]


def _leaves(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        where = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, where)
        else:
            yield where, _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, as far as it is of a type that enqueue takes."""
    return str(value) if isinstance(value, uuid.UUID) else value
