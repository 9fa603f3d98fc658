"""Who a request acts for: API keys as Supabase checks them, tokens as PostgREST does."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

if TYPE_CHECKING:
    from meshhook.local import LocalStack

NO_KEY = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}
UNKNOWN_KEY = {
    "message": "Invalid API key",
    "hint": "Double check your Supabase `anon` or `service_role` API key.",
}
USER = "7b0fd2b5-5d4c-4d4b-8a8c-0d3f5b0c1a11"


def whoami(stack: LocalStack, **headers: str) -> httpx.Response:
    return httpx.post(f"{stack.rest_url}/rpc/whoami", headers=headers)


def test_a_request_without_a_key_is_turned_away(stack: LocalStack) -> None:
    answer = whoami(stack)

    assert (answer.status_code, answer.json()) == (401, NO_KEY)


@pytest.mark.parametrize("key", ["wrong", "sb_secret_wrong", "a.b.c"])
def test_an_unknown_key_is_turned_away(stack: LocalStack, key: str) -> None:
    answer = whoami(stack, apikey=key)

    assert (answer.status_code, answer.json()) == (401, UNKNOWN_KEY)


def test_a_key_is_asked_for_before_anything_else_is_looked_at(stack: LocalStack) -> None:
    answer = httpx.get(f"{stack.rest_url}/no/such/path")

    assert (answer.status_code, answer.json()) == (401, NO_KEY)


def test_a_key_may_come_in_the_query_string(stack: LocalStack) -> None:
    answer = httpx.get(f"{stack.rest_url}/rpc/whoami", params={"apikey": stack.secret_key})

    assert answer.json() == "service_role"


def test_a_publishable_key_stands_for_anon(stack: LocalStack) -> None:
    assert whoami(stack, apikey=stack.publishable_key).json() == "anon"


def test_a_secret_key_stands_for_service_role(stack: LocalStack) -> None:
    assert whoami(stack, apikey=stack.secret_key).json() == "service_role"


def test_a_secret_key_may_be_repeated_as_the_token(stack: LocalStack) -> None:
    key = stack.secret_key

    assert whoami(stack, apikey=key, authorization=f"Bearer {key}").json() == "service_role"


def test_a_key_as_the_token_must_be_the_same_key(stack: LocalStack) -> None:
    answer = whoami(stack, apikey=stack.publishable_key, authorization=f"Bearer {stack.secret_key}")

    assert (answer.status_code, answer.json()) == (401, UNKNOWN_KEY)


def test_a_legacy_key_alone_is_anon_because_there_is_no_token(stack: LocalStack) -> None:
    assert whoami(stack, apikey=stack.service_role_key).json() == "anon"


def test_a_token_decides_whatever_the_key(stack: LocalStack) -> None:
    token = stack.token("authenticated")

    answer = whoami(stack, apikey=stack.secret_key, authorization=f"Bearer {token}")

    assert answer.json() == "authenticated"


def test_a_header_that_is_no_bearer_token_is_left_aside(stack: LocalStack) -> None:
    answer = whoami(stack, apikey=stack.anon_key, authorization="Basic dXNlcjpwYXNz")

    assert answer.json() == "anon"


def test_functions_see_the_claims(stack: LocalStack) -> None:
    token = stack.token("authenticated", sub=USER)
    headers = {"apikey": stack.anon_key, "authorization": f"Bearer {token}"}

    user = httpx.post(f"{stack.rest_url}/rpc/user_of_request", headers=headers)
    claims = httpx.post(f"{stack.rest_url}/rpc/claims", headers=headers)

    assert user.json() == USER
    decoded = json.loads(claims.json())
    assert (decoded["role"], decoded["sub"]) == ("authenticated", USER)


def test_without_a_token_the_claims_name_the_role_alone(stack: LocalStack) -> None:
    answer = httpx.post(f"{stack.rest_url}/rpc/claims", headers={"apikey": stack.anon_key})

    assert answer.json() == '{"role":"anon"}'


def test_a_token_without_a_role_is_anon(stack: LocalStack) -> None:
    token = jwt.encode({"sub": "x"}, stack.jwt_secret)

    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}")

    assert answer.json() == "anon"


BAD_TOKENS = {
    "": ("PGRST301", "Empty JWT is sent in Authorization header"),
    "one.two": ("PGRST301", "Expected 3 parts in JWT; got 2"),
    "x.y.z": ("PGRST301", "JWT cryptographic operation failed"),
}


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_a_malformed_token_is_refused(stack: LocalStack, token: str) -> None:
    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}".strip())

    assert answer.status_code == 401
    assert (answer.json()["code"], answer.json()["message"]) == BAD_TOKENS[token]


def test_an_unsigned_token_is_refused(stack: LocalStack) -> None:
    token = jwt.encode({"role": "service_role"}, "", algorithm="none")

    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}")

    assert answer.status_code == 401
    assert answer.json()["message"] == "Wrong or unsupported encoding algorithm"


def test_a_token_whose_claims_are_no_object_is_refused(stack: LocalStack) -> None:
    token = jwt.PyJWS().encode(b"[1]", stack.jwt_secret)

    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}")

    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST303")


NOW = int(time.time())
BAD_CLAIMS = [
    ({"exp": NOW - 31}, "JWT expired"),
    ({"nbf": NOW + 3600}, "JWT not yet valid"),
    ({"iat": NOW + 3600}, "JWT issued at future"),
    ({"exp": "soon"}, "The JWT 'exp' claim must be a number"),
]


@pytest.mark.parametrize(("claims", "message"), BAD_CLAIMS, ids=[text for _, text in BAD_CLAIMS])
def test_a_claim_that_does_not_hold_is_refused(
    stack: LocalStack, claims: dict[str, object], message: str
) -> None:
    token = stack.token("authenticated", **claims)

    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}")

    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST303")
    assert answer.json()["message"] == message


def test_clocks_may_differ_by_half_a_minute(stack: LocalStack) -> None:
    token = stack.token("authenticated", exp=int(time.time()) - 5)

    answer = whoami(stack, apikey=stack.anon_key, authorization=f"Bearer {token}")

    assert answer.json() == "authenticated"


def test_outside_of_the_api_there_is_nothing(stack: LocalStack) -> None:
    answer = httpx.get(f"{stack.url}/auth/v1/user", headers={"apikey": stack.anon_key})

    assert (answer.status_code, answer.json()) == (
        404,
        {"message": "no Route matched with those values"},
    )
