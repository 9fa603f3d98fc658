"""Telling a misspelt field of a job from a field that the sender made up.

A job may have any fields at its top, so a misspelt one would be stored and never read. A field is
refused if it is spelt like a known field, or nearly so, and that known field is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

FOR_SENDERS = ("run_id", "workflow_id", "project_id", "metadata", "attempt", "max_attempts")
"""The fields of a job that its sender sets."""

WRITTEN_BY_MESHHOOK = (
    "enqueued_at",
    "error_message",
    "error_stack",
    "last_error",
    "last_error_at",
    "moved_to_dlq_at",
    "original_enqueued_at",
    "original_msg_id",
    "read_count",
)
FIELDS = frozenset({*FOR_SENDERS, *WRITTEN_BY_MESHHOOK})
"""All fields of a job that the original system knows."""

# Of the fields that MeshHook writes, a sender might misspell only `enqueued_at`; `last_errors` and
# the like are more probably the sender's own fields.
_OFTEN_MISSPELT = (*FOR_SENDERS, "enqueued_at")
_LONG = 10
LONGEST = 30
"""How many letters a misspelt field has at most; a longer name is the sender's own."""

_PLAIN = str.maketrans("", "", "_- ")


def _plain(name: str) -> str:
    return name.lower().translate(_PLAIN)


_BY_PLAIN_NAME = {
    **{_plain(name): name for name in (*FOR_SENDERS, *WRITTEN_BY_MESHHOOK)},
    # What other queues call it.
    "attempts": "max_attempts",
    "maxretries": "max_attempts",
}


def misspelt(data: Collection[object]) -> dict[str, str]:
    """Return the misspelt fields of a job, each with its right name."""
    if FIELDS.issuperset(data):
        return {}
    looks_like = {name: meant(name) for name in data if isinstance(name, str)}
    return {name: known for name, known in looks_like.items() if known and known not in data}


def meant(name: object) -> str | None:
    """Return the known field that a name looks like; None for a known or a different name."""
    if not isinstance(name, str) or len(name) > LONGEST or name in FIELDS:
        return None
    plain = _plain(name)
    if plain in _BY_PLAIN_NAME:
        return _BY_PLAIN_NAME[plain]
    return next((known for known in _OFTEN_MISSPELT if _is_near(plain, _plain(known))), None)


def _is_near(name: str, known: str) -> bool:
    if abs(len(name) - len(known)) > 2:  # noqa: PLR2004 - two slips
        return False
    slips = _slips(name, known)
    # `workflow` and `enqueued_by` are also two letters away from a field.
    has_its_ends = name[:1] == known[:1] and name.rstrip("s")[-1:] == known.rstrip("s")[-1:]
    return slips <= 1 or (slips == 2 and len(known) >= _LONG and has_its_ends)  # noqa: PLR2004


def _slips(one: str, other: str) -> int:
    """Count the letters that are missing, too many, wrong, or swapped with the next."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 1] + other[j - 2]:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
