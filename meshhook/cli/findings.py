"""What a doctor finds: one line for each thing that was looked at, with its fix."""

from __future__ import annotations

from typing import Literal

import attrs

Status = Literal["ok", "warning", "problem"]

INSTALL = "meshhook migrations install, then supabase db push"


@attrs.frozen
class Finding:
    """What was found out about one thing.

    Attributes:
        check: What was looked at.
        status: ``ok``; ``warning`` for what works and will not for ever; ``problem``.
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
    """Return the finding that something will not go well for ever."""
    return Finding(check, "warning", message, fix)


def problem(check: str, message: str, fix: str) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(check, "problem", message, fix)
