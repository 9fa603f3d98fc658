"""Checks whether the database has everything that MeshHook's migrations create, unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli.doctor.findings import REPAIR, Finding, few, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.cli.doctor.expected import Expected
    from meshhook.cli.doctor.facts import Facts


def examine(facts: Facts, expected: Expected) -> Iterator[Finding]:
    """Compare the database with what the migrations create."""
    if facts.is_strange:
        yield _strange(facts)
        return
    if not facts.has_schema:
        message = "the schema meshhook is gone; the jobs in the queues are still there"
        yield problem("functions", message, REPAIR)
        return
    lost = () if facts.relations is None else sorted(expected.relations - facts.relations)
    functions = _functions(facts, expected, lost)
    if facts.strange and functions.status == "ok":
        functions = _strange(facts)
    yield functions
    if lost and functions.status == "ok":
        yield problem("tables", f"missing: {few(lost)}", REPAIR)


def _functions(facts: Facts, expected: Expected, lost: list[str] | tuple[str, ...]) -> Finding:
    if "functions" in facts.failed:
        return problem("functions", f"missing: {facts.failed['functions'].message}", REPAIR)
    found = expected.differences(facts.functions)
    missing, other, newer = found.missing, found.changed, found.unknown
    if newer and (missing or other):
        message = f"of another version than this meshhook: {few([*missing, *other, *newer])}"
        return problem("functions", message, f"{REPAIR}; or upgrade meshhook to the newer one")
    if missing:
        return problem("functions", f"missing: {few([*missing, *lost])}", REPAIR)
    if other:
        return problem("functions", f"changed, or of another version: {few(other)}", REPAIR)
    if newer:
        message = f"the database has more than this meshhook knows: {few(newer)}"
        return warning("functions", message, "pip install --upgrade meshhook")
    return ok("functions", f"all {len(expected.functions)}, of this version")


def _strange(facts: Facts) -> Finding:
    parts = [f"{path or 'the answer'} {what}" for path, what in facts.strange.items()]
    message = f"meshhook_doctor does not answer as it should: {few(parts)}"
    return problem("functions", message, REPAIR)
