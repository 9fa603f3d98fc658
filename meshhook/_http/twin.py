"""A sync transport for another thread: a copy of a client that never uses the client itself.

A Supabase client belongs to one event loop. A call that must be sent while that loop is blocked
goes through a second client with the same URL, headers, certificates and proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import httpx
from postgrest import SyncPostgrestClient

from meshhook._http import clients
from meshhook._http.repeat import NEVER
from meshhook._http.transport import SyncTransport
from meshhook.exceptions import ConfigurationError

if TYPE_CHECKING:
    from meshhook._calls.base import Call

T = TypeVar("T")


@attrs.frozen
class _Rest:
    """The part of a Supabase client that a `SyncTransport` uses."""

    postgrest: SyncPostgrestClient


class Twin:
    """Sends calls as a client's transport would, from another thread.

    The connections are opened for the first call, with the headers that the client has then, so
    that a replaced key is used. Only the settings of the client are read.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._rest: _Rest | None = None

    def call(self, call: Call[T], timeout_seconds: float) -> T:
        """Send a call once and return its result.

        Raises:
            RequestError: The call failed.
            ConfigurationError: The client's HTTP client cannot be copied.
        """
        if self._rest is None:
            self._rest = _Rest(_postgrest(self._client.postgrest, timeout_seconds))
        transport = SyncTransport(self._rest, NEVER)  # type: ignore[arg-type]  # all that it uses
        return transport.call(call)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._rest is not None:
            self._rest.postgrest.session.close()
            self._rest = None


def _postgrest(original: Any, timeout_seconds: float) -> SyncPostgrestClient:
    http = _http_client(original.session, httpx.URL(str(original.base_url)), timeout_seconds)
    return SyncPostgrestClient(
        str(original.base_url), headers=dict(original.headers), http_client=http
    )


def _http_client(
    original: httpx.AsyncClient | httpx.Client, url: httpx.URL, timeout_seconds: float
) -> httpx.Client:
    hooks = original.event_hooks["request"]
    sends_key_once = {clients.send_key_once, clients.async_send_key_once} & set(hooks)
    return httpx.Client(
        transport=_http_transport(original._transport_for_url(url)),  # noqa: SLF001 - there is no public way
        timeout=_shortened(original.timeout, timeout_seconds),
        headers=original.headers,
        params=original.params,
        cookies=original.cookies,
        auth=original.auth,
        base_url=original.base_url,
        follow_redirects=original.follow_redirects,
        trust_env=False,  # the original's transport has what the environment says
        event_hooks={"request": [clients.send_key_once] if sends_key_once else []},
    )


def _shortened(timeout: httpx.Timeout, seconds: float) -> httpx.Timeout:
    parts = (timeout.connect, timeout.read, timeout.write, timeout.pool)
    connect, read, write, pool = (seconds if part is None else min(part, seconds) for part in parts)
    return httpx.Timeout(connect=connect, read=read, write=write, pool=pool)


def _http_transport(original: object) -> httpx.HTTPTransport:
    """Return a transport with the certificates, the proxy and the socket of another.

    Raises:
        ConfigurationError: The other is the user's own class. What it does is unknown, and a test's
            transport must not be bypassed.
    """
    if type(original) not in {httpx.AsyncHTTPTransport, httpx.HTTPTransport}:
        raise ConfigurationError(
            f"The client's HTTP transport is a {type(original).__qualname__}, which cannot be"
            " copied for another thread."
        )
    pool = original._pool  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    return httpx.HTTPTransport(
        verify=getattr(pool, "_ssl_context", None) or True,
        proxy=_proxy(pool),
        uds=getattr(pool, "_uds", None),
        local_address=getattr(pool, "_local_address", None),
        socket_options=getattr(pool, "_socket_options", None),
    )


def _proxy(pool: Any) -> httpx.Proxy | None:
    url = getattr(pool, "_proxy_url", None)
    if url is None:
        return None
    # A SOCKS proxy has its user and password here, an HTTP proxy in its headers.
    auth = getattr(pool, "_proxy_auth", None)
    return httpx.Proxy(
        bytes(url).decode(),
        ssl_context=getattr(pool, "_proxy_ssl_context", None),
        auth=auth and (auth[0].decode(), auth[1].decode()),
        headers=getattr(pool, "_proxy_headers", None),
    )
