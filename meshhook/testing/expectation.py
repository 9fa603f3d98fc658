"""What a test expects of a job, and the text of the error when no job matches."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshhook.models import JobRecord

DELAY_TOLERANCE_SECONDS = 1.0
"""How far a delay may be off, since its start and its end are not read at the same moment."""

MAX_SHOWN = 5
MAX_CHARACTERS = 200
_MISSING = object()


@attrs.frozen
class Expectation:
    """The properties that a job must have.

    Attributes:
        fields: The fields of its message. A mapping may have only part of the job's keys.
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
        """Whether every job matches."""
        return not self.fields and self.delay_seconds is None

    def differences(self, job: JobRecord) -> list[str]:
        """Return the differences of a job; empty if it matches."""
        found = list(_differences(job.message or {}, self.fields))
        if self.delay_seconds is not None:
            found += _delay_difference(job, self.delay_seconds)
        return found


def shown(value: object) -> str:
    """Return a value as a short text."""
    text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."


def describe(jobs: Sequence[JobRecord], expectation: Expectation) -> str:
    """Return a description of the jobs in a queue that did not match, the most similar first."""
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
    """Return a value as it is in JSON: enqueue takes a UUID, too."""
    return str(value) if isinstance(value, uuid.UUID) else value
