"""The examination of a project, from its settings to its queues, in the order of the fixes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshhook import RepeatPolicy
from meshhook._calls import inspect
from meshhook._http.transport import SyncTransport
from meshhook.cli.doctor import database, queues, schema
from meshhook.cli.doctor.backlog import growth
from meshhook.cli.doctor.expected import expected
from meshhook.cli.doctor.facts import decode
from meshhook.cli.doctor.failures import failure
from meshhook.cli.doctor.findings import ok, problem
from meshhook.cli.doctor.settings import examine_key, examine_url
from meshhook.exceptions import ConfigurationError, MeshHookError, RequestError
from meshhook.migrations import migration_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from supabase import Client

    from meshhook.cli.doctor.expected import Expected
    from meshhook.cli.doctor.facts import Facts
    from meshhook.cli.doctor.findings import Finding
    from meshhook.cli.project import Settings

ANSWER_SECONDS = 10.0
"""How long to wait for an answer; longer than hosted Supabase lets a statement run (8 s)."""


def examine(settings: Settings, queues: list[str], sample_seconds: float) -> Iterator[Finding]:
    """Examine settings, key, connection and database, each only if the one before is usable."""
    if not settings.url or not settings.key:
        missing = "SUPABASE_KEY" if settings.url else "SUPABASE_URL"
        fix = "put SUPABASE_URL and SUPABASE_KEY into the environment or into .env"
        yield problem("settings", f"{missing} is not set", fix)
        return
    for finding in (examine_url(settings.url), examine_key(settings.key, settings.url, _now())):
        yield finding
        if finding.status != "ok":
            return
    try:
        with settings.connect() as client:
            client.postgrest.session.timeout = ANSWER_SECONDS
            yield from _examine_project(client, queues, sample_seconds)
    except ConfigurationError as error:
        yield problem("settings", str(error), "correct SUPABASE_URL and SUPABASE_KEY")


def _examine_project(client: Client, queues: list[str], sample: float) -> Iterator[Finding]:
    # An error that comes at once is worth a second try; a time-out is not.
    policy = RepeatPolicy(tries=2, total_seconds=ANSWER_SECONDS / 2)
    transport = SyncTransport(client, policy)
    begin, here = time.monotonic(), _now()
    reported = set()
    try:
        facts = decode(transport.call(inspect.doctor()))
        seconds = time.monotonic() - begin
        yield ok("connection", f"answered in {seconds * 1000:.0f} ms")
        if clock := database.clock(facts, here + timedelta(seconds=seconds / 2), seconds):
            yield clock
        served = _served(transport)
        for finding in diagnose(facts, expected(migration_file()), served, queues):
            yield finding
            if finding.status != "ok":
                reported.add(finding.check)
        if sample:
            time.sleep(sample)
            later = decode(transport.call(inspect.doctor()))
            yield from growth(facts, later, sample, served, reported)
    except MeshHookError as error:
        yield failure(error, transport.call, ANSWER_SECONDS)


def _served(transport: SyncTransport) -> set[str] | None:
    """Return the queues that have a worker; None if the database does not answer that.

    The reason is among its facts: a function that is missing or changed, or a lost right.
    """
    try:
        workers = transport.call(inspect.workers())
    except RequestError:
        return None
    return {name for worker in workers if worker.is_alive for name in worker.queue_names}


def _now() -> datetime:
    return datetime.now(UTC)


def diagnose(
    facts: Facts,
    expected: Expected,
    served: Collection[str] | None,
    queue_names: Sequence[str],
) -> Iterator[Finding]:
    """Examine the facts of a database, in the order in which findings should be fixed."""
    of_schema = list(schema.examine(facts, expected))
    is_whole = all(finding.status != "problem" for finding in of_schema)
    yield from of_schema
    if facts.is_strange:
        return
    yield database.pgmq(facts)
    yield from database.rights(facts, expected)
    yield database.statement_timeout(facts.statement_timeout_ms)
    if is_whole:  # if not, the problems of the schema are the cause
        yield from database.unreadable(facts)
    if facts.has_pgmq and "queues" not in facts.failed:
        yield from queues.examine(facts, served, queue_names, is_whole=is_whole)
    if facts.has_schema:
        yield database.retention(facts)
