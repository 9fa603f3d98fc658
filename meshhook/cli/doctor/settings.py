"""Errors in a project's URL and key that can be found before anything is sent."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from meshhook.cli.doctor.findings import Finding, ok, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL = "settings"
_KEY = "key"
_QUOTES = "\"'"
_API = "take the API URL of the dashboard's Project Settings > Data API"
_EXAMPLE = "https://<project>.supabase.co"
_SERVICE = re.compile(r"/(?:rest|auth|storage|functions|realtime|graphql)/v1.*", re.DOTALL)
_DASHBOARD = re.compile(r"/dashboard/project/(\w+)")
_RIGHT_KEY = "take the secret key (sb_secret_...) of the dashboard's Project Settings > API Keys"


def examine_url(url: str) -> Finding:
    """Return the first error in a project's URL, or that there is none.

    A part that may be a password is not quoted.
    """
    return next(_errors_of_url(url), ok(_URL, f"the project at {url}"))


def _errors_of_url(url: str) -> Iterator[Finding]:
    if url[0] in _QUOTES or url[-1] in _QUOTES:
        fix = "drop the quotes around the value of SUPABASE_URL"
        yield problem(_URL, "SUPABASE_URL has quotes as a part of its value", fix)
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # the client reports it
    if parts.scheme in {"postgres", "postgresql"}:
        fix = f"{_API}: {_EXAMPLE}"
        yield problem(_URL, "SUPABASE_URL is the URL of the database, not of the API", fix)
    elif parts.scheme in {"http", "https"}:
        yield from _errors_of_place(parts)


def _errors_of_place(parts: SplitResult) -> Iterator[Finding]:
    begin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    host = parts.hostname or ""
    if service := _SERVICE.search(parts.path):
        fix = f"drop it: {begin}{parts.path[: service.start()]}"
        yield problem(_URL, f"SUPABASE_URL ends in {service[0]}, which is added to it", fix)
    if host.startswith("db.") and host.endswith(".supabase.co"):
        fix = f"drop the db.: https://{host.removeprefix('db.')}"
        yield problem(_URL, f"SUPABASE_URL names the host of the database, {host}", fix)
    if host == "supabase.com":
        project = _DASHBOARD.search(parts.path)
        fix = f"take https://{project[1]}.supabase.co" if project else f"{_API}: {_EXAMPLE}"
        yield problem(_URL, "SUPABASE_URL is the URL of the dashboard", fix)


def examine_key(key: str, url: str, now: datetime) -> Finding:
    """Return the first error in a key, or that there is none."""
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        fix = "drop the quotes around the value of SUPABASE_KEY"
        return problem(_KEY, "SUPABASE_KEY has quotes as a part of its value", fix)
    if key.startswith("sb_publishable_"):
        message = "SUPABASE_KEY is a publishable key, which may call nothing"
        return problem(_KEY, message, _RIGHT_KEY)
    if key.startswith("sb_secret_"):
        return ok(_KEY, "a secret key")
    claims = _claims(key)
    if claims is None:
        return problem(_KEY, "SUPABASE_KEY is neither a secret key nor a token", _RIGHT_KEY)
    return next(_errors_of_claims(claims, url, now), ok(_KEY, "a token of the role service_role"))


def _errors_of_claims(claims: dict[str, Any], url: str, now: datetime) -> Iterator[Finding]:
    role = claims.get("role")
    if role != "service_role":
        message = f"SUPABASE_KEY is a key of the role {role}, not service_role"
        yield problem(_KEY, message, _RIGHT_KEY)
    expiry = claims.get("exp")
    if isinstance(expiry, int | float) and expiry <= now.timestamp():
        yield problem(_KEY, f"SUPABASE_KEY has expired at {_time(expiry)}", _RIGHT_KEY)
    host, _, domain = _host(url).partition(".")
    project = claims.get("ref")
    if domain == "supabase.co" and project and project != host:
        message = f"SUPABASE_KEY is of the project {project}, SUPABASE_URL of {host}"
        yield problem(_KEY, message, "take URL and key of one project")


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # outside of the years that Python knows
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
