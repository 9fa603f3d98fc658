"""The results of a measurement: rows of numbers, and whether they meet the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from benchmarks import statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


def _lines(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(lines)


def _rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(rows)


def _verdicts(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(verdicts)


@attrs.frozen
class Row:
    """One thing that was measured several times.

    Attributes:
        series: Its name.
        x: The condition: a number of jobs or workers, or a word.
        values: One number for each run.
        unit: The unit of the numbers.
    """

    series: str
    x: str | float
    values: tuple[float, ...] = attrs.field(converter=_numbers)
    unit: str

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest run."""
        return min(self.values), max(self.values)


@attrs.frozen
class Verdict:
    """Whether a target was met.

    Attributes:
        target: The target.
        measured: The measured value.
        met: Whether the target is met.
    """

    target: str
    measured: str
    met: bool


@attrs.frozen(kw_only=True)
class Result:
    """The result of a scenario.

    Attributes:
        name: The scenario.
        title: What it measures, in a line.
        how: The settings, for readers who judge or repeat it.
        x_title: The meaning of `Row.x`.
        rows: The numbers.
        verdicts: The targets, and whether they are met.
        plot: ``bars``, or ``lines`` if `Row.x` is a number on a logarithmic scale.
    """

    name: str
    title: str
    how: tuple[str, ...] = attrs.field(converter=_lines)
    x_title: str
    rows: tuple[Row, ...] = attrs.field(converter=_rows)
    verdicts: tuple[Verdict, ...] = attrs.field(converter=_verdicts, default=())
    plot: str = "bars"

    def judged(self, *verdicts: Verdict) -> Result:
        """Return the result with its verdicts."""
        return attrs.evolve(self, verdicts=verdicts)

    def row(self, series: str, x: str | float | None = None) -> Row:
        """Return the row of a series, at one x if it has several."""
        (row,) = (row for row in self.rows if row.series == series and x in {None, row.x})
        return row


def from_json(results: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Return the results that `results.json` holds."""
    return [
        Result(
            **{
                **each,
                "rows": [Row(**row) for row in each["rows"]],
                "verdicts": [Verdict(**verdict) for verdict in each["verdicts"]],
            }
        )
        for each in results
    ]


def at_least(target: str, value: float, goal: float, unit: str = "") -> Verdict:
    """Judge a value that should not be below a goal."""
    return Verdict(target, f"{number(value)}{unit}", value >= goal)


def at_most(target: str, value: float, goal: float, unit: str = "") -> Verdict:
    """Judge a value that should not be above a goal."""
    return Verdict(target, f"{number(value)}{unit}", value <= goal)


FLAT = 1.5
"""A series is flat if its largest median is at most this many times its first."""


def flat(target: str, rows: Iterable[Row]) -> Verdict:
    """Judge numbers that should not grow from one row to the next."""
    medians = [row.median for row in rows]
    growth = max(medians) / medians[0]
    shown = " / ".join(number(median) for median in medians)
    return Verdict(
        f"{target} (at most {FLAT} times the first)", f"{shown}: x {growth:.2f}", growth <= FLAT
    )


def number(value: float) -> str:
    """Return a number with about three significant digits."""
    if value == 0 or abs(value) >= 100:  # noqa: PLR2004 - from here on, no decimals
        return f"{value:,.0f}"
    return f"{value:.3g}"
