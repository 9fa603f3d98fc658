"""The gateway answers as PostgREST did when `postgrest/answers.json` was recorded."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest

from .conftest import RECORDINGS

if TYPE_CHECKING:
    from meshhook.local import LocalStack

CASES = json.loads((RECORDINGS / "answers.json").read_text())["cases"]
# Left out when the answers were recorded, so there is nothing to compare them with.
UNRECORDED_HEADERS = {"date", "server", "connection", "transfer-encoding", "keep-alive"}


def token_of(stack: LocalStack, role: str) -> str:
    if role == "garbage":
        return "not.a.jwt"
    if role == "expired":
        return stack.token("service_role", exp=int(time.time()) - 3600)
    if role == "forged":
        return jwt.encode({"role": "service_role"}, "another secret, as long as the real one")
    return stack.token("no_such_role" if role == "norole" else role)


def ask(client: httpx.Client, stack: LocalStack, recorded: dict[str, Any]) -> httpx.Response:
    headers = {"content-type": "application/json", **recorded.get("headers", {})}
    if "role" in recorded:
        headers["authorization"] = f"Bearer {token_of(stack, recorded['role'])}"
    body = recorded.get("raw", "")
    if "json" in recorded:
        body = json.dumps(recorded["json"], ensure_ascii=False)
    return client.request(
        recorded["method"], recorded["path"], headers=headers, content=body.encode()
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_answer_is_the_recorded_one(
    case: dict[str, Any], stack: LocalStack, client: httpx.Client, narrow_gateway: str
) -> None:
    request, expected = case["request"], case["response"]
    if "max_rows" in request:
        with httpx.Client(base_url=narrow_gateway, headers=client.headers) as narrow:
            answer = ask(narrow, stack, request)
    else:
        answer = ask(client, stack, request)

    body = answer.json() if case["response"]["body_kind"] == "json" else answer.text
    headers = {
        name: text for name, text in answer.headers.items() if name not in UNRECORDED_HEADERS
    }
    # The length tells of key order, white space and the digits of numbers, which parsing hides.
    assert (answer.status_code, headers, body) == (
        expected["status"],
        expected["headers"],
        expected["body"],
    )
