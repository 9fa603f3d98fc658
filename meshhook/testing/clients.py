"""Supabase clients that a fixture can make, for a test that runs in any event loop."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from supabase import AsyncClient, AsyncClientOptions, Client, ClientOptions, create_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.testing.stack import Stack

TIMEOUT_SECONDS = 20.0


def open_async_client(stack: Stack) -> AsyncClient:
    """Make an async client that belongs to no event loop and need not be closed.

    It keeps no connection open between two requests. So nothing is left open when a test's event
    loop ends, and one client may be used in several loops, one after another.

    Args:
        stack: The stack.

    Returns:
        The client.
    """
    http = httpx.AsyncClient(
        timeout=TIMEOUT_SECONDS,
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=0),
        verify=_verifies(stack),
    )
    return AsyncClient(stack.url, stack.secret_key, AsyncClientOptions(httpx_client=http))


@contextmanager
def open_sync_client(stack: Stack) -> Iterator[Client]:
    """Make a sync client, and close it at the end of the block.

    Args:
        stack: The stack.

    Yields:
        The client.
    """
    with httpx.Client(timeout=TIMEOUT_SECONDS, verify=_verifies(stack)) as http:
        yield create_client(stack.url, stack.secret_key, ClientOptions(httpx_client=http))


def _verifies(stack: Stack) -> bool:
    # Loading the certificates takes longer than a whole test, and plain HTTP does not use them.
    return stack.url.startswith("https:")
