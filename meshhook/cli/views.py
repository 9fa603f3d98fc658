"""Reading what is about all queues at once, which has no method in the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook._calls import inspect
from meshhook._calls.base import Call
from meshhook._http.transport import SyncTransport
from meshhook._http.views import read

if TYPE_CHECKING:
    from supabase import Client

    from meshhook import RepeatPolicy
    from meshhook.models import WorkerInfo

__all__ = ["ask", "read", "workers"]


def ask(client: Client, function: str, policy: RepeatPolicy) -> object:
    """Call a function without arguments, and return its answer, which may be any JSON."""
    return SyncTransport(client, policy).call(Call(function, {}, lambda answer: answer))


def workers(client: Client, policy: RepeatPolicy | None = None) -> list[WorkerInfo]:
    """List the workers of all queues."""
    return SyncTransport(client, policy).call(inspect.workers())
