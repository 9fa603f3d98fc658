"""Going through what a database says of its health, in the order in which it should be fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli.doctor import database, queues, schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from meshhook.cli.doctor.expected import Expected
    from meshhook.cli.doctor.facts import Facts
    from meshhook.cli.doctor.findings import Finding


def diagnose(
    facts: Facts,
    expected: Expected,
    served: Collection[str] | None,
    queue_names: Sequence[str],
) -> Iterator[Finding]:
    """Go through the facts of a database.

    Args:
        facts: What `meshhook_doctor` answered.
        expected: What this MeshHook's migrations create.
        served: The queues that have a worker that is alive; None if that is not known.
        queue_names: The queues that have to be there, and to have a worker.

    Yields:
        What is found, in the order in which it should be fixed.
    """
    of_schema = list(schema.examine(facts, expected))
    is_whole = all(finding.status != "problem" for finding in of_schema)
    yield from of_schema
    if facts.is_strange:
        return
    yield database.pgmq(facts)
    yield from database.rights(facts, expected)
    yield database.statement_timeout(facts.statement_timeout_ms)
    if is_whole:  # else it is what these come of
        yield from database.unreadable(facts)
    if facts.has_pgmq and "queues" not in facts.failed:
        yield from queues.examine(facts, served, queue_names, is_whole=is_whole)
    if facts.has_schema:
        yield database.retention(facts)
