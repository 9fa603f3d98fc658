"""The numbers as JSON and as Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from benchmarks.results import Result, Row, Verdict, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.settings import Settings

MET = {True: "met", False: "**not met**"}
PICTURES_IN_GIT = frozenset({"drain"})
"""The scenarios whose picture is kept with the report; the site draws the others."""


def as_json(environment: Mapping[str, str], settings: Settings, results: Iterable[Result]) -> str:
    """Return the numbers of every run as JSON."""
    everything = {
        "environment": environment,
        "settings": attrs.asdict(settings),
        "results": [attrs.asdict(result) for result in results],
    }
    return json.dumps(everything, indent=2) + "\n"


def as_markdown(
    environment: Mapping[str, str], settings: Settings, results: Sequence[Result]
) -> str:
    """Return the medians and spreads, the targets and the environment as Markdown."""
    parts = [
        "# Benchmarks\n",
        _introduction(settings),
        *_targets([verdict for result in results for verdict in result.verdicts]),
        *(section(result) for result in results),
        "## Where\n",
        table(("", ""), environment.items()),
    ]
    return "\n".join(parts)


INTRODUCTION = """\
`make bench` (`python -m benchmarks`) writes this page. Medians of {runs} runs, with the lowest and
the highest run. All contenders were measured in the same run on the same Postgres, in turns (ABBA),
each in a separate process, with the same payload.
"""

QUICK = "\n**A quick run: it only shows that everything works.**\n"


def _introduction(settings: Settings) -> str:
    return INTRODUCTION.format(runs=settings.runs) + (QUICK if settings.quick else "")


def _targets(verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    rows = ((each.target, each.measured, MET[each.met]) for each in verdicts)
    return ["## Targets\n", table(("target", "measured", ""), rows)]


def section(result: Result) -> str:
    """Return a scenario's results, with its picture if that is kept with the report."""
    pictures = [f"{picture(result)}\n"] if result.name in PICTURES_IN_GIT else []
    lines = [
        f"{heading(result)}\n",
        *pictures,
        *(f"- {line}" for line in result.how),
        "",
        table(("", result.x_title, "median", "lowest to highest"), map(_cells, result.rows)),
    ]
    return "\n".join(lines)


def heading(result: Result) -> str:
    """Return the heading of a scenario."""
    return f"## {result.title}"


def picture(result: Result) -> str:
    """Return the reference to a scenario's picture."""
    return f"![{result.title}]({result.name}.svg)"


def _cells(row: Row) -> tuple[str, str, str, str]:
    low, high = row.spread
    return (
        row.series,
        str(row.x),
        f"{number(row.median)} {row.unit}",
        f"{number(low)} to {number(high)}",
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are right-aligned."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(_escaped(cell) for cell in line)} |\n" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def as_text(result: Result) -> str:
    """Return a scenario's results for the terminal."""
    cells = [_cells(row) for row in result.rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [f"\n{result.title}"]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  " + "  ".join(padded).rstrip())
    lines += [
        f"  {'met    ' if each.met else 'NOT MET'}  {each.target}: {each.measured}"
        for each in result.verdicts
    ]
    return "\n".join(lines)
