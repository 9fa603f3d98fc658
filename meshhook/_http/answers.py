"""What an HTTP answer means: data, or one of MeshHook's errors.

Pure functions of status, headers and body. The status and the codes of PostgREST and Postgres
decide which error it is, not the text. There are two exceptions: "JWT expired", for which older
PostgREST has the code of any bad token, and the name of a missing object.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import attrs

from meshhook import exceptions
from meshhook._http import advice

if TYPE_CHECKING:
    from collections.abc import Mapping

_MISSING_FUNCTIONS = frozenset({"PGRST202", "PGRST203", "PGRST106"})
# A function, table, schema or view that is not there: MeshHook's own, or what other code uses.
_MISSING_OBJECTS = frozenset({"42883", "42P01", "3F000", "PGRST205"})
_UNAVAILABLE_CODES = frozenset(
    {"PGRST000", "PGRST001", "PGRST002", "PGRST003", "25006", "40001", "40P01", "55P03"}
)
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58"})
_REJECTED_CLASSES = frozenset({"22", "23", "54"})
_INVALID_KEY_CODES = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303"})
# PostgREST has that code also for a wrong clock, and for a token with another audience.
_NOT_EXPIRED = frozenset({"JWT issued at future", "JWT not yet valid", "JWT not in audience"})
_SQLSTATE = re.compile("[0-9A-Z]{5}")
# 520 to 530 are Cloudflare's, in front of hosted Supabase.
# 540 (project paused) and 544 (its gateway timed out) are Supabase's own.
_UNAVAILABLE_STATUSES = frozenset({500, 502, 503, 504, *range(520, 531), 540, 544})


@attrs.frozen
class Answer:
    """An HTTP answer.

    Attributes:
        status: The status.
        headers: The headers, with names in any case.
        body: The body.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


def data(function: str, answer: Answer) -> Any:
    """Return the JSON of a successful answer; None for an empty body.

    Raises:
        RequestError: The answer is an error, or is not JSON.
    """
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - the HTTP success range
        raise failure(function, answer)
    if answer.status == 204:  # noqa: PLR2004 - HTTP's "no content"
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise unexpected(function, answer, "is not JSON") from error


def unexpected(function: str, answer: Answer, what: str) -> exceptions.UnexpectedAnswerError:
    """Return the error for a success that cannot be understood."""
    return exceptions.UnexpectedAnswerError(
        f"The answer to {function} {what} (HTTP {answer.status}, {len(answer.body)} bytes"
        f"{_beginning(answer)}). {advice.BY_CLASS[exceptions.UnexpectedAnswerError]}",
        function=function,
        status=answer.status,
    )


def _beginning(answer: Answer) -> str:
    """Return how an answer begins, unless that may be a job: errors must not show jobs."""
    begin = answer.body[:80].decode("utf-8", "replace")
    return "" if not begin or begin.lstrip()[:1] in {"{", "[", '"'} else f", begins {begin!r}"


def failure(function: str, answer: Answer, role: str | None = None) -> exceptions.RequestError:
    """Return the error for an answer without success; its text says what to do."""
    said = error_body(answer)
    code = said["code"]
    kind = _kind(answer.status, code, said["message"])
    # MeshHook's own errors from the database already say what to do.
    is_advised = said["hint"] and (
        kind is exceptions.QueueNotFoundError or (code or "").startswith("MH")
    )
    fix = advice.advice(kind, function, answer.status, code, said["message"], role)
    error = kind(
        " ".join(
            part
            for part in (
                _told(function, answer.status, code, said["message"]),
                _sentence(said["hint"]),
                "" if is_advised else fix,
            )
            if part
        ),
        function=function,
        status=answer.status,
        code=code,
        details=said["details"],
        hint=said["hint"],
    )
    if isinstance(error, exceptions.OutageError):
        error.retry_after_seconds = retry_after_seconds(answer)
    if isinstance(error, exceptions.RejectedError):
        error.field, error.value = _rejected_field(said["details"])
    return error


def _sentence(text: str | None) -> str | None:
    return f"{text}." if text and text[-1].isalnum() else text


