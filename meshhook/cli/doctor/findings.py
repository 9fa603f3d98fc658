"""What a doctor finds: one line for each thing that was looked at, with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from meshhook._http.advice import INSTALL_AGAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

Status = Literal["ok", "warning", "problem"]

INSTALL = "meshhook migrations install, then supabase db push"
"""What puts MeshHook's SQL into a project that has none of it."""

REPAIR = f'{INSTALL_AGAIN} (or: meshhook migrations print | psql "$DATABASE_URL")'
"""What restores MeshHook's SQL where the files are there and were applied once."""


@attrs.frozen
class Finding:
    """What was found out about one thing.

    Attributes:
        check: What was looked at.
        status: ``ok``; ``warning`` for a problem that will grow; ``problem``.
        message: What was found.
        fix: What to do about it; empty where nothing is.
    """

    check: str
    status: Status
    message: str
    fix: str = ""


def ok(check: str, message: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, fix: str) -> Finding:
    """Return the finding that something works and will become a problem."""
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(check, "problem", message, fix)


def few(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    told = ", ".join(names[:3])
    return f"{told} and {len(names) - 3} more" if len(names) > 3 else told  # noqa: PLR2004 - a few
