"""Exponential back-off: the one formula behind every pause that grows from failure to failure.

It imports nothing, holds no state and throws no dice, so that any layer can use it: who calls it
counts the failures and draws the jitter.
"""

from __future__ import annotations

_MAX_DOUBLINGS = 40
"""After so many, any base is over any ceiling; a larger exponent would only cost memory."""


def backoff(failures: int, base: float, ceiling: float, jitter: float = 0.0) -> float:
    """Return the pause after a number of failures in a row.

    Args:
        failures: How many there were, from 1 on.
        base: The pause after the first failure without jitter, in any unit of time.
        ceiling: What a pause never exceeds, jitter included, in the same unit.
        jitter: The random part: 0.5 makes a pause half as long again, -0.5 half as long.

    Returns:
        The pause in the same unit.
    """
    doubled: float = base * 2 ** min(failures - 1, _MAX_DOUBLINGS)
    return min(ceiling, doubled * (1 + jitter))
