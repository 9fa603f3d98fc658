"""How large messages are in the body of a call, in bytes of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshhook._defaults import MAX_MESSAGE_BYTES
from meshhook.exceptions import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

# The same encoding as in the transport, so that what is measured is what is sent.
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def size_of(messages: Sequence[Any]) -> int:
    """Return how many bytes messages take in the body of a call, each with its comma."""
    return size_of_text(encode(messages))


def size_of_text(text: str) -> int:
    """Return how many bytes an encoded list of messages takes in the body of a call."""
    return (len(text) if text.isascii() else len(text.encode())) - 1


def is_too_large(messages: Sequence[Any]) -> bool:
    """Return whether a chunk is a single message that is too large."""
    return len(messages) == 1 and size_of(messages) > MAX_MESSAGE_BYTES


def too_large(field: str) -> Problem:
    """Return the problem of a message that is too large."""
    fix = "put the bulk into Supabase Storage, and send where it is"
    return Problem(field, f"more than {MAX_MESSAGE_BYTES} bytes of JSON", fix)
