"""The one place that polls: for what the operating system gives no event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_SECONDS = 0.005


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float) -> bool:
    """Ask *condition* again and again until it holds or the time is over.

    Args:
        condition: What must become true.
        timeout_seconds: How long to keep asking, in seconds.

    Returns:
        Whether the condition held in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_INTERVAL_SECONDS)
    return True
