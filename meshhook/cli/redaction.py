"""Keeping keys out of everything that is shown."""

from __future__ import annotations

import re

# Supabase's secret keys, and tokens, which the legacy keys are. Publishable keys are no secrets.
_SECRETS = re.compile(r"sb_secret_[\w-]+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_HIDDEN = "[key]"

# A shorter text is no key of Supabase, and hiding it would spoil every text that contains it.
_SHORTEST = 8

_known: set[str] = set()


def hide(secret: str | None) -> None:
    """Never show this text from now on, whether or not it looks like a key."""
    if secret and len(secret) >= _SHORTEST:
        _known.add(secret)


def redact(text: str) -> str:
    """Return a text without the known keys, and without what looks like one."""
    return _SECRETS.sub(_HIDDEN, redact_known(text))


def redact_known(text: str) -> str:
    """Return a text without the known keys; users' own data is not changed in other ways."""
    for secret in _known:
        text = text.replace(secret, _HIDDEN)
    return text
