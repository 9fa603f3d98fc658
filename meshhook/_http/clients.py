"""The HTTP clients that `connect` gives a Supabase client."""

from __future__ import annotations

import httpx

# The read time is above the 8 seconds after which hosted Supabase cuts a statement off, so that the
# cause of a slow call is told by the database and not guessed by the client.
TIMEOUT = httpx.Timeout(20.0, connect=5.0)
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=30.0)


def async_http_client() -> httpx.AsyncClient:
    """Return an async HTTP client made for queue work."""
    hooks = {"request": [async_send_key_once]}
    return httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, event_hooks=hooks)


def sync_http_client() -> httpx.Client:
    """Return a sync HTTP client made for queue work."""
    hooks = {"request": [send_key_once]}
    return httpx.Client(timeout=TIMEOUT, limits=LIMITS, event_hooks=hooks)


def send_key_once(request: httpx.Request) -> None:
    """Take a key that is no JWT out of the header for JWTs."""
    # The new keys are no JWTs. Supabase takes them in "apikey"; as a bearer token, where
    # supabase-py puts them too, some of its gateways refuse them.
    if request.headers.get("authorization", "").startswith("Bearer sb_"):
        del request.headers["authorization"]


async def async_send_key_once(request: httpx.Request) -> None:
    """Do what `send_key_once` does, for an async client."""
    send_key_once(request)


def is_http_url(url: str) -> bool:
    """Return whether a text is a URL that an HTTP client can use."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return False
    return parsed.scheme in {"http", "https"} and bool(parsed.host)
