"""What is wrong with a project's URL, as far as can be told before anything is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from meshhook.cli.doctor.findings import Finding, ok, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECK = "settings"
_API = "take the API URL of the dashboard's Project Settings > Data API"
_EXAMPLE = "https://<project>.supabase.co"
_SERVICE = re.compile(r"/(?:rest|auth|storage|functions|realtime|graphql)/v1.*", re.DOTALL)
_DASHBOARD = re.compile(r"/dashboard/project/(\w+)")
_QUOTES = "\"'"


def examine_url(url: str) -> Finding:
    """Look at a URL.

    Args:
        url: The project's URL.

    Returns:
        The first thing that is wrong with it, or that nothing is. What may be a password is not
        quoted.
    """
    return next(_wrong_with(url), ok(_CHECK, f"the project at {url}"))


def _wrong_with(url: str) -> Iterator[Finding]:
    if url[0] in _QUOTES or url[-1] in _QUOTES:
        fix = "drop the quotes around the value of SUPABASE_URL"
        yield problem(_CHECK, "SUPABASE_URL has quotes as a part of its value", fix)
    try:
        parts = urlsplit(url)
    except ValueError:
        return  # the client says so
    if parts.scheme in {"postgres", "postgresql"}:
        fix = f"{_API}: {_EXAMPLE}"
        yield problem(_CHECK, "SUPABASE_URL is the URL of the database, not of the API", fix)
    elif parts.scheme in {"http", "https"}:
        yield from _wrong_with_place(parts)


def _wrong_with_place(parts: SplitResult) -> Iterator[Finding]:
    begin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    host = parts.hostname or ""
    if service := _SERVICE.search(parts.path):
        fix = f"drop it: {begin}{parts.path[: service.start()]}"
        yield problem(_CHECK, f"SUPABASE_URL ends in {service[0]}, which is added to it", fix)
    if host.startswith("db.") and host.endswith(".supabase.co"):
        fix = f"drop the db.: https://{host.removeprefix('db.')}"
        yield problem(_CHECK, f"SUPABASE_URL names the host of the database, {host}", fix)
    if host == "supabase.com":
        project = _DASHBOARD.search(parts.path)
        fix = f"take https://{project[1]}.supabase.co" if project else f"{_API}: {_EXAMPLE}"
        yield problem(_CHECK, "SUPABASE_URL is the URL of the dashboard", fix)
