"""Whether all that MeshHook's migrations create is there, and is as they create it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshhook.cli.findings import REPAIR, Finding, few, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.cli.diagnosis.facts import Facts
    from meshhook.cli.expected import Expected


def examine(facts: Facts, expected: Expected) -> Iterator[Finding]:
    """Compare what is there with what the migrations create.

    Args:
        facts: What `meshhook_doctor` answered.
        expected: What this MeshHook's migrations create.

    Yields:
        What is found: one for functions, and one for tables and views if any is missing.
    """
    if facts.is_strange:
        yield _strange(facts)
        return
    if not facts.has_schema:
        message = "the schema meshhook is gone; what waits in the queues is still there"
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
    there, wanted = facts.functions, expected.functions
    if "functions" in facts.failed:
        return problem("functions", f"missing: {facts.failed['functions'].message}", REPAIR)
    missing = sorted(wanted.keys() - there.keys())
    other = sorted(name for name in wanted if there.get(name, wanted[name]) != wanted[name])
    newer = sorted(there.keys() - wanted.keys())
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
    return ok("functions", f"all {len(wanted)}, of this version")


def _strange(facts: Facts) -> Finding:
    told = [f"{path or 'the answer'} {what}" for path, what in facts.strange.items()]
    message = f"meshhook_doctor answers otherwise than it should: {few(told)}"
    return problem("functions", message, REPAIR)
