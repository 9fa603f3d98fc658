"""The clients: the HTTP clients that `connect` makes, and the clients that callers give."""

from __future__ import annotations

import httpx
from supabase import AsyncClient, Client

from meshhook._entered import AsyncBlock, Entered, PlainBlock, how_to_enter

# Hosted Supabase cuts a statement off after 8 seconds. The client waits longer, so that the
# database can report the cause of a slow call.
TIMEOUT = httpx.Timeout(20.0, connect=5.0)
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=30.0)


def async_http_client() -> httpx.AsyncClient:
    """Return an async HTTP client set up for queue work."""
    hooks = {"request": [async_send_key_once]}
    return httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, event_hooks=hooks)


def sync_http_client() -> httpx.Client:
    """Return a sync HTTP client set up for queue work."""
    hooks = {"request": [send_key_once]}
    return httpx.Client(timeout=TIMEOUT, limits=LIMITS, event_hooks=hooks)


def send_key_once(request: httpx.Request) -> None:
    """Remove a key that is no JWT from the header for JWTs."""
    # The new keys are no JWTs. Supabase takes them in the header "apikey". supabase-py also sends
    # them as a bearer token, which some gateways refuse.
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


def async_client(client: object, owner: str, *, has_sync: bool = True) -> AsyncClient:
    """Return the client if it is an async one.

    Raises:
        TypeError: It is something else; the text names the right class. *owner* is the class that
            got the client; *has_sync* says whether there is a ``Sync…`` class next to it.
    """
    if isinstance(client, AsyncClient):
        return client
    made = "make one with meshhook.connect() or supabase.acreate_client()"
    if isinstance(client, AsyncBlock):
        made = f"enter it, {how_to_enter(client)[1]}, and give the client"
    advice = f"use Sync{owner} for that" if has_sync and isinstance(client, Client) else made
    raise TypeError(f"{owner} takes a supabase.AsyncClient, not {_kind(client)}: {advice}")


def sync_client(client: object, owner: str) -> Client:
    """Return the client if it is a sync one; see `async_client`."""
    if isinstance(client, Client):
        return client
    made = "make one with meshhook.connect_sync() or supabase.create_client()"
    if isinstance(client, PlainBlock):
        made = f"enter it, {how_to_enter(client)[1]}, and give the client"
    advice = (
        f"use {owner.removeprefix('Sync')} for that" if isinstance(client, AsyncClient) else made
    )
    raise TypeError(f"{owner} takes a sync supabase.Client, not {_kind(client)}: {advice}")


def _kind(client: object) -> str:
    if isinstance(client, AsyncClient | Client):
        return f"supabase.{type(client).__name__}"
    if isinstance(client, Entered):
        return how_to_enter(client)[0]
    return type(client).__qualname__
