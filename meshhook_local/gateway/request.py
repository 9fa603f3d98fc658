"""A request as PostgREST reads it: path, headers, preferences, media type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import attrs

from meshhook_local.gateway.errors import (
    ApiError,
    bad_preferences,
    bad_query_string,
    media_type_not_available,
    schema_not_exposed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

JSON = "application/json"
OBJECT = "application/vnd.pgrst.object+json"

_KEY = "apikey"
_MEDIA_TYPES = {
    "*/*": JSON,
    JSON: JSON,
    "application/vnd.pgrst.array": JSON,
    "application/vnd.pgrst.array+json": JSON,
    "application/vnd.pgrst.object": OBJECT,
    OBJECT: OBJECT,
}
_COUNTS = frozenset({"exact", "planned", "estimated"})
# Known to PostgREST and without meaning for what this gateway does.
_HARMLESS_PREFERENCES = frozenset(
    {
        "handling=lenient",
        "missing=default",
        "missing=null",
        "resolution=ignore-duplicates",
        "resolution=merge-duplicates",
        "return=headers-only",
        "return=minimal",
        "return=representation",
    }
)


@attrs.frozen(kw_only=True)
class Preferences:
    """What the header `Prefer` asks for.

    Attributes:
        count: How rows are to be counted, or None if they are not.
        is_strict: Whether an unknown preference is an error.
        unknown: The preferences that this gateway does not know.
    """

    count: str | None = None
    is_strict: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def applied(self) -> str:
        """The header `Preference-Applied`, empty if there is nothing to say."""
        count = [f"count={self.count}"] if self.count else []
        return ", ".join([*count, *(["handling=strict"] if self.is_strict else [])])


@attrs.frozen(kw_only=True)
class ApiRequest:
    """A request below the REST root.

    Attributes:
        method: The HTTP method.
        path: The path below the REST root, for example `/rpc/echo`.
        headers: The headers by their names in lower case.
        query: The parameters of the query string, without the API key.
        body: The body.
        key: The API key, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes
    key: str | None

    @classmethod
    async def read(cls, request: Request) -> ApiRequest:
        """Read the request, body included."""
        scope = request.scope
        headers = _read_headers(scope["headers"])
        query = _read_query(scope["query_string"])
        in_query = dict(query).get(_KEY)
        return cls(
            method=scope["method"],
            path=scope["path"].removeprefix(scope.get("root_path", "")),
            headers=headers,
            query=tuple(pair for pair in query if pair[0] != _KEY),
            body=await request.body(),
            key=headers.get(_KEY, in_query),
        )

    @property
    def is_read(self) -> bool:
        """Whether the method is one that never writes."""
        return self.method in {"GET", "HEAD"}

    def answer_headers(self, schema: str) -> dict[str, str]:
        """Build the headers that say which parts of the request the answer follows.

        Args:
            schema: The exposed schema.

        Raises:
            ApiError: If the request names another schema, or asks strictly for unknown preferences.
        """
        headers = {}
        profile = self.headers.get("accept-profile" if self.is_read else "content-profile")
        if profile is not None:
            if profile != schema:
                raise schema_not_exposed(profile, schema)
            headers["content-profile"] = profile
        if applied := self.preferences().applied:
            headers["preference-applied"] = applied
        return headers

    def media_type(self) -> str:
        """Choose the media type of the answer: the first accepted one that can be had."""
        accepted = _by_quality(self.headers.get("accept", "*/*"))
        for wanted in accepted:
            if wanted in _MEDIA_TYPES:
                return _MEDIA_TYPES[wanted]
        raise media_type_not_available(accepted)

    def preferences(self) -> Preferences:
        """Read the header `Prefer`.

        Raises:
            ApiError: If the client is strict and asks for something unknown.
        """
        header = self.headers.get("prefer")
        if not header:
            return Preferences()
        wanted = [item.strip() for item in header.split(",")]
        counts = [item.removeprefix("count=") for item in wanted if item.startswith("count=")]
        known = (
            {f"count={count}" for count in _COUNTS} | {"handling=strict"} | _HARMLESS_PREFERENCES
        )
        preferences = Preferences(
            count=next((count for count in counts if count in _COUNTS), None),
            is_strict="handling=strict" in wanted,
            unknown=tuple(item for item in wanted if item not in known),
        )
        if preferences.is_strict and preferences.unknown:
            raise bad_preferences(preferences.unknown)
        return preferences

    def database_settings(self) -> dict[str, str]:
        """Return the settings that describe the request to functions, as PostgREST does."""
        headers = {name: text for name, text in self.headers.items() if name != "cookie"}
        return {
            "request.method": self.method,
            "request.path": self.path,
            "request.headers": json.dumps(headers, ensure_ascii=False, separators=(",", ":")),
            "request.cookies": json.dumps(_cookies(self.headers.get("cookie", ""))),
        }


def _read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_text in pairs:
        name, text = raw_name.decode("latin-1"), raw_text.decode("latin-1")
        # Preferences may be spread over several headers; of any other the last one counts.
        headers[name] = f"{headers[name]}, {text}" if name == "prefer" and name in headers else text
    return headers


def _read_query(query_string: bytes) -> list[tuple[str, str]]:
    if not query_string:
        return []
    try:
        text = query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise _not_text(query_string) from error


def _not_text(query_string: bytes) -> ApiError:
    return bad_query_string(
        "query string", query_string.decode("latin-1"), 1, "it is not percent-encoded UTF-8"
    )


def _by_quality(accept: str) -> list[str]:
    """List media types, best quality first; parameters other than the quality stay in."""
    rated = []
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        kept = [part for part in parameters if part.split("=")[0] not in {"q", "charset"}]
        rated.append((_as_number(quality), ";".join([name, *kept])))
    return [name for _, name in sorted(rated, key=lambda pair: -pair[0])]


def _as_number(quality: str) -> float:
    try:
        return float(quality)
    except ValueError:
        return 0.0


def _cookies(header: str) -> dict[str, str]:
    pairs = (item.strip().partition("=") for item in header.split(";") if item.strip())
    return {name: text for name, _, text in pairs}
