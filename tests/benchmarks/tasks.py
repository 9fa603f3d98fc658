"""Tasks for the tests of processes."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.processes import Gate


def add(gate: Gate, one: int, two: int) -> dict[str, Any]:
    gate.wait()
    return {"sum": one + two, "modules": len(sys.modules)}


def burn(gate: Gate, before: int, after: int) -> int:
    """Take processor time, before the gate and after it."""
    prepared = sum(range(before))
    gate.wait()
    return prepared + sum(range(after))


def fail_early(gate: Gate) -> None:
    raise ValueError(f"no way to the gate, which is a {type(gate).__name__}")


def fail_late(gate: Gate) -> None:
    gate.wait()
    raise ValueError("fell behind the gate")
