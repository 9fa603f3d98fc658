"""The answers of a real PostgREST, as the embedded stack is held to them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshhook import exceptions
from meshhook._http.answers import Answer, data

FILE = Path(__file__).parents[1] / "local" / "postgrest" / "answers.json"
CASES: dict[str, Any] = {
    case["name"]: case["response"] for case in json.loads(FILE.read_text())["cases"]
}
FAILED = {name: answer for name, answer in CASES.items() if not 200 <= answer["status"] < 300}
SUCCEEDED = {name: answer for name, answer in CASES.items() if name not in FAILED}

MISSING = exceptions.MissingFunctionsError
REJECTED = exceptions.RejectedError
UNEXPECTED = exceptions.UnexpectedAnswerError
DATABASE = exceptions.DatabaseError
DENIED = exceptions.PermissionDeniedError
KINDS: dict[str, type[exceptions.RequestError]] = {
    "rpc missing function": MISSING,
    "rpc wrong argument name": MISSING,
    "rpc missing required argument": MISSING,
    "rpc superfluous argument": MISSING,
    "rpc overload is ambiguous": MISSING,
    "rpc bad type": REJECTED,
    "rpc int out of range": REJECTED,
    "rpc invalid json": UNEXPECTED,
    "rpc body is an array": UNEXPECTED,
    "rpc empty string body": MISSING,
    "rpc text/plain": MISSING,
    "rpc forbidden to anon": DENIED,
    "rpc forbidden to authenticated": DENIED,
    "jwt expired": exceptions.ExpiredKeyError,
    "jwt forged": exceptions.InvalidKeyError,
    "jwt garbage": exceptions.InvalidKeyError,
    "jwt unknown role": exceptions.InvalidKeyError,
    "raise without code": DATABASE,
    "raise own code": exceptions.QueueNotFoundError,
    "raise P0001": DATABASE,
    "raise PT404": DATABASE,
    "raise 42501": DENIED,
    "raise 53300": exceptions.ServerUnavailableError,
    "raise 57P01": exceptions.ServerUnavailableError,
    "raise 22023": REJECTED,
    "unique violation": REJECTED,
    "missing table": exceptions.QueueNotFoundError,
    "statement timeout": exceptions.StatementTimeoutError,
    "unknown profile": MISSING,
    "view single object none": UNEXPECTED,
    "view unknown column": DATABASE,
    "view unknown filter column": DATABASE,
    "view as anon": DENIED,
    "view as authenticated": DENIED,
    "unknown view": UNEXPECTED,
    "unknown path": UNEXPECTED,
    "delete on rpc": UNEXPECTED,
    "insert into view as service_role": DENIED,
}


def recorded(answer: dict[str, Any]) -> Answer:
    """Return a recorded answer as the transport would hand it on."""
    body = answer["body"]
    text = json.dumps(body, ensure_ascii=False) if answer["body_kind"] == "json" else body
    return Answer(answer["status"], answer["headers"], text.encode())


def test_every_recorded_error_is_known_here() -> None:
    assert set(KINDS) == set(FAILED)


@pytest.mark.parametrize("name", FAILED)
def test_a_recorded_error_becomes_the_error_that_it_is(name: str) -> None:
    answer = FAILED[name]

    with pytest.raises(exceptions.RequestError) as caught:
        data("meshhook_x", recorded(answer))

    assert type(caught.value) is KINDS[name]
    assert (caught.value.status, caught.value.code) == (answer["status"], answer["body"]["code"])
    assert answer["body"]["message"] in str(caught.value)


@pytest.mark.parametrize("name", sorted(SUCCEEDED.keys() - {"rpc void"}))
def test_a_recorded_success_becomes_its_data(name: str) -> None:
    answer = SUCCEEDED[name]

    assert data("meshhook_x", recorded(answer)) == answer["body"]


def test_a_recorded_answer_without_content_is_no_data() -> None:
    assert data("meshhook_x", recorded(SUCCEEDED["rpc void"])) is None
