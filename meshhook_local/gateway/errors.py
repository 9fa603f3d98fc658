"""Errors in PostgREST's words: code, message, details, hint, HTTP status.

Each function builds one of PostgREST's own errors; `from_postgres` translates those of Postgres by
their SQLSTATE. The texts and the table of statuses are part of PostgREST's protocol.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOWEST_STATUS = 200
_HIGHEST_STATUS = 599
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: The HTTP status.
        code: A SQLSTATE or a code of PostgREST's.
        message: What went wrong.
        details: More about it, or None.
        hint: What may help, or None.
        headers: Headers in addition to those that every error has.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.hint = hint
        self.headers = dict(headers or {})
        super().__init__(f"{code}: {message}")

    def body(self) -> bytes:
        """Write the body as PostgREST does: keys in alphabetical order, no white space."""
        fields = {
            "code": self.code,
            "details": self.details,
            "hint": self.hint,
            "message": self.message,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(
            errors="replace"
        )


def is_final_status(status: int) -> bool:
    """Return whether a status can end a request; those below 200 announce another."""
    return _LOWEST_STATUS <= status <= _HIGHEST_STATUS


def is_header(name: object, value: object) -> bool:
    """Return whether a header can be sent as it is, without breaking out of its line."""
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and _HEADER_NAME.fullmatch(name) is not None
        and _HEADER_VALUE.fullmatch(value) is not None
    )


def connection_failed(reason: str) -> ApiError:
    """Say that the database cannot be reached."""
    return ApiError(
        503,
        "PGRST000",
        "Database connection error. Retrying the connection.",
        details=reason,
    )


def connection_lost(reason: str) -> ApiError:
    """Say that the connection broke during the request."""
    return ApiError(
        503, "PGRST001", "Database client error. Retrying the connection.", details=reason
    )


def no_schema_cache() -> ApiError:
    """Say that the schema was not read yet."""
    return ApiError(503, "PGRST002", "Could not query the database for the schema cache. Retrying.")


def pool_timed_out() -> ApiError:
    """Say that no connection became free in time."""
    return ApiError(504, "PGRST003", "Timed out acquiring connection from connection pool.")


def bad_query_string(what: str, text: str, column: int, details: str) -> ApiError:
    """Say where a parameter of the query string cannot be read.

    Args:
        what: What was read, for example `filter`.
        text: The parameter's value.
        column: The column of the first bad character, from 1.
        details: What was wrong there.
    """
    message = f'"failed to parse {what} ({text})" (line 1, column {column})'
    return ApiError(400, "PGRST100", message, details=details)


def rpc_method_not_allowed(method: str) -> ApiError:
    """Say that functions are not called by this HTTP method."""
    return ApiError(405, "PGRST101", f"Cannot use the {method} method on RPC")


def bad_body(message: str) -> ApiError:
    """Say why the body cannot be used."""
    return ApiError(400, "PGRST102", message)


def range_not_satisfiable(details: str) -> ApiError:
    """Say that the asked range of rows does not exist."""
    return ApiError(416, "PGRST103", "Requested range not satisfiable", details=details)


def schema_not_exposed(schema: str, exposed: str) -> ApiError:
    """Say that the API has no such schema."""
    return ApiError(
        406,
        "PGRST106",
        f"Invalid schema: {schema}",
        hint=f"Only the following schemas are exposed: {exposed}",
    )


def media_type_not_available(wanted: Sequence[str]) -> ApiError:
    """Say that none of the accepted media types can be had."""
    return ApiError(
        406, "PGRST107", f"None of these media types are available: {', '.join(wanted)}"
    )


def bad_response_headers() -> ApiError:
    """Say that a function left no headers in `response.headers` that can be sent."""
    return ApiError(
        500,
        "PGRST111",
        "response.headers guc must be a JSON array composed of objects with a single key and a"
        " string value",
    )


def bad_response_status() -> ApiError:
    """Say that a function left no HTTP status in `response.status`."""
    return ApiError(500, "PGRST112", "response.status guc must be a valid status code")


def not_single(rows: int) -> ApiError:
    """Say that one object was wanted and there is not exactly one."""
    return ApiError(
        406,
        "PGRST116",
        "Cannot coerce the result to a single JSON object",
        details=f"The result contains {rows} rows",
    )


def method_not_supported(method: str) -> ApiError:
    """Say that the API does not know the HTTP method."""
    return ApiError(405, "PGRST117", f"Unsupported HTTP method: {method}")


def bad_preferences(names: Sequence[str]) -> ApiError:
    """Say which preferences a strict client gave that are not known."""
    return ApiError(
        400,
        "PGRST122",
        "Invalid preferences given with handling=strict",
        details=f"Invalid preferences: {', '.join(names)}",
    )


def bad_path() -> ApiError:
    """Say that the path names nothing."""
    return ApiError(404, "PGRST125", "Invalid path specified in request URL")


def no_root() -> ApiError:
    """Say that the API does not describe itself at its root."""
    return ApiError(404, "PGRST126", "Root endpoint metadata is disabled")


def not_implemented(details: str) -> ApiError:
    """Say what this gateway does not do."""
    return ApiError(400, "PGRST127", "Feature not implemented", details=details)


def function_not_found(message: str, details: str, hint: str | None) -> ApiError:
    """Say that no function takes these arguments."""
    return ApiError(404, "PGRST202", message, details=details, hint=hint)


def function_ambiguous(candidates: Sequence[str]) -> ApiError:
    """Say which functions take these arguments."""
    return ApiError(
        300,
        "PGRST203",
        f"Could not choose the best candidate function between: {', '.join(candidates)}",
        hint="Try renaming the parameters or the function itself in the database so function"
        " overloading can be resolved",
    )


def relation_not_found(schema: str, name: str, suggestion: str | None) -> ApiError:
    """Say that there is no such table or view."""
    return ApiError(
        404,
        "PGRST205",
        f"Could not find the table '{schema}.{name}' in the schema cache",
        hint=f"Perhaps you meant the table '{schema}.{suggestion}'" if suggestion else None,
    )


def bad_token(message: str, details: str | None = None) -> ApiError:
    """Say why a token cannot be decoded."""
    return _token_error("PGRST301", message, details)


def bad_claims(message: str) -> ApiError:
    """Say which claim of a token does not hold."""
    return _token_error("PGRST303", message, None)


def internal() -> ApiError:
    """Say that the gateway itself failed; its log has the traceback."""
    return ApiError(500, "PGRSTX00", "Internal error of the local gateway, see its log")


def permission_denied(kind: str, name: str, *, anonymous: bool) -> ApiError:
    """Say what Postgres says of a relation that the role may not use."""
    message = f"permission denied for {kind} {name}"
    return _of_postgres("42501", message, None, None, anonymous=anonymous)


def from_postgres(error: psycopg.Error, *, anonymous: bool) -> ApiError:
    """Translate an error of Postgres, or of the connection to it.

    Args:
        error: What psycopg raised during the request.
        anonymous: Whether the request came without a role of its own.
    """
    diagnosis = error.diag
    if error.sqlstate is None and isinstance(error, psycopg.DataError):
        # psycopg refuses a NUL before it reaches Postgres, which would refuse it so:
        return ApiError(400, "22021", 'invalid byte sequence for encoding "UTF8": 0x00')
    if error.sqlstate is None:
        return connection_lost(str(error))
    message = diagnosis.message_primary or str(error)
    details, hint = diagnosis.message_detail, diagnosis.message_hint
    if error.sqlstate == "PGRST":
        return _raised_in_full(message, details)
    return _of_postgres(error.sqlstate, message, details, hint, anonymous=anonymous)


_STATUS_BY_CODE = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53400": 500,
    "57P01": 503,
    "P0001": 400,
}
_STATUS_BY_CLASS = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "XX": 500,
}


def _of_postgres(
    code: str, message: str, details: str | None, hint: str | None, *, anonymous: bool
) -> ApiError:
    status = _status_of(code, message, anonymous=anonymous)
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return ApiError(status, code, message, details=details, hint=hint, headers=headers)


def _status_of(code: str, message: str, *, anonymous: bool) -> int:
    if code == "42501":
        return 401 if anonymous else 403
    if code == "22023":
        unknown_role = message.startswith("role") and message.endswith("does not exist")
        return 401 if unknown_role else 400
    if code == "21000":
        return 400 if message.endswith("requires a WHERE clause") else 500
    if code.startswith("PT"):
        return int(code[2:]) if code[2:].isdecimal() and is_final_status(int(code[2:])) else 500
    return _STATUS_BY_CODE.get(code) or _STATUS_BY_CLASS.get(code[:2], 400)


def _raised_in_full(message: str, details: str | None) -> ApiError:
    """Read an error that a function raised with SQLSTATE PGRST to set the whole answer."""
    try:
        said = json.loads(message)
        code, text = str(said["code"]), str(said["message"])
    except (ValueError, TypeError, KeyError):
        return _unreadable(
            f"Invalid JSON value for MESSAGE: '{message}'",
            "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional"
            " keys: 'details', 'hint'.",
        )
    try:
        status, headers = _read_detail(details)
    except (ValueError, TypeError, KeyError, AttributeError):
        found = f"Invalid JSON value for DETAIL: '{details}'"
        return _unreadable(
            found if details is not None else "DETAIL is missing in the RAISE statement",
            "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional"
            " key: 'status_text'.",
        )
    return ApiError(
        status, code, text, details=said.get("details"), hint=said.get("hint"), headers=headers
    )


def _read_detail(details: str | None) -> tuple[int, dict[str, str]]:
    answer = json.loads(details or "")
    status = int(answer["status"])
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    if not is_final_status(status) or not all(is_header(*pair) for pair in headers.items()):
        raise ValueError(details)
    return status, headers


def _unreadable(details: str, hint: str) -> ApiError:
    return ApiError(
        500,
        "PGRST121",
        "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
        details=details,
        hint=hint,
    )


def _token_error(code: str, message: str, details: str | None) -> ApiError:
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    return ApiError(401, code, message, details=details, headers={"www-authenticate": challenge})
