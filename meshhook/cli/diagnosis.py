"""What the database's facts say about its health. Nothing here sends anything."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from meshhook.cli import output
from meshhook.cli.findings import INSTALL, Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from meshhook.models import WorkerInfo

    Facts = Mapping[str, Any]

SKEW_SECONDS = 5.0
"""From which difference of the clocks on a warning is given."""

BAD_SKEW_SECONDS = 60.0
"""From which difference on tokens that are just made may be refused."""

SHORT_TIMEOUT_MS = 5000
"""A statement_timeout below this cuts off what MeshHook does under load."""

OVERDUE_SECONDS = 300
"""How long a job may be due before the backlog counts as a problem."""

WAITING_SECONDS = 60
"""How long a job may be due where no worker is seen."""

OLD_SECONDS = 30 * 86_400
MANY_ROWS = 100_000
"""Finished jobs and archived messages older or more than this call for a retention."""

DEAD_TUPLES = 10_000
"""How many dead tuples of a table count as bloat, where they are most of it."""

_OLDEST_PGMQ = (1, 4, 4)


def diagnose(
    facts: Facts,
    expected: Mapping[str, str],
    workers: Sequence[WorkerInfo],
    queue_names: Sequence[str],
) -> Iterator[Finding]:
    """Go through the facts of a database.

    Args:
        facts: What `meshhook_doctor` answered.
        expected: What the text of each function should come to.
        workers: Those that were seen within a day.
        queue_names: The queues that have to be there, and to have a worker.

    Yields:
        What is found, in the order in which it should be mended.
    """
    yield _functions(facts["functions"], expected)
    yield _pgmq(facts)
    yield from _rights(facts["open_doors"])
    yield _statement_timeout(facts["statement_timeout_ms"])
    yield from _missing_queues(facts["queues"], queue_names)
    served = {name for worker in workers if worker.is_alive for name in worker.queue_names}
    for queue in facts["queues"]:
        yield from _queue(queue)
        yield from _workers(queue, served, queue_names)
    yield _retention(facts)


def clock(facts: Facts, here: datetime, round_trip_seconds: float) -> Finding:
    """Compare this machine's clock with the database's.

    Args:
        facts: What `meshhook_doctor` answered.
        here: This machine's time in the middle of the call.
        round_trip_seconds: How long the call took.

    Returns:
        What is found.
    """
    skew = (datetime.fromisoformat(facts["now"]) - here).total_seconds()
    beyond = abs(skew) - round_trip_seconds / 2
    message = f"the database's clock is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    fix = "let this machine set its clock from the network (NTP)"
    if beyond > BAD_SKEW_SECONDS:
        return problem("clock", message, fix)
    if beyond > SKEW_SECONDS:
        return warning("clock", message, fix)
    return ok("clock", f"within {max(abs(skew), 0.1):.1f} s of the database's")


def growth(before: Facts, after: Facts, seconds: float) -> Iterator[Finding]:
    """Compare two looks at the queues.

    Args:
        before: What `meshhook_doctor` answered first.
        after: What it answered later.
        seconds: How much later.

    Yields:
        Each queue whose backlog grows.
    """
    depths = {queue["queue_name"]: queue.get("visible_jobs") for queue in before["queues"]}
    for queue in after["queues"]:
        then, now = depths.get(queue["queue_name"]), queue.get("visible_jobs")
        if not queue["is_dlq"] and then and now and now > then:
            more = output.counted(now - then, "more due job")
            yield warning(
                f"backlog {queue['queue_name']}",
                f"the backlog grows: {more} in {seconds:.0f} s, {now} in all",
                "more workers (--processes), more --concurrency, or fewer jobs",
            )


def _functions(there: Mapping[str, str], expected: Mapping[str, str]) -> Finding:
    missing = sorted(expected.keys() - there.keys())
    other = sorted(name for name in expected if there.get(name, expected[name]) != expected[name])
    newer = sorted(there.keys() - expected.keys())
    if (missing and newer) or (other and newer):
        message = f"of another version than this meshhook: {_few([*missing, *other, *newer])}"
        return problem("functions", message, f"{INSTALL}; or upgrade meshhook to the newer one")
    if missing:
        return problem("functions", f"missing: {_few(missing)}", INSTALL)
    if other:
        return problem("functions", f"of another version: {_few(other)}", INSTALL)
    if newer:
        message = f"the database has more than this meshhook knows: {_few(newer)}"
        return warning("functions", message, "pip install --upgrade meshhook")
    return ok("functions", f"all {len(expected)}, of this version")


def _few(names: list[str]) -> str:
    told = ", ".join(names[:3])
    return f"{told} and {len(names) - 3} more" if len(names) > 3 else told  # noqa: PLR2004 - a few


def _pgmq(facts: Facts) -> Finding:
    if not facts["has_pgmq"]:
        return problem(
            "pgmq",
            "PGMQ is not installed, or was dropped",
            "enable it under Integrations > Queues in the dashboard, and apply the migrations",
        )
    version = facts["pgmq_version"]
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
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def _rights(doors: list[Facts]) -> Iterator[Finding]:
    for door in doors:
        kind, name, role = door["kind"], door["name"], door["role"]
        verb = {"function": "execute", "schema": "usage"}.get(kind, "all")
        fix = f"revoke {verb} on {kind} {name} from public, {role}"
        yield problem("rights", f"the {kind} {name} is open to {role}", fix)
    if not doors:
        yield ok("rights", "service_role alone")


def _statement_timeout(milliseconds: int) -> Finding:
    if 0 < milliseconds < SHORT_TIMEOUT_MS:
        return warning(
            "statement timeout",
            f"calls are cut off after {milliseconds} ms",
            "alter role service_role set statement_timeout = '8s'; notify pgrst, 'reload config'",
        )
    return ok("statement timeout", f"{milliseconds / 1000:g} s" if milliseconds else "none")


def _missing_queues(queues: list[Facts], wanted: Iterable[str]) -> Iterator[Finding]:
    there = {queue["queue_name"] for queue in queues}
    for name in wanted:
        if name not in there:
            fix = f"meshhook queues create {name}"
            yield problem(f"queue {name}", "there is no such queue", fix)


def _queue(queue: Facts) -> Iterator[Finding]:
    name = queue["queue_name"]
    if "broken" in queue:
        fix = f"meshhook queues drop {name} --yes, and create it again"
        yield problem(f"queue {name}", f"it cannot be read: {queue['broken']}", fix)
        return
    course = _paused(queue) if _paused_at(queue) else _course(queue)
    found = [*_dead_letter_queue(queue), *course, *_tables(queue)]
    yield from found
    if not found:
        due, hidden = queue["visible_jobs"], queue["invisible_jobs"]
        depth = (
            output.counted(due + hidden, "dead letter")
            if queue["is_dlq"]
            else f"{due} due, {hidden} hidden"
        )
        yield ok(f"queue {name}", depth)


def _dead_letter_queue(queue: Facts) -> Iterator[Finding]:
    settings = queue["settings"]
    if not settings or queue["is_dlq"] or not settings.get("has_dead_letters", True):
        return
    if not queue["has_dlq"]:
        yield problem(
            f"queue {queue['queue_name']}",
            f"its dead letter queue {settings['dlq_name']} is missing",
            f"meshhook queues create {queue['queue_name']}",
        )


def _paused_at(queue: Facts) -> str | None:
    return (queue["settings"] or {}).get("paused_at")


def _paused(queue: Facts) -> Iterator[Finding]:
    name = queue["queue_name"]
    since = output.when(datetime.fromisoformat(_paused_at(queue) or ""))
    message = f"paused since {since}, with {output.counted(queue['visible_jobs'], 'job')} due"
    yield warning(f"queue {name}", message, f"meshhook queues resume {name}")


def _workers(queue: Facts, served: set[str], wanted: Sequence[str]) -> Iterator[Finding]:
    """Tell of a queue that nobody seems to work on."""
    name, overdue = queue["queue_name"], queue.get("overdue_seconds") or 0
    check, fix = f"workers {name}", f"meshhook worker module:handler --queue {name}"
    if name in served:
        yield ok(check, "at least one is alive")
    elif queue["is_dlq"] or _paused_at(queue):
        return
    elif overdue > WAITING_SECONDS:
        yield problem(check, f"none is alive, and a job is due since {output.age(overdue)}", fix)
    elif name in wanted:
        yield warning(check, "none is alive", fix)


def _course(queue: Facts) -> Iterator[Finding]:
    """Tell of jobs that nobody gets on with; dead letters wait for people."""
    if queue["is_dlq"]:
        return
    name, overdue = queue["queue_name"], queue["overdue_seconds"] or 0
    if queue["lapsed_jobs"]:
        left = output.counted(queue["lapsed_jobs"], "job", "were")
        yield problem(
            f"stuck {name}",
            f"{left} left unfinished by workers that are gone",
            f"start a worker: meshhook worker module:handler --queue {name}",
        )
    if overdue > OVERDUE_SECONDS:
        jobs = output.counted(queue["visible_jobs"], "job", "are")
        yield problem(
            f"backlog {name}",
            f"{jobs} due, the first since {output.age(overdue)}",
            "more workers (--processes) or more --concurrency",
        )


def _tables(queue: Facts) -> Iterator[Finding]:
    name = queue["queue_name"]
    for part, prefix in (("table", "q"), ("archive", "a")):
        table = f"pgmq.{prefix}_{name}"
        facts = queue[part] or {}
        if facts.get("unlogged"):
            yield problem(
                f"durability {name}",
                f"{table} is unlogged: a crash of the database empties it",
                f'alter table pgmq."{prefix}_{name}" set logged',
            )
        dead, live = facts.get("dead_tuples", 0), facts.get("live_tuples", 0)
        if dead > DEAD_TUPLES and dead > 2 * live:
            yield warning(
                f"bloat {name}",
                f"{table} has {dead} dead tuples beside {live} live ones",
                f'vacuum (analyze) pgmq."{prefix}_{name}"; and look for transactions left open',
            )


def _retention(facts: Facts) -> Finding:
    """Tell whether history and archives are pruned, once there is something to prune."""
    if facts["prunes"]:
        return ok("retention", "pg_cron prunes the history")
    kept = [queue for queue in facts["queues"] if _is_kept_for_ever(queue)]
    rows = (facts["history"] or {}).get("rows", 0)
    rows += sum((queue.get("archive") or {}).get("rows", 0) for queue in kept)
    history = facts["oldest_history"] or {}
    ages = {queue["queue_name"]: queue.get("oldest_archived_seconds") or 0 for queue in kept}
    ages[history.get("queue_name")] = history.get("seconds") or 0
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


def _is_kept_for_ever(queue: Facts) -> bool:
    settings = queue["settings"] or {}
    return not queue["is_dlq"] and settings.get("retention_days") is None
