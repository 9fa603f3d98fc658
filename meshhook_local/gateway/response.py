"""Answers: status, headers and body, as PostgREST forms them from a result."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from meshhook_local.gateway.errors import (
    ApiError,
    bad_response_headers,
    bad_response_status,
    is_final_status,
    is_header,
    range_not_satisfiable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshhook_local.gateway.authentication import KeyRejectedError
    from meshhook_local.gateway.plans import Plan, Result

_JSON = "application/json; charset=utf-8"
_NO_CONTENT = 204
_PARTIAL = 206
_NOT_SATISFIABLE = 416
_UNAVAILABLE = 503


def of_result(plan: Plan, result: Result) -> Response:
    """Form the answer to a request that succeeded.

    Raises:
        ApiError: If the function left a malformed status or malformed headers.
    """
    offset = plan.rows.offset
    headers = {"content-range": _content_range(offset, result), **plan.headers}
    status = _NO_CONTENT if plan.is_void else _range_status(offset, result)
    body = result.body
    if plan.is_void:
        body = b""
        headers.pop("content-profile", None)  # It belongs to a content.
    else:
        headers["content-type"] = f"{plan.media_type}; charset=utf-8"
    if status == _NOT_SATISFIABLE and not plan.is_head:
        body = _beyond_the_end(offset, result).body()
    if result.status:
        status = _read_status(result.status)
    answer = Response(body, status, headers)
    if result.headers:
        _override(answer, _read_headers(result.headers))
    return answer


def of_error(error: ApiError, retry_after_seconds: int) -> Response:
    """Form the answer to a request that failed.

    Args:
        error: What went wrong.
        retry_after_seconds: When the gateway itself tries the database again, in seconds.
    """
    headers = {
        "content-type": _JSON,
        "proxy-status": f"PostgREST; error={ascii(error.code)[1:-1]}",
        **error.headers,
    }
    if error.status == _UNAVAILABLE:
        headers["retry-after"] = str(retry_after_seconds)
    return Response(error.body(), error.status, headers)


def of_rejected_key(error: KeyRejectedError) -> Response:
    """Form the answer of Supabase's gateway to a missing or unknown key."""
    return plain_json(401, {"message": error.message, "hint": error.hint})


def plain_json(status: int, fields: Mapping[str, str]) -> Response:
    """Form an answer that does not come from PostgREST."""
    body = json.dumps(fields, separators=(",", ":"))
    return Response(body, status, {"content-type": _JSON})


def of_options(allowed: str) -> Response:
    """Form the answer to a question for the methods of a resource."""
    return Response(b"", 200, {"allow": allowed, "access-control-allow-origin": "*"})


def _content_range(offset: int, result: Result) -> str:
    total = "*" if result.total is None else str(result.total)
    if result.count == 0 or result.total == 0:
        return f"*/{total}"
    return f"{offset}-{offset + result.count - 1}/{total}"


def _range_status(offset: int, result: Result) -> int:
    if result.total is None:
        return 200
    if offset > result.total:
        return _NOT_SATISFIABLE
    return _PARTIAL if result.count < result.total else 200


def _beyond_the_end(offset: int, result: Result) -> ApiError:
    return range_not_satisfiable(
        f"An offset of {offset} was requested, but there are only {result.total} rows."
    )


def _read_headers(text: bytes) -> list[tuple[str, str]]:
    try:
        items = json.loads(text)
        pairs = [next(iter(item.items())) for item in items if len(item) == 1]
    except (ValueError, TypeError, AttributeError):
        raise bad_response_headers() from None
    if len(pairs) != len(items) or not all(is_header(*pair) for pair in pairs):
        raise bad_response_headers()
    return pairs


def _override(answer: Response, pairs: list[tuple[str, str]]) -> None:
    """Let the function's headers take the place of ours; one name may come several times."""
    for name, _ in pairs:
        del answer.headers[name]
    for name, value in pairs:
        answer.headers.append(name, value)


def _read_status(text: bytes) -> int:
    match = re.match(rb"[0-9]+", text)
    if match is None or not is_final_status(int(match[0])):
        raise bad_response_status()
    return int(match[0])
