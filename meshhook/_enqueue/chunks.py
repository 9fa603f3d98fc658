"""Splitting jobs into chunks that one call can carry: by count and by bytes.

A chunk is cut greedily, and where it ends depends on nothing but the messages from its first one
on. So the same list is always cut alike, and so is what is left of it from the end of any chunk.
That is what lets an interrupted enqueue go on under the request ids that it began with.
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
    """Cut the chunk off that begins at a message.

    Args:
        messages: All the messages.
        start: The position of the first of the chunk.
        max_jobs: How many it has at the most.
        max_bytes: How large it is at the most. A message that is larger makes a chunk of its own.

    Returns:
        The position after its last message, and the chunk as JSON.
    """
    last = min(len(messages), start + max_jobs)
    end, room, step, grows = start, max_bytes, 1, True
    texts: list[str] = []
    # Encoding several messages at once costs half of encoding each: so first in growing steps,
    # and then, near the end of the chunk, in shrinking ones.
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
