"""MeshHook's errors for requests that could not be sent, or got no answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from supabase import AsyncClient

from meshhook import exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_CONNECTION = (
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    httpx.DecodingError,
)
# asyncio, trio and anyio have neither a class nor a code for it.
_OTHER_LOOP = ("event loop", "different loop", "async context")
_ADVICE = "Wait; if it lasts, check SUPABASE_URL, the network and the project's status."
_NOT_ASCII = "a header, such as the key, has characters that HTTP does not allow"


@contextmanager
def translated(function: str, client: Any) -> Iterator[None]:
    """Raise MeshHook's errors in place of those that a request meets.

    Args:
        function: The function or view that the request is for.
        client: The Supabase client that sends it.

    Raises:
        OutageError: It got no answer.
        ConfigurationError: The client cannot send it.
    """
    try:
        yield
    except RuntimeError as error:
        raise _unusable(function, client, error) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(function, error) from error


def cannot_send(function: str, why: object = _NOT_ASCII) -> exceptions.ConfigurationError:
    """Return the error for a client that cannot send a request."""
    return exceptions.ConfigurationError(f"{function}: the client cannot send ({why}).")


def _unusable(function: str, client: Any, error: RuntimeError) -> exceptions.ConfigurationError:
    is_async = isinstance(client, AsyncClient)
    form = "async with meshhook.connect()" if is_async else "with meshhook.connect_sync()"
    if client.postgrest.session.is_closed:
        return exceptions.ConfigurationError(
            f"{function}: the client is closed, since the block that opened it has ended. Work "
            f"inside {form} as client, or open another one."
        )
    if is_async and any(words in str(error).lower() for words in _OTHER_LOOP):
        return exceptions.ConfigurationError(
            f"{function}: the client belongs to another event loop ({error}). Open one in each "
            f"loop, {form} as client, inside the function that asyncio.run() is given; or use the "
            "Sync classes, whose clients any thread may use."
        )
    return cannot_send(function, error)


def _no_answer(function: str, error: Exception) -> exceptions.MeshHookError:
    what = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return exceptions.RequestTimeoutError(
            f"{function}: no answer in time ({what}). {_ADVICE}", function=function
        )
    if isinstance(error, _NO_CONNECTION):
        return exceptions.UnreachableError(
            f"{function}: no connection ({what}). {_ADVICE}", function=function
        )
    if isinstance(error, httpx.LocalProtocolError):
        # Its text, its causes and its frames may hold a header, and with it the key.
        error.args = (_NOT_ASCII,)
        error.__cause__ = error.__context__ = error.__traceback__ = None
        return cannot_send(function)
    return cannot_send(function, what)
