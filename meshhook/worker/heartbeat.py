"""What a worker tells of itself, with calls that it makes anyway."""

from __future__ import annotations

import math
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshhook.worker.reporter import Reporter
    from meshhook.worker.settings import Settings

INTERVAL_SECONDS = 10.0
"""How often a worker tells of itself, if it makes a call then."""


def _version() -> str | None:
    try:
        return metadata.version("meshhook")
    except metadata.PackageNotFoundError:  # bundled without its metadata
        return None


class Heartbeat:
    """What goes with a claim or an extension every few seconds, so that the worker is seen.

    A drain is often over in a moment: one that is does not tell of itself, and says no good-bye.

    Args:
        settings: What the worker was told.
        reporter: What knows how many handlers run.
    """

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._reporter = reporter
        self._next = 0.0 if settings.drain is None else time.monotonic() + INTERVAL_SECONDS
        self._was_seen = False
        lease_seconds = settings.vt_seconds or 30.0
        self._fixed: dict[str, Any] = {
            "worker_id": uuid.uuid4().hex,
            "name": settings.name,
            "queue_names": list(settings.weights),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": _version(),
            "concurrency": settings.concurrency,
            # A worker that has no room for more jobs calls for extensions alone.
            "interval_seconds": max(
                INTERVAL_SECONDS, settings.poll_interval_seconds, lease_seconds / 3
            ),
            "started_at": datetime.now(UTC).isoformat(),
        }

    def due(self) -> dict[str, Any] | None:
        """Return what to send with the next call, or None while the last time is not long ago."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + INTERVAL_SECONDS
        self._was_seen = True
        return {**self._fixed, "running": self._reporter.count("running")}

    def final(self) -> dict[str, Any] | None:
        """Return what has the worker forgotten, None if it was never seen; nothing is due after."""
        self._next = math.inf
        return {**self._fixed, "is_stopped": True} if self._was_seen else None
