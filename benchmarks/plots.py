"""The numbers as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Result, Row

# Also distinct for readers who cannot distinguish red from green.
COLOURS = ("#0072b2", "#e69f00", "#56b4e9", "#999999", "#d55e00", "#009e73")
LOGARITHMIC_FROM = 20
"""The scale is logarithmic if the largest median is at least this many times the smallest."""


def draw(result: Result, folder: Path) -> Path:
    """Draw a scenario's results: medians, with lines from the lowest to the highest run.

    Args:
        result: The numbers.
        folder: The folder for the picture.

    Returns:
        The file of the picture.
    """
    # The same numbers give the same file, to the byte.
    with mpl.rc_context({"svg.hashsalt": result.name, "font.size": 9}):
        figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
        (_lines if result.plot == "lines" else _bars)(axes, result)
        _dress(axes, result)
        file = folder / f"{result.name}.svg"
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)
    return file


def _groups(result: Result) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in result.rows:
        groups.setdefault(row.series, []).append(row)
    return groups


def _places(result: Result) -> list[str]:
    return list(dict.fromkeys(str(row.x) for row in result.rows))


def _lines(axes: Axes, result: Result) -> None:
    places = _places(result)
    for colour, (series, rows) in zip(COLOURS, _groups(result).items(), strict=False):
        axes.errorbar(
            [places.index(str(row.x)) for row in rows],
            [row.median for row in rows],
            yerr=_errors(rows),
            label=series,
            color=colour,
            marker="o",
            capsize=3,
        )
    axes.set_xticks(range(len(places)), places)


def _bars(axes: Axes, result: Result) -> None:
    groups = _groups(result)
    places = _places(result)
    width = 0.8 / len(groups)
    for number, (series, rows) in enumerate(groups.items()):
        axes.bar(
            [places.index(str(row.x)) + (number - (len(groups) - 1) / 2) * width for row in rows],
            [row.median for row in rows],
            width=0.9 * width,
            yerr=_errors(rows),
            label=series,
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
        )
    axes.set_xticks(range(len(places)), places)


def _errors(rows: list[Row]) -> list[list[float]]:
    return [
        [row.median - row.spread[0] for row in rows],
        [row.spread[1] - row.median for row in rows],
    ]


def _dress(axes: Axes, result: Result) -> None:
    medians = [row.median for row in result.rows if row.median > 0]
    if medians and max(medians) > LOGARITHMIC_FROM * min(medians):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(result.title, fontsize=10)
    axes.set_xlabel(result.x_title)
    axes.set_ylabel(" / ".join(dict.fromkeys(row.unit for row in result.rows)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
