"""The failed attempts of a job, as `jobs show` and `dlq show` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshhook.models import AttemptRecord

_COLUMNS = ("attempt:", "outcome", "failed", "after s:", "worker", "error")


def show_attempts(attempts: Sequence[AttemptRecord]) -> None:
    """Show a table of attempts below what was shown before; nothing if there are none."""
    if attempts:
        output.say("")
        output.show_table(_COLUMNS, map(_row, attempts), "")


def _row(attempt: AttemptRecord) -> tuple[object, ...]:
    return (
        attempt.attempt,
        attempt.outcome,
        attempt.failed_at,
        None if attempt.seconds is None else f"{attempt.seconds:.3f}",
        attempt.worker,
        output.one_line(error_of(attempt)),
    )


def error_of(attempt: AttemptRecord) -> str:
    """Return type and message of an attempt's error; the worker's messages begin with the type."""
    kind, message = attempt.error_type or "", attempt.error_message or ""
    if not kind or message == kind or message.startswith(f"{kind}:"):
        return message
    return f"{kind}: {message}" if message else kind
