"""Who asks: the API key as Supabase checks it, then the token as PostgREST does."""

from __future__ import annotations

import functools
import json
import time
from typing import TYPE_CHECKING, Any

import attrs
import jwt

from meshhook_local.gateway.errors import ApiError, bad_claims, bad_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshhook_local.gateway.settings import GatewaySettings

ANONYMOUS = "anon"

_ALGORITHMS = ["HS256", "HS384", "HS512"]
_TOKEN_PARTS = 3
_CLOCK_SKEW_SECONDS = 30
_CACHED_TOKENS = 256
_OPAQUE_KEY = "sb_"


class KeyRejectedError(Exception):
    """The API key is missing or unknown; Supabase's gateway answers, not PostgREST.

    Attributes:
        message: What is wrong.
        hint: What to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


@attrs.frozen
class Identity:
    """Whom a request acts for.

    Attributes:
        role: The database role.
        claims: The claims of the token as JSON, the role among them.
    """

    role: str
    claims: str

    @property
    def is_anonymous(self) -> bool:
        """Whether the request came without a role of its own."""
        return self.role == ANONYMOUS


class Authenticator:
    """Tells whom a request acts for.

    Args:
        settings: Where the keys and the secret come from.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._keys = frozenset(
            {
                settings.anon_key,
                settings.service_role_key,
                settings.publishable_key,
                settings.secret_key,
            }
        )
        # Keys that are no tokens are exchanged for the token of their role, as Supabase does.
        self._tokens_of_keys = {
            settings.publishable_key: settings.anon_key,
            settings.secret_key: settings.service_role_key,
        }
        self._claims = functools.lru_cache(_CACHED_TOKENS)(
            functools.partial(_verified_claims, settings.jwt_secret)
        )

    def identify(self, key: str | None, authorization: str | None) -> Identity:
        """Check the key, then the token.

        Args:
            key: The API key, from the header or the query string.
            authorization: The header `Authorization`.

        Returns:
            Whom the request acts for.

        Raises:
            KeyRejectedError: If Supabase's gateway would turn the request away.
            ApiError: If PostgREST would.
        """
        self._check_key(key)
        token = _bearer(authorization)
        if token is not None and token.startswith(_OPAQUE_KEY) and token != key:
            raise _unknown_key()
        if token is None or token.startswith(_OPAQUE_KEY):
            token = self._tokens_of_keys.get(key or "")
        if token is None:
            return Identity(ANONYMOUS, _as_json({"role": ANONYMOUS}))
        claims, identity = self._claims(token)
        _check_times(claims)
        return identity

    def _check_key(self, key: str | None) -> None:
        if not key:
            raise KeyRejectedError(
                "No API key found in request",
                "No `apikey` request header or url param was found.",
            )
        if key not in self._keys:
            raise _unknown_key()


def _unknown_key() -> KeyRejectedError:
    return KeyRejectedError(
        "Invalid API key", "Double check your Supabase `anon` or `service_role` API key."
    )


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _verified_claims(secret: str, token: str) -> tuple[Mapping[str, Any], Identity]:
    payload = _verified_payload(secret, token)
    try:
        claims = json.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise bad_claims("Parsing claims failed")
    role = claims.get("role", ANONYMOUS)
    if not isinstance(role, str):
        role = _as_json(role)
    return claims, Identity(role, _as_json(claims | {"role": role}))


def _verified_payload(secret: str, token: str) -> bytes:
    if not token:
        raise bad_token("Empty JWT is sent in Authorization header")
    parts = token.count(".") + 1
    if parts != _TOKEN_PARTS:
        raise bad_token(f"Expected 3 parts in JWT; got {parts}")
    try:
        return bytes(jwt.PyJWS().decode_complete(token, secret, algorithms=_ALGORITHMS)["payload"])
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
        raise _unfit_key(token) from error
    except jwt.InvalidTokenError as error:
        raise bad_token("JWT cryptographic operation failed") from error


def _unfit_key(token: str) -> ApiError:
    if str(jwt.get_unverified_header(token).get("alg")).lower() == "none":
        return bad_token("Wrong or unsupported encoding algorithm", "JWT is unsecured")
    return bad_token(
        "No suitable key or wrong key type", "None of the keys was able to decode the JWT"
    )


def _check_times(claims: Mapping[str, Any]) -> None:
    now = int(time.time())
    if _time_of(claims, "exp", now) < now - _CLOCK_SKEW_SECONDS:
        raise bad_claims("JWT expired")
    if _time_of(claims, "nbf", now) > now + _CLOCK_SKEW_SECONDS:
        raise bad_claims("JWT not yet valid")
    if _time_of(claims, "iat", now) > now + _CLOCK_SKEW_SECONDS:
        raise bad_claims("JWT issued at future")


def _time_of(claims: Mapping[str, Any], name: str, default: float) -> float:
    value = claims.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float):
        raise bad_claims(f"The JWT '{name}' claim must be a number")
    return value


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
