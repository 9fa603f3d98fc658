"""Medians, spreads, percentiles, and the order in which contenders take their turns."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")


def median(values: Iterable[float]) -> float:
    """Return the median.

    Args:
        values: At least one number.

    Returns:
        The middle one, or the mean of the two in the middle.
    """
    return statistics.median(values)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed.

    Args:
        values: At least one number.
        share: From above 0 to 1: 0.99 for the 99th percentile.

    Returns:
        One of the values, never a number between two of them.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def turns(contenders: Sequence[T], runs: int) -> Iterator[T]:
    """Yield all contenders once per run, in every second run backwards (ABBA).

    Drift during a measurement, such as the machine's temperature or the size of the database,
    then affects each of them equally.

    Args:
        contenders: The contenders.
        runs: How many turns each of them takes.

    Yields:
        The next contender.
    """
    for run in range(runs):
        yield from contenders if run % 2 == 0 else reversed(contenders)
