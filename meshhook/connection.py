"""Supabase clients set up for queue work, from the environment."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import attrs
from supabase import (
    AsyncClient,
    AsyncClientOptions,
    AsyncSupabaseException,
    Client,
    ClientOptions,
    SupabaseException,
    acreate_client,
    create_client,
)

from meshhook._defaults import KEY_VARIABLES, URL_VARIABLE
from meshhook._entered import AsyncBlock, PlainBlock
from meshhook._environment import env_file, setting
from meshhook._http import clients
from meshhook._http.advice import role_of
from meshhook.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from typing import Any

__all__ = ["connect", "connect_sync"]


@attrs.frozen
class _Target:
    """A project and its key; neither is shown, because either variable may hold the key.

    Crash reports contain the local variables of every frame that an error passes, so no frame here
    that can raise has them in a local variable.
    """

    url: str = attrs.field(repr=False)
    key: str = attrs.field(repr=False)


_ASYNC_FORM = "async with meshhook.connect() as client"
_SYNC_FORM = "with meshhook.connect_sync() as client"


class AsyncConnection(AsyncBlock):
    """The block that `connect` returns.

    Args:
        opened: What opens and closes the client.
    """

    _what = "connect()"
    _form = _ASYNC_FORM
    _elsewhere = _SYNC_FORM

    def __init__(self, opened: AbstractAsyncContextManager[AsyncClient]) -> None:
        self._opened = opened

    async def __aenter__(self) -> AsyncClient:
        return await self._opened.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:  # noqa: PYI036 - passed on
        return await self._opened.__aexit__(*error)


class SyncConnection(PlainBlock):
    """The block that `connect_sync` returns.

    Args:
        opened: What opens and closes the client.
    """

    _what = "connect_sync()"
    _form = _SYNC_FORM
    _elsewhere = _ASYNC_FORM

    def __init__(self, opened: AbstractContextManager[Client]) -> None:
        self._opened = opened

    def __enter__(self) -> Client:
        return self._opened.__enter__()

    def __exit__(self, *error: Any) -> bool | None:  # noqa: PYI036 - passed on
        return self._opened.__exit__(*error)


def connect(url: str | None = None, key: str | None = None) -> AsyncConnection:
    """Open an async Supabase client set up for queue work.

    It uses HTTP/1.1, because long-lived HTTP/2 connections to Supabase are dropped too often. It
    waits 5 seconds for a connection and 20 for an answer. It is closed at the end of the block.

    Args:
        url: The project's URL; by default ``SUPABASE_URL`` of the environment, or else of the file
            ``.env`` in the working directory.
        key: The secret (service role) key; by default the first of ``SUPABASE_KEY``,
            ``SUPABASE_SECRET_KEY`` and ``SUPABASE_SERVICE_ROLE_KEY`` in the environment, or else in
            the file. ``MESHHOOK_ENV_FILE`` names another file; empty, it means none.

    Returns:
        The block: ``async with connect() as client``.

    Raises:
        ConfigurationError: At the start of the block: URL or key are missing or cannot be used, or
            the file cannot be read.
    """
    return AsyncConnection(_opened(url, key))


def connect_sync(url: str | None = None, key: str | None = None) -> SyncConnection:
    """Open a sync Supabase client set up for queue work; see `connect`.

    Args:
        url: The project's URL; by default ``SUPABASE_URL`` of the environment, or else of the file
            ``.env`` in the working directory.
        key: The secret (service role) key; by default the first of ``SUPABASE_KEY``,
            ``SUPABASE_SECRET_KEY`` and ``SUPABASE_SERVICE_ROLE_KEY`` in the environment, or else in
            the file. ``MESHHOOK_ENV_FILE`` names another file; empty, it means none.

    Returns:
        The block: ``with connect_sync() as client``.

    Raises:
        ConfigurationError: At the start of the block: URL or key are missing or cannot be used, or
            the file cannot be read.
    """
    return SyncConnection(_opened_sync(url, key))


@asynccontextmanager
async def _opened(url: str | None, key: str | None) -> AsyncIterator[AsyncClient]:
    given, url, key = _given(url, key), None, None
    target = _target(given)
    async with clients.async_http_client() as http:
        try:
            client = await acreate_client(
                target.url, target.key, AsyncClientOptions(httpx_client=http)
            )
        except (AsyncSupabaseException, ValueError) as error:
            raise ConfigurationError(f"The Supabase client cannot be made: {error}") from error
        yield client


@contextmanager
def _opened_sync(url: str | None, key: str | None) -> Iterator[Client]:
    given, url, key = _given(url, key), None, None
    target = _target(given)
    with clients.sync_http_client() as http:
        try:
            client = create_client(target.url, target.key, ClientOptions(httpx_client=http))
        except (SupabaseException, ValueError) as error:
            raise ConfigurationError(f"The Supabase client cannot be made: {error}") from error
        yield client


def _given(url: str | None, key: str | None) -> _Target:
    return _Target("" if url is None else url, "" if key is None else key)


def _target(given: _Target) -> _Target:
    _check_text("url", given.url)
    _check_text("key", given.key)
    target = _with_environment(given)
    problem = _problem(target)
    if problem is not None:
        raise ConfigurationError(problem)
    return target


def _with_environment(given: _Target) -> _Target:
    # The file is read at most once, and no variable has a value of it if the reading fails.
    file = env_file()
    return _Target(
        given.url.strip() or setting(URL_VARIABLE, file=file),
        given.key.strip() or setting(*KEY_VARIABLES, file=file),
    )


def _problem(target: _Target) -> str | None:
    """Return what is wrong with URL or key, without quoting them."""
    names = {URL_VARIABLE: target.url, KEY_VARIABLES[0]: target.key}
    missing = [name for name, value in names.items() if not value]
    if missing:
        what = " and ".join(missing)
        return f"{what} not set: give url and key, or set them in the environment or in .env."
    if not clients.is_http_url(target.url):
        # It may be the key, or the database's URL with its password.
        return "SUPABASE_URL must be a URL such as https://<project>.supabase.co or http://127.0.0.1:54321."
    if not target.key.isascii() or not target.key.isprintable():
        return "SUPABASE_KEY has characters that no key has."
    role = role_of(target.key)
    if role not in {None, "service_role"}:
        return f"SUPABASE_KEY is a key of the role {role}. Use the secret (service role) key."
    return None


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        # The text does not quote it: it may hold the key.
        raise ConfigurationError(f"{name} must be a text, not {type(value).__name__}.")
