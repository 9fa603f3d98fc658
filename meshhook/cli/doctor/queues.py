"""Checks of each queue: whether it can be used, and the state of its tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshhook.cli import output
from meshhook.cli.doctor import backlog
from meshhook.cli.doctor.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from meshhook.cli.doctor.facts import Facts, Queue, Table

DEAD_TUPLES = 10_000
"""More dead tuples than this are bloat, if they are most of a table."""

_PARTS = {"table": "q", "archive": "a"}
_NEEDED_RIGHTS = {
    "table": ("select", "insert", "update", "delete"),
    "archive": ("select", "insert", "delete"),
}
_NEEDED_INDEXES = {"table": ("msg_id", "vt"), "archive": ("archived_at",)}
_WHAT_FOR = {"msg_id": "each settle", "vt": "each claim", "archived_at": "each prune"}
_OURS = re.compile(r"[a-z][a-z0-9_]{0,46}")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def examine(
    facts: Facts, served: Collection[str] | None, wanted: Sequence[str], *, is_whole: bool
) -> Iterator[Finding]:
    """Check the queues.

    A queue that MeshHook does not use is only checked for what MeshHook would need.

    Args:
        facts: The answer of `meshhook_doctor`.
        served: The queues that have a worker that is alive; None if that is not known.
        wanted: The queues that have to exist, and to have a worker.
        is_whole: Whether MeshHook's functions are complete: if one is missing, a queue that cannot
            be read is no finding of its own.

    Yields:
        The findings.
    """
    there = {queue.name for queue in facts.queues}
    for name in wanted:
        if name not in there:
            fix = f"meshhook queues create {name}"
            yield problem(f"queue {name}", "there is no such queue", fix)
    owners = {queue.dlq_name: queue.name for queue in facts.queues if queue.dlq_name}
    for queue in facts.queues:
        if queue.broken and not (is_whole or queue.gone or _forbidden(queue, facts.role)):
            continue
        if queue.is_known or queue.is_dlq or queue.name in wanted:
            yield from _ours(queue, facts.role, owners, served)
            yield from backlog.workers(queue, served, wanted)
        else:
            yield _foreign(queue, facts.role)


def _ours(
    queue: Queue, role: str, owners: Mapping[str, str], served: Collection[str] | None
) -> Iterator[Finding]:
    check = f"queue {queue.name}"
    if obstacle := _obstacle(queue, role, owners.get(queue.name, queue.name)):
        yield problem(check, *obstacle)
        return
    found = [
        *_dead_letter_queue(queue),
        *backlog.paused(queue),
        *backlog.backlog(queue, served),
        *_tables(queue),
    ]
    yield from found
    if not found:
        due, hidden = queue.visible_jobs, queue.invisible_jobs
        letters = output.counted(due + hidden, "dead letter")
        yield ok(check, letters if queue.is_dlq else f"{due} due, {hidden} hidden")


def _foreign(queue: Queue, role: str) -> Finding:
    check = f"queue {queue.name}"
    if obstacle := _obstacle(queue, role, queue.name):
        message, fix = obstacle
        return warning(check, f"not MeshHook's, and it could not use it: {message}", fix)
    due, hidden = queue.visible_jobs, queue.invisible_jobs
    return ok(check, f"{due} due, {hidden} hidden; MeshHook has not used it")


def _obstacle(queue: Queue, role: str, maker: str) -> tuple[str, str] | None:
    """Return why MeshHook cannot use a queue, and what to do; None if it can."""
    if queue.gone:
        gone = " and ".join(_table_name(queue, part) for part in queue.gone)
        message = f"pgmq.meta lists it, but {gone} {'are' if len(queue.gone) > 1 else 'is'} gone"
        if _OURS.fullmatch(maker):
            return message, f"meshhook queues create {maker}"
        return message, "create it again with what created it; MeshHook cannot use this name"
    return _forbidden(queue, role) or _broken(queue)


def _forbidden(queue: Queue, role: str) -> tuple[str, str] | None:
    messages, grants, owners = [], [], set()
    for part, table in _tables_of(queue):
        if missing := [one for one in _NEEDED_RIGHTS[part] if one in table.missing_rights]:
            name = _table_name(queue, part)
            rights = ", ".join(missing)
            messages.append(f"{role} may not {rights} in {name}, which belongs to {table.owner}")
            grants.append(f"grant {rights} on {_quoted(queue, part)} to {_role(role)}")
            owners.add(table.owner)
    if not grants:
        return None
    return "; ".join(messages), f"as {' and '.join(sorted(owners))}: {'; '.join(grants)}"


def _broken(queue: Queue) -> tuple[str, str] | None:
    if queue.broken is None:
        return None
    message = f"it cannot be read: {queue.broken.message} ({queue.broken.code})"
    return message, "look at the database's logs (dashboard: Logs > Postgres)"


def _dead_letter_queue(queue: Queue) -> Iterator[Finding]:
    if queue.is_known and not queue.is_dlq and queue.has_dead_letters and not queue.has_dlq:
        yield problem(
            f"queue {queue.name}",
            f"its dead letter queue {queue.dlq_name} is missing",
            f"meshhook queues create {queue.name}",
        )


def _tables(queue: Queue) -> Iterator[Finding]:
    for part, table in _tables_of(queue):
        yield from _durability(queue, part, table)
        yield from _bloat(queue, part, table)
        yield from _indexes(queue, part, table)
        yield from _triggers(queue, part, table)


def _durability(queue: Queue, part: str, table: Table) -> Iterator[Finding]:
    if table.is_unlogged:
        yield problem(
            f"durability {queue.name}",
            f"{_table_name(queue, part)} is unlogged: a crash of the database empties it",
            f"alter table {_quoted(queue, part)} set logged",
        )


def _bloat(queue: Queue, part: str, table: Table) -> Iterator[Finding]:
    dead, live = table.dead_tuples, table.live_tuples
    if dead > DEAD_TUPLES and dead > 2 * live:
        yield warning(
            f"bloat {queue.name}",
            f"{_table_name(queue, part)} has {dead} dead tuples and {live} live ones",
            f"vacuum (analyze) {_quoted(queue, part)}; and look for transactions left open",
        )


def _indexes(queue: Queue, part: str, table: Table) -> Iterator[Finding]:
    """Report missing indexes of PGMQ's; their names do not matter."""
    check, name = f"index {queue.name}", _table_name(queue, part)
    for index in table.broken_indexes:
        message = f"the index {index} of {name} is invalid: its creation failed"
        yield warning(check, message, f"reindex index concurrently pgmq.{_identifier(index)}")
    if table.broken_indexes or table.indexed is None:
        return
    concurrently = "" if table.is_partitioned else " concurrently"
    for column in _NEEDED_INDEXES[part]:
        if column not in table.indexed and not (table.is_partitioned and column == "msg_id"):
            unique = "unique " if column == "msg_id" else ""
            yield warning(
                check,
                f"{name} has no index on {column}: {_WHAT_FOR[column]} reads all of it",
                f"create {unique}index{concurrently} on {_quoted(queue, part)} ({column})",
            )


def _triggers(queue: Queue, part: str, table: Table) -> Iterator[Finding]:
    name = _table_name(queue, part)
    for trigger in table.triggers:
        disable = f"alter table {_quoted(queue, part)} disable trigger {_identifier(trigger.name)}"
        yield warning(
            f"triggers {queue.name}",
            f"the trigger {trigger.name} on {name} runs {trigger.function} with MeshHook's calls,"
            " which fail where it raises",
            f"if calls fail, correct that function, or: {disable}",
        )


def _tables_of(queue: Queue) -> list[tuple[str, Table]]:
    parts = {"table": queue.table, "archive": queue.archive}
    return [(part, table) for part, table in parts.items() if table is not None]


def _table_name(queue: Queue, part: str) -> str:
    return f"pgmq.{_PARTS[part]}_{queue.name.lower()}"  # PGMQ's own rule


def _quoted(queue: Queue, part: str) -> str:
    return f"pgmq.{_identifier(f'{_PARTS[part]}_{queue.name.lower()}')}"


def _identifier(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _role(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _identifier(name)
