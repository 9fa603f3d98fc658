"""Outages: what breaks every call as long as it lasts, each with its beginning and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tests.network import faults
from tests.network.proxy import ConnectionFault, Fault, Proxy


def of_requests(fault: Fault) -> Callable[[Proxy], None]:
    """Return what begins an outage in which every request meets a fault."""
    return lambda proxy: proxy.lay_for_good(fault)


def of_connections(fault: ConnectionFault) -> Callable[[Proxy], None]:
    """Return what begins an outage in which every connection meets a fault."""
    return lambda proxy: proxy.lay_on_connections(fault)


def postgrest(status: int, code: str) -> Fault:
    """Return the fault that PostgREST answers with an error."""
    body: dict[str, Any] = {"code": code, "message": "?", "details": None, "hint": None}
    return faults.answer(status, body)


@attrs.frozen
class Outage:
    """A kind of outage.

    Attributes:
        begin: What makes a proxy suffer it, until the proxy is cleared.
        carries_out: Whether the database carries the calls out all the same.
        is_silent: Whether a client learns of it by waiting only.
    """

    begin: Callable[[Proxy], None]
    carries_out: bool = False
    is_silent: bool = False


OUTAGES: dict[str, Outage] = {
    "refused": Outage(lambda proxy: proxy.refuse()),
    "reset at once": Outage(of_connections(faults.reset_at_once)),
    "reset in request": Outage(of_connections(faults.reset_in_request)),
    "stall at once": Outage(of_connections(faults.stall_at_once), is_silent=True),
    "reset": Outage(of_requests(faults.reset)),
    "stall": Outage(of_requests(faults.stall), is_silent=True),
    "lost answers": Outage(of_requests(faults.lose_answer), carries_out=True),
    "stalled answers": Outage(of_requests(faults.stall_answer), carries_out=True, is_silent=True),
    "cut": Outage(of_requests(faults.cut), carries_out=True),
    "reset in answer": Outage(of_requests(faults.reset_in_answer), carries_out=True),
    "garbage": Outage(of_requests(faults.garbage)),
    "502": Outage(of_requests(faults.answer(502))),
    "503": Outage(of_requests(faults.answer(503))),
    "504": Outage(of_requests(faults.answer(504))),
    "520": Outage(of_requests(faults.answer(520))),
    "429": Outage(of_requests(faults.answer(429, retry_after="0"))),
    "200 with HTML": Outage(of_requests(faults.answer(200))),
    "statement timeout": Outage(of_requests(postgrest(500, "57014"))),
    "no database": Outage(of_requests(postgrest(503, "PGRST000"))),
    "database error": Outage(of_requests(postgrest(503, "PGRST001"))),
    "no schema cache": Outage(of_requests(postgrest(503, "PGRST002"))),
    "pool exhausted": Outage(of_requests(postgrest(504, "PGRST003"))),
    "expired key": Outage(of_requests(postgrest(401, "PGRST303"))),
}
