"""Supabase clients that a fixture can make, whichever event loop the test will run."""

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

    It keeps no connection open between two requests, so nothing of it is left when a test's event
    loop ends, and one client may serve several loops, one after the other.

    Args:
        stack: What it talks to.

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
        stack: What it talks to.

    Yields:
        The client.
    """
    with httpx.Client(timeout=TIMEOUT_SECONDS, verify=_verifies(stack)) as http:
        yield create_client(stack.url, stack.secret_key, ClientOptions(httpx_client=http))


def _verifies(stack: Stack) -> bool:
    # Loading the certificates takes longer than a whole test, and plain HTTP has no use for them.
    return stack.url.startswith("https:")