def _told(function: str, status: int, code: str | None, message: str | None) -> str:
    return f"{function}: {message or 'no message'} (HTTP {status}{f', {code}' if code else ''})."


def error_body(answer: Answer) -> dict[str, str | None]:
    """Return message, code, details and hint of an error; None for a part that it lacks.

    The answer may come from PostgREST or from a gateway in front of it, and may be no JSON at all.
    """
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        body = {"message": _reason(answer)}
    part = {name: _text(body.get(name)) for name in ("message", "code", "details", "hint")}
    if (part["code"] or "").startswith("23"):
        # The details of a violated constraint quote the row, and with it a job.
        part["details"] = None
    # Kong and the auth gateway say "error" or "msg" where PostgREST says "message".
    part["message"] = part["message"] or _text(body.get("error")) or _text(body.get("msg"))
    return part


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _reason(answer: Answer) -> str:
    text = " ".join(answer.body[:500].decode("utf-8", "replace").split())
    return f"not a JSON answer: {text[:120]!r}" if text else "an empty answer"


def _kind(status: int, code: str | None, message: str | None) -> type[exceptions.RequestError]:
    """Return the class of an error; the code decides, or else the status."""
    if status == 401 and code is not None and code.startswith("22"):  # noqa: PLR2004 - HTTP's
        return exceptions.InvalidKeyError  # the role that the key names does not exist
    if code is not None and (kind := _kind_of_code(code, message)) is not None:
        return kind
    if status in _UNAVAILABLE_STATUSES:
        # A 500 with an unknown code is a fault that does not pass by waiting; the codes of outages
        # were found above.
        has_cause = status == 500 and code not in {None, "", str(status)}  # noqa: PLR2004 - HTTP's
        return _unknown(code) if has_cause else exceptions.ServerUnavailableError
    by_status: dict[int, type[exceptions.RequestError]] = {
        401: exceptions.InvalidKeyError,
        403: exceptions.PermissionDeniedError,
        408: exceptions.RequestTimeoutError,
        413: exceptions.RejectedError,
        429: exceptions.RateLimitedError,
    }
    return by_status.get(status, _unknown(code))


def _unknown(code: str | None) -> type[exceptions.RequestError]:
    """Return the class of an unknown error: with an SQLSTATE, the database raised it."""
    is_of_database = code is not None and _is_sqlstate(code)
    return exceptions.DatabaseError if is_of_database else exceptions.UnexpectedAnswerError


def _kind_of_code(code: str, message: str | None) -> type[exceptions.RequestError] | None:
    kinds: dict[type[exceptions.RequestError], bool] = {
        exceptions.ExpiredKeyError: message == "JWT expired"
        or (code == "PGRST303" and message not in _NOT_EXPIRED),
        exceptions.InvalidKeyError: code in _INVALID_KEY_CODES,
        exceptions.PermissionDeniedError: code == "42501",
        exceptions.MissingFunctionsError: code in _MISSING_FUNCTIONS
        or (code in _MISSING_OBJECTS and advice.is_about_own(message)),
        exceptions.QueueNotFoundError: code == "MH001"
        or (code == "42P01" and advice.is_about_a_queue(message)),
        exceptions.StatementTimeoutError: code == "57014",
        exceptions.ServerUnavailableError: code in _UNAVAILABLE_CODES
        or (_is_sqlstate(code) and code[:2] in _UNAVAILABLE_CLASSES),
        exceptions.RejectedError: code == "MH002"
        or (_is_sqlstate(code) and code[:2] in _REJECTED_CLASSES),
    }
    return next((kind for kind, holds in kinds.items() if holds), None)


def _is_sqlstate(code: str) -> bool:
    return _SQLSTATE.fullmatch(code) is not None


def _rejected_field(details: str | None) -> tuple[str | None, str | None]:
    """Return the argument and its value, which MeshHook's own errors (MH002) have as JSON."""
    try:
        named = json.loads(details or "")
        return named["field"], named["value"]
    except (ValueError, KeyError, TypeError):
        return None, None


def retry_after_seconds(answer: Answer) -> float | None:
    """Return how many seconds the answer asks to wait; None if it has no such number."""
    try:
        seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
