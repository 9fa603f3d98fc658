"""A client's twin for another thread: it sends what the client would, and needs no event loop."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest
import respx
from supabase import AsyncClient, AsyncClientOptions, Client, ClientOptions

from meshhook import ConfigurationError, connect
from meshhook._calls import settle
from meshhook._http.twin import Twin, _http_client

URL = "https://project.supabase.co"
EXTEND = settle.extend("orders", [7], 30)


def async_client(http: httpx.AsyncClient, **options: Any) -> AsyncClient:
    return AsyncClient(URL, "secret", AsyncClientOptions(httpx_client=http, **options))


def http_twin(original: httpx.AsyncClient | httpx.Client, seconds: float = 10.0) -> httpx.Client:
    return _http_client(original, httpx.URL(URL), seconds)


def pool_of(http: httpx.Client) -> Any:
    transport = http._transport
    assert isinstance(transport, httpx.HTTPTransport)
    return transport._pool


@respx.mock
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_it_sends_the_headers_that_the_client_has_now(kind: str) -> None:
    route = respx.post(f"{URL}/rest/v1/rpc/meshhook_extend").respond(json={"statuses": ["ok"]})
    client: AsyncClient | Client
    if kind == "async":
        client = async_client(httpx.AsyncClient(headers={"X-Mine": "yes"}), schema="other")
    else:
        http = httpx.Client(headers={"X-Mine": "yes"})
        client = Client(URL, "secret", ClientOptions(httpx_client=http, schema="other"))
    twin = Twin(client)
    client.postgrest.headers["Authorization"] = "Bearer replaced"

    assert twin.call(EXTEND, 10.0) == [True]
    twin.close()

    (call,) = route.calls
    sent = call.request.headers
    assert (sent["apikey"], sent["authorization"]) == ("secret", "Bearer replaced")
    assert (sent["x-mine"], sent["content-profile"]) == ("yes", "public")


@respx.mock
async def test_a_key_that_is_no_jwt_is_sent_once_where_the_client_does_so() -> None:
    route = respx.post(f"{URL}/rest/v1/rpc/meshhook_extend").respond(json={"statuses": ["ok"]})

    async with connect(URL, "sb_secret_abc") as client:
        twin = Twin(client)
        twin.call(EXTEND, 10.0)
        twin.close()

    (call,) = route.calls
    assert call.request.headers["apikey"] == "sb_secret_abc"
    assert "authorization" not in call.request.headers


@pytest.mark.parametrize("original_class", [httpx.AsyncClient, httpx.Client])
def test_certificates_proxy_and_patience_are_those_of_the_client(original_class: Any) -> None:
    context = ssl.create_default_context()
    original = original_class(
        verify=context,
        proxy="http://user:word@proxy.example:3128",
        timeout=httpx.Timeout(5.0, connect=None),
    )

    with http_twin(original, seconds=10.0) as twin:
        pool = pool_of(twin)
        assert pool._ssl_context is context
        assert bytes(pool._proxy_url) == b"http://proxy.example:3128/"
        assert (
            pool._proxy_headers == original._transport_for_url(httpx.URL(URL))._pool._proxy_headers
        )
        assert twin.timeout == httpx.Timeout(5.0, connect=10.0)


def test_the_environment_counts_as_it_did_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://old.example:1")
    original = httpx.AsyncClient()
    monkeypatch.setenv("HTTPS_PROXY", "http://new.example:2")

    with http_twin(original) as twin:
        assert bytes(pool_of(twin)._proxy_url) == b"http://old.example:1/"


def test_a_transport_of_the_users_own_making_is_not_bypassed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    client = async_client(httpx.AsyncClient(transport=httpx.MockTransport(answer)))

    with pytest.raises(ConfigurationError, match="HTTP transport is a MockTransport, which cannot"):
        Twin(client).call(EXTEND, 10.0)
