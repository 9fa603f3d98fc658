"""Helpers for the tests of a project that uses MeshHook.

They are usually used through the fixtures of the pytest plugin, which comes with the package:
`meshhook_queue` is a `QueueUnderTest`, `meshhook_clock` a `QueueClock`. The classes also work
without pytest. They need the extra: ``pip install 'meshhook[local]'``.
"""

from __future__ import annotations

from meshhook.testing.clients import open_async_client, open_sync_client
from meshhook.testing.clock import QueueClock
from meshhook.testing.drained import DrainResult, WorkedJob
from meshhook.testing.factory import QueueFactory
from meshhook.testing.queue import QueueUnderTest
from meshhook.testing.stack import RunningStack, Stack

__all__ = [
    "DrainResult",
    "QueueClock",
    "QueueFactory",
    "QueueUnderTest",
    "RunningStack",
    "Stack",
    "WorkedJob",
    "open_async_client",
    "open_sync_client",
]
