"""The body of a call: which arguments it holds."""

from __future__ import annotations

import json
from typing import NoReturn
from urllib.parse import parse_qsl

import attrs

from meshhook_local.gateway.errors import bad_body
from meshhook_local.gateway.request import JSON, ApiRequest

FORM = "application/x-www-form-urlencoded"
RAW_TYPES = {"text/plain": "text", "text/xml": "xml", "application/octet-stream": "bytea"}
"""Media types of which a body is one argument as it stands, and the argument's type."""


@attrs.frozen(kw_only=True)
class Payload:
    """The arguments of a call.

    Attributes:
        media_type: The media type of the body.
        keys: The names of the arguments.
        text: The body of a JSON or raw call.
        is_array: Whether a JSON body is an array; the first of its objects is the call.
        pairs: The arguments of a form or of a query string.
    """

    media_type: str
    keys: frozenset[str] = frozenset()
    text: str = ""
    is_array: bool = False
    pairs: tuple[tuple[str, str], ...] = ()


def read_payload(request: ApiRequest) -> Payload:
    """Read the body of a POST.

    Raises:
        ApiError: If it is malformed or of a media type that calls do not take.
    """
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type == JSON:
        return _read_json(request.body)
    if media_type == FORM:
        return of_pairs(FORM, parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
    if media_type == "application/octet-stream":
        return Payload(media_type=media_type, text=f"\\x{request.body.hex()}")
    if media_type in RAW_TYPES:
        return Payload(media_type=media_type, text=_as_text(request.body))
    raise bad_body(f"Content-Type not acceptable: {media_type}")


def of_pairs(media_type: str, pairs: list[tuple[str, str]]) -> Payload:
    """Make a payload of names and texts."""
    keys = frozenset(name for name, _ in pairs)
    return Payload(media_type=media_type, keys=keys, pairs=tuple(pairs))


def _read_json(body: bytes) -> Payload:
    if not body:
        return Payload(media_type=JSON, text="{}")
    text = _as_text(body)
    try:
        # Only the keys are needed: numbers stay text, so none is too long to convert.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if isinstance(value, dict):
        return Payload(media_type=JSON, keys=frozenset(value), text=text)
    if isinstance(value, list) and value:
        return Payload(media_type=JSON, keys=_common_keys(value), text=text, is_array=True)
    # Whatever else is valid JSON counts as no arguments.
    return Payload(media_type=JSON, text="[]", is_array=True)


def _common_keys(items: list[object]) -> frozenset[str]:
    key_sets = {frozenset(item) if isinstance(item, dict) else None for item in items}
    keys = key_sets.pop()
    if key_sets or keys is None:
        raise bad_body("All object keys must match")
    return keys


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _malformed() from error


def _malformed() -> Exception:
    return bad_body("Empty or invalid json")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
