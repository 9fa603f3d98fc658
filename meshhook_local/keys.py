"""The secrets of a stack: random, and kept next to data that lasts."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

import attrs
import jwt

if TYPE_CHECKING:
    from pathlib import Path

_ISSUER = "supabase-local"
_TEN_YEARS_SECONDS = 10 * 365 * 24 * 60 * 60


@attrs.frozen(kw_only=True)
class StackKeys:
    """The keys of a stack; none of them shows in its repr.

    Attributes:
        jwt_secret: What tokens are signed with (HS256).
        anon_key: A legacy key: a token of the role `anon`.
        service_role_key: A legacy key: a token of the role `service_role`.
        publishable_key: A key that stands for the role `anon`.
        secret_key: A key that stands for the role `service_role`.
    """

    jwt_secret: str = attrs.field(repr=False)
    anon_key: str = attrs.field(repr=False)
    service_role_key: str = attrs.field(repr=False)
    publishable_key: str = attrs.field(repr=False)
    secret_key: str = attrs.field(repr=False)


def make_keys() -> StackKeys:
    """Make random keys."""
    secret = secrets.token_urlsafe(48)
    return StackKeys(
        jwt_secret=secret,
        anon_key=sign_token(secret, "anon"),
        service_role_key=sign_token(secret, "service_role"),
        publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
        secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
    )


def load_keys(file: Path) -> StackKeys:
    """Read the keys of a lasting stack, or make them and write them, readable by us alone.

    Args:
        file: Where they are kept.

    Returns:
        The same keys at every call with the same file.
    """
    if file.exists():
        return StackKeys(**json.loads(file.read_text()))
    keys = make_keys()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(attrs.asdict(keys), out)
    return keys


def sign_token(secret: str, role: str, **claims: Any) -> str:
    """Sign a token for *role*.

    Args:
        secret: What to sign with.
        role: The database role that the token stands for.
        claims: Further claims; they win over the issuer and the expiry in ten years.

    Returns:
        The token.
    """
    expiry = int(time.time()) + _TEN_YEARS_SECONDS
    payload = {"iss": _ISSUER, "role": role, "exp": expiry} | claims
    return jwt.encode(payload, secret, algorithm="HS256")
