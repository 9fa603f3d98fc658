"""What pages say was measured is what was measured."""

from __future__ import annotations

import json
import re
import statistics

import pytest

from benchmarks import report
from benchmarks.results import from_json
from benchmarks.settings import Settings
from tests.docs.snippets import DOCS, ROOT

_ROW = re.compile(r"^\|.*\| ([\d,]+) \| ([\d,]+) to ([\d,]+) \|$", re.MULTILINE)


def measured() -> set[tuple[str, ...]]:
    """Return median, lowest and highest of whatever was measured, as pages write them."""
    results = json.loads((DOCS / "benchmarks" / "results.json").read_text())["results"]
    runs = [row["values"] for result in results for row in result["rows"]]
    return {
        tuple(f"{number:,.0f}" for number in (statistics.median(run), min(run), max(run)))
        for run in runs
    }


@pytest.mark.parametrize("page", ["README.md", "docs/why.md"])
def test_a_row_of_numbers_was_measured(page: str) -> None:
    rows = _ROW.findall((ROOT / page).read_text(encoding="utf-8"))

    assert len(rows) >= 3
    assert set(rows) - measured() == set()


def test_the_report_is_what_was_measured() -> None:
    measured = json.loads((DOCS / "benchmarks" / "results.json").read_text())

    written = report.as_markdown(
        measured["environment"], Settings(**measured["settings"]), from_json(measured["results"])
    )

    assert (DOCS / "benchmarks" / "README.md").read_text(encoding="utf-8") == written
