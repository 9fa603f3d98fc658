"""Checks of the whole database: its clock, PGMQ, rights, time limits, the size of history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli import output
from meshhook.cli.doctor.findings import REPAIR, Finding, few, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from meshhook.cli.doctor.expected import Expected
    from meshhook.cli.doctor.facts import Facts, Failure, Queue

SKEW_SECONDS = 5.0
"""A larger difference of the clocks is a warning."""

BAD_SKEW_SECONDS = 60.0
"""A larger difference is a problem: new tokens may be refused."""

SHORT_TIMEOUT_MS = 5000
"""A shorter statement_timeout cuts off MeshHook's calls under load."""

LONGER_TIMEOUT = (
    "alter role service_role set statement_timeout = '8s'; notify pgrst, 'reload config'"
)

OLD_SECONDS = 30 * 86_400
MANY_ROWS = 100_000
"""A larger number of finished jobs, or older ones, need a retention."""

_OLDEST_PGMQ = (1, 4, 4)
_NOT_ALLOWED = "42501"


def clock(facts: Facts, here: datetime, round_trip_seconds: float) -> Finding | None:
    """Compare this machine's clock with the database's.

    Args:
        facts: The answer of `meshhook_doctor`.
        here: This machine's time in the middle of the call.
        round_trip_seconds: How long the call took.

    Returns:
        The finding; None if the answer has no time.
    """
    if facts.now is None:
        return None
    skew = (facts.now - here).total_seconds()
    beyond = abs(skew) - round_trip_seconds / 2
    message = f"the database's clock is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    fix = "let this machine set its clock from the network (NTP)"
    if beyond > BAD_SKEW_SECONDS:
        return problem("clock", message, fix)
    if beyond > SKEW_SECONDS:
        return warning("clock", message, fix)
    return ok("clock", f"within {max(abs(skew), 0.1):.1f} s of the database's")


def pgmq(facts: Facts) -> Finding:
    """Check that PGMQ is installed, and new enough."""
    if not facts.has_pgmq:
        return problem(
            "pgmq",
            "PGMQ is not installed, or was dropped",
            "enable it under Integrations > Queues in the dashboard, and apply the migrations:"
            f" {REPAIR}",
        )
    version = facts.pgmq_version
    if version is None:
        return ok("pgmq", "installed as plain SQL")
    if _version(version) < _OLDEST_PGMQ:
        return problem(
            "pgmq",
            f"version {version} is older than 1.4.4",
            "upgrade Postgres in the dashboard, then: alter extension pgmq update",
        )
    return ok("pgmq", f"version {version}")


def _version(text: str) -> tuple[int, ...]:
    # Python refuses to convert thousands of digits, which a broken answer may have.
    parts = (part[:9] for part in text.split("."))
    return tuple(int(part) for part in parts if part.isdecimal())


def rights(facts: Facts, expected: Expected) -> Iterator[Finding]:
    """Check that no other role has rights, and that service_role has all of them."""
    for door in facts.open_doors:
        verb = {"function": "execute", "schema": "usage"}.get(door.kind, "all")
        fix = f"revoke {verb} on {door.kind} {door.name} from public, {door.role}"
        yield problem("rights", f"the {door.kind} {door.name} is open to {door.role}", fix)
    lost = [f"{one.kind} {one.name}" for one in facts.lost_rights if _is_ours(one.name, expected)]
    if lost:
        message = f"service_role has lost its right to the {few(lost)}"
        yield problem("rights", message, REPAIR)
    is_known = not facts.failed.keys() & {"open_doors", "lost_rights"} and facts.has_schema
    if is_known and not facts.open_doors and not lost:
        yield ok("rights", "service_role alone")


def _is_ours(name: str, expected: Expected) -> bool:
    return name.partition("(")[0] in {*expected.functions, *expected.relations}


def statement_timeout(milliseconds: int) -> Finding:
    """Check that calls are not cut off too early."""
    if 0 < milliseconds < SHORT_TIMEOUT_MS:
        message = f"calls are cut off after {milliseconds} ms"
        return warning("statement timeout", message, LONGER_TIMEOUT)
    return ok("statement timeout", f"{milliseconds / 1000:g} s" if milliseconds else "none")


def unreadable(facts: Facts) -> Iterator[Finding]:
    """Report the facts that the database could not read, one finding for each cause."""
    causes: dict[Failure, list[str]] = {}
    for name, failure in facts.failed.items():
        causes.setdefault(failure, []).append(name)
    for failure, names in causes.items():
        message = f"{few(names)} cannot be read: {failure.message} ({failure.code})"
        if failure.code == _NOT_ALLOWED:
            fix = f"give the role {facts.role} that right, as the owner of what is named"
        else:
            fix = "look at the database's logs (dashboard: Logs > Postgres)"
        yield problem("database", message, fix)


def retention(facts: Facts) -> Finding:
    """Check that history and archives are pruned, once there is much to prune."""
    if facts.prunes:
        return ok("retention", "pg_cron prunes the history")
    kept = [queue for queue in facts.queues if _is_kept(queue)]
    rows = facts.history_rows + sum(queue.archive.rows for queue in kept if queue.archive)
    ages: dict[str | None, float] = {queue.name: queue.oldest_archived_seconds for queue in kept}
    ages[facts.oldest_history_queue] = max(
        facts.oldest_history_seconds, ages.get(facts.oldest_history_queue, 0)
    )
    name, oldest = max(ages.items(), key=lambda pair: pair[1])
    if oldest > OLD_SECONDS or (kept and rows > MANY_ROWS):
        prune = "once: select public.meshhook_prune(30)"
        configure = f"meshhook queues configure {name} --retention-days 30"
        return warning(
            "retention",
            f"about {rows} finished jobs are kept, the oldest for {output.age(oldest)}",
            f"{configure}; and {prune}" if name else prune,
        )
    return ok("retention", f"about {rows} finished jobs are kept")


def _is_kept(queue: Queue) -> bool:
    """Return whether a queue is MeshHook's and nothing prunes it."""
    return queue.is_known and not queue.is_dlq and not queue.has_retention
