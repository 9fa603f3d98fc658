"""Keeping keys out of whatever is shown."""

from __future__ import annotations

import re

# Supabase's secret keys, and tokens: the legacy keys are some. Publishable keys are no secrets.
_SECRETS = re.compile(r"sb_secret_[\w-]+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_HIDDEN = "[key]"

# What is shorter is no key of Supabase, and hiding it would spoil every text that it stands in.
_SHORTEST = 8

_known: set[str] = set()


def hide(secret: str | None) -> None:
    """Never show this text from now on, whatever it looks like."""
    if secret and len(secret) >= _SHORTEST:
        _known.add(secret)


def redact(text: str) -> str:
    """Return a text without keys: those that were told, and what looks like one."""
    return _SECRETS.sub(_HIDDEN, redact_known(text))


def redact_known(text: str) -> str:
    """Return a text without the keys that were told; users' own data stays as it is otherwise."""
    for secret in _known:
        text = text.replace(secret, _HIDDEN)
    return text
