"""What a key says about itself, before anything is sent."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshhook.cli.doctor.findings import Finding, ok, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECK = "key"
_QUOTES = "\"'"
_WHERE = "take the secret key (sb_secret_...) of the dashboard's Project Settings > API Keys"


def examine_key(key: str, url: str, now: datetime) -> Finding:
    """Look at a key.

    Args:
        key: The key.
        url: The project's URL.
        now: The time.

    Returns:
        The first thing that is wrong with it, or that nothing is.
    """
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        fix = "drop the quotes around the value of SUPABASE_KEY"
        return problem(_CHECK, "SUPABASE_KEY has quotes as a part of its value", fix)
    if key.startswith("sb_publishable_"):
        return problem(_CHECK, "SUPABASE_KEY is a publishable key, which may call nothing", _WHERE)
    if key.startswith("sb_secret_"):
        return ok(_CHECK, "a secret key")
    claims = _claims(key)
    if claims is None:
        return problem(_CHECK, "SUPABASE_KEY is neither a secret key nor a token", _WHERE)
    return next(_wrong_with(claims, url, now), ok(_CHECK, "a token of the role service_role"))


def _wrong_with(claims: dict[str, Any], url: str, now: datetime) -> Iterator[Finding]:
    role = claims.get("role")
    if role != "service_role":
        yield problem(_CHECK, f"SUPABASE_KEY is a key of the role {role}, not service_role", _WHERE)
    expiry = claims.get("exp")
    if isinstance(expiry, int | float) and expiry <= now.timestamp():
        yield problem(_CHECK, f"SUPABASE_KEY has expired at {_time(expiry)}", _WHERE)
    host, _, domain = _host(url).partition(".")
    project = claims.get("ref")
    if domain == "supabase.co" and project and project != host:
        yield problem(
            _CHECK,
            f"SUPABASE_KEY is of the project {project}, SUPABASE_URL of {host}",
            "take URL and key of one project",
        )


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # before the first year that Python knows
        return str(seconds)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _claims(key: str) -> dict[str, Any] | None:
    try:
        _, payload, _ = key.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
