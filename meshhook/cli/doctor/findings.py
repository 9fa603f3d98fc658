"""The findings of the doctor: one line for each check, with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from meshhook._http.advice import INSTALL_AGAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

Status = Literal["ok", "warning", "problem"]

INSTALL = "meshhook migrations install, then supabase db push"
"""The fix for a project that has nothing of MeshHook's SQL."""

REPAIR = f'{INSTALL_AGAIN} (or: meshhook migrations print | psql "$DATABASE_URL")'
"""The fix for a project whose migrations were applied, but are not complete any more."""


@attrs.frozen
class Finding:
    """The result of one check.

    Attributes:
        check: The name of the check.
        status: ``ok``, ``warning`` (works, but will become a problem) or ``problem``.
        message: What was found.
        fix: What to do; empty if nothing.
    """

    check: str
    status: Status
    message: str
    fix: str = ""


def ok(check: str, message: str) -> Finding:
    """Return the finding that a check passed."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, fix: str) -> Finding:
    """Return the finding that something works, but will become a problem."""
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(check, "problem", message, fix)


def few(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    first = ", ".join(names[:3])
    return f"{first} and {len(names) - 3} more" if names[3:] else first
