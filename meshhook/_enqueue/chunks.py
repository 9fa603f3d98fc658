"""Splitting jobs into chunks that one call can carry: by count and by bytes.

A chunk is as large as possible, and its end depends only on the messages from its first one on. So
the same list always has the same cuts, and so has the rest of the list after any chunk. That is why
an interrupted enqueue can go on under its request ids.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from meshhook._defaults import MAX_BYTES_PER_CALL, MAX_JOBS_PER_CALL
from meshhook._inputs import sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_STEP = 64


def end_of_chunk(
    messages: Sequence[Any],
    start: int,
    max_jobs: int = MAX_JOBS_PER_CALL,
    max_bytes: int = MAX_BYTES_PER_CALL,
) -> int:
    """Return the position after the last message of a chunk; see `cut`."""
    return cut(messages, start, max_jobs, max_bytes)[0]


def cut(
    messages: Sequence[Any],
    start: int,
    max_jobs: int = MAX_JOBS_PER_CALL,
    max_bytes: int = MAX_BYTES_PER_CALL,
) -> tuple[int, str]:
    """Cut off the chunk that begins at a message; one that is too large is a chunk alone.

    Returns:
        The position after its last message, and the chunk as JSON.
    """
    last = min(len(messages), start + max_jobs)
    end, room, step, grows = start, max_bytes, 1, True
    texts: list[str] = []
    # Encoding several messages at once costs half as much as encoding each. So the steps grow at
    # first, and shrink near the end of the chunk.
    while step and end < last:
        stop = min(end + step, last)
        text = sizes.encode(messages[end:stop])
        size = sizes.size_of_text(text)
        if size <= room or end == start == stop - 1:
            texts.append(text[1:-1])
            end, room = stop, room - size
            step = min(2 * step, _LARGEST_STEP) if grows else step
        else:
            step, grows = step // 2, False
    return end, f"[{','.join(texts)}]"


def next_key(key: str) -> str:
    """Return the request id of the chunk that follows the one sent under a request id."""
    return f"meshhook-{hashlib.sha256(key.encode()).hexdigest()}"
