"""The heartbeat: what a worker reports of itself, along with calls that it makes anyway."""

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
"""How often a call of the worker carries a heartbeat."""


def _version() -> str | None:
    try:
        return metadata.version("meshhook")
    except metadata.PackageNotFoundError:  # bundled without its metadata
        return None


class Heartbeat:
    """Goes with a claim or an extension every few seconds, so that the worker is listed.

    A drain that ends within the first interval sends none, and is not listed.

    Args:
        settings: The worker's settings.
        reporter: Counts how many handlers run.
    """

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self._reporter = reporter
        self._next = 0.0 if settings.drain is None else time.monotonic() + INTERVAL_SECONDS
        self._is_listed = False
        lease_seconds = settings.vt_seconds or 30.0
        self._fixed: dict[str, Any] = {
            "worker_id": uuid.uuid4().hex,
            "name": settings.name,
            "queue_names": list(settings.weights),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": _version(),
            "concurrency": settings.concurrency,
            # A worker that has no room for more jobs only makes calls to extend leases.
            "interval_seconds": max(
                INTERVAL_SECONDS, settings.poll_interval_seconds, lease_seconds / 3
            ),
            "started_at": datetime.now(UTC).isoformat(),
        }

    def due(self) -> dict[str, Any] | None:
        """Return the heartbeat for the next call, or None if the last one is recent."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + INTERVAL_SECONDS
        self._is_listed = True
        return {**self._fixed, "running": self._reporter.count("running")}

    def last(self) -> dict[str, Any] | None:
        """Return the heartbeat that takes the worker off the list, or None if it is not on it."""
        self._next = math.inf
        return {**self._fixed, "is_stopped": True} if self._is_listed else None
