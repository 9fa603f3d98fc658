"""Clients made for queue work: where URL and key come from, and what the connection is like."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from supabase import AsyncClient, Client

from meshhook import ConfigurationError, connect, connect_sync
from tests.http.fake import KEY, URL, FakeSupabase, answers, call
from tests.http.test_secrets import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OTHER_KEY = "sb_secret_other"
VARIABLES = ["SUPABASE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"]


def jwt(payload: Any) -> str:
    """Return a token of the old kind; nobody checks its signature here."""
    parts = ({"alg": "HS256"}, payload)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b"signature"]).decode()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", *VARIABLES):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def connected(lane: str, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    """Connect as the lane does."""
    if lane == "sync":
        with connect_sync(*args, **kwargs) as client:
            yield client
    else:
        async with connect(*args, **kwargs) as async_client:
            yield async_client


async def refusal(lane: str, *args: Any, **kwargs: Any) -> ConfigurationError:
    """Return the error of a connection that must not come about."""
    with pytest.raises(ConfigurationError) as caught:
        async with connected(lane, *args, **kwargs):
            pass
    return caught.value


async def test_a_client_of_the_right_kind_is_made(lane: str) -> None:
    async with connected(lane, URL, KEY) as client:
        assert type(client) is (Client if lane == "sync" else AsyncClient)
        assert client.supabase_key == KEY
        assert str(client.rest_url) == f"{URL}/rest/v1"


async def test_url_and_key_come_from_the_environment(
    lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", URL)
    monkeypatch.setenv("SUPABASE_KEY", KEY)

    async with connected(lane) as client:
        assert (str(client.supabase_url), client.supabase_key) == (f"{URL}/", KEY)


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_the_first_variable_that_has_a_key_is_used(
    lane: str, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    for position, name in enumerate(VARIABLES):
        monkeypatch.setenv(name, "" if position < first else f"sb_secret_{position}")

    async with connected(lane, URL) as client:
        assert client.supabase_key == f"sb_secret_{first}"


async def test_a_variable_of_blanks_has_no_key(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "  ")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)

    async with connected(lane, URL) as client:
        assert client.supabase_key == KEY


async def test_what_is_given_comes_before_the_environment(
    lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://other.test")
    for name in VARIABLES:
        monkeypatch.setenv(name, OTHER_KEY)

    async with connected(lane, url=URL, key=KEY) as client:
        assert (str(client.supabase_url), client.supabase_key) == (f"{URL}/", KEY)


async def test_blanks_around_url_and_key_do_no_harm(lane: str) -> None:
    async with connected(lane, f" {URL}\n", f" {KEY}\n") as client:
        assert (str(client.supabase_url), client.supabase_key) == (f"{URL}/", KEY)


@pytest.mark.parametrize(
    ("url", "key", "missing"),
    [
        (None, None, "SUPABASE_URL and SUPABASE_KEY not set"),
        (URL, None, "SUPABASE_KEY not set"),
        (None, KEY, "SUPABASE_URL not set"),
        ("", "", "SUPABASE_URL and SUPABASE_KEY not set"),
        (" ", " ", "SUPABASE_URL and SUPABASE_KEY not set"),
    ],
    ids=["both", "key", "url", "empty", "blank"],
)
async def test_everything_that_is_missing_is_named(
    lane: str, url: str | None, key: str | None, missing: str
) -> None:
    error = await refusal(lane, url, key)

    assert str(error) == f"{missing}: give url and key, or set them in the environment or in .env."


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("sb_publishable_abc", "anon"),
        (jwt({"role": "anon"}), "anon"),
        (jwt({"role": "authenticated"}), "authenticated"),
        (jwt({"iss": "supabase", "role": "anon", "exp": 2**31}), "anon"),
    ],
    ids=["publishable", "anon", "authenticated", "legacy anon"],
)
async def test_a_key_that_may_do_nothing_here_is_refused_before_anything_is_sent(
    lane: str, key: str, role: str
) -> None:
    error = await refusal(lane, URL, key)

    assert f"key of the role {role}." in str(error)
    assert "secret (service role) key" in str(error)
    assert key not in told(error)


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        jwt({"role": "service_role"}),
        jwt({"iss": "x"}),
        jwt([1]),
        "a.b.c",
        "a..c",
        "a.!!!.c",
        "a.b",
        "opaque",
    ],
    ids=[
        "secret",
        "service role",
        "no role",
        "list",
        "short",
        "empty",
        "no base64",
        "two",
        "opaque",
    ],
)
async def test_a_key_that_says_nothing_against_itself_is_tried(lane: str, key: str) -> None:
    async with connected(lane, URL, key) as client:
        assert client.supabase_key == key


@pytest.mark.parametrize(
    "break_in", ["\n", "\r\n", "\t", "\0", "\x7f", "ü", "\u200b", "\u2028", "\ud800"], ids=ascii
)
async def test_a_key_with_characters_that_no_key_has_is_refused_without_showing_it(
    lane: str, break_in: str
) -> None:
    error = await refusal(lane, URL, f"{KEY}{break_in}{KEY}")

    assert "SUPABASE_KEY has characters" in str(error)
    assert KEY not in told(error)


@pytest.mark.parametrize(
    "url", ["project.supabase.co", "ftp://x", "postgresql://x", "//x", "https:/x", "http:"]
)
async def test_a_url_that_is_none_of_http_is_refused(lane: str, url: str) -> None:
    error = await refusal(lane, url, KEY)

    assert "SUPABASE_URL" in str(error)
    assert "https://" in str(error)


@pytest.mark.parametrize(
    "url", ["https://", "http://", "https://[", "https://x:99999", "https://x:port", "https:///"]
)
async def test_a_url_that_leads_nowhere_is_refused(lane: str, url: str) -> None:
    error = await refusal(lane, url, KEY)

    assert KEY not in told(error)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        (KEY, KEY),
        (jwt({"role": "service_role"}), jwt({"role": "service_role"})),
        ("postgresql://postgres:hunter2@db.x.supabase.co:5432/postgres", "hunter2"),
    ],
    ids=["the key for the url", "the old key for the url", "the url of the database"],
)
async def test_a_secret_that_is_given_for_the_url_is_not_shown(
    lane: str, url: str, secret: str
) -> None:
    assert secret not in told(await refusal(lane, url, KEY))


async def test_the_connection_speaks_http_1_1_with_sane_limits(lane: str) -> None:
    async with connected(lane, "https://project.supabase.test", KEY) as client:
        http = client.options.httpx_client
        pool = http._transport._pool

        assert (pool._http1, pool._http2) == (True, False)
        assert (pool._max_connections, pool._max_keepalive_connections) == (20, 20)
        assert pool._keepalive_expiry == 30
        assert http.follow_redirects is False


async def test_the_time_outs_are_above_what_the_database_allows_itself(lane: str) -> None:
    async with connected(lane, URL, KEY) as client:
        timeout = client.options.httpx_client.timeout

    assert timeout == httpx.Timeout(20.0, connect=5.0)
    assert timeout.read > 8


async def test_one_connection_pool_is_shared_by_all_that_the_client_does(lane: str) -> None:
    async with connected(lane, URL, KEY) as client:
        assert client.postgrest.session is client.options.httpx_client


async def test_the_connection_is_closed_at_the_end(lane: str) -> None:
    async with connected(lane, URL, KEY) as client:
        http = client.options.httpx_client
        assert not http.is_closed

    assert http.is_closed


async def test_the_connection_is_closed_when_the_block_fails_and_the_error_goes_on(
    lane: str,
) -> None:
    kept = []

    async def fail_inside() -> None:
        async with connected(lane, URL, KEY) as client:
            kept.append(client.options.httpx_client)
            message = "mine"
            raise LookupError(message)

    with pytest.raises(LookupError, match="mine"):
        await fail_inside()

    assert kept[0].is_closed


@pytest.mark.parametrize(
    ("key", "authorization"),
    [
        (KEY, None),
        (jwt({"role": "service_role"}), f"Bearer {jwt({'role': 'service_role'})}"),
        ("opaque", "Bearer opaque"),
    ],
    ids=["secret", "old key", "opaque"],
)
async def test_only_a_key_that_is_a_token_is_sent_as_a_token(
    lane: str, supabase: FakeSupabase, key: str, authorization: str | None
) -> None:
    supabase.plan(answers(None))

    async with connected(lane, URL, key) as client:
        response = client.rpc("meshhook_version").execute()
        if lane != "sync":
            await response

    (request,) = supabase.requests
    assert request.headers["apikey"] == key
    assert request.headers.get("authorization") == authorization


async def test_a_service_works_with_such_a_client(lane: str, supabase: FakeSupabase) -> None:
    from meshhook import QueueService, SyncQueueService  # noqa: PLC0415 - one of the two

    supabase.plan(answers(17))

    async with connected(lane, URL, KEY) as client:
        queue: Any = SyncQueueService(client) if lane == "sync" else QueueService(client)
        assert await call(queue, "purge_queue") == 17

    assert "authorization" not in supabase.requests[0].headers
