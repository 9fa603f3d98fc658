from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from benchmarks import plots, report
from benchmarks.results import Result, Row, Verdict, from_json
from benchmarks.settings import Settings

RESULT = Result(
    name="drain",
    title="Drain, jobs per second",
    how=["MeshHook: over HTTP", "a | b: another"],
    x_title="jobs",
    rows=[
        Row("MeshHook", "1,000", [18_000.0, 17_000.0, 19_000.0], "jobs/s"),
        Row("a | b", "1,000", [300.0, 310.0, 290.0], "jobs/s"),
    ],
    verdicts=[
        Verdict("at least 40 x the other", "60x", met=True),
        Verdict("at least 100 x the other", "60x", met=False),
    ],
)
WHERE = {"Postgres": "18.4", "processors": "2"}


@pytest.fixture
def markdown() -> str:
    return report.as_markdown(WHERE, Settings(runs=3), [RESULT])


@pytest.mark.parametrize(
    "text",
    [
        "| MeshHook | 1,000 | 18,000 jobs/s | 17,000 to 19,000 |\n",
        "| at least 40 x the other | 60x | met |\n",
        "| at least 100 x the other | 60x | **not met** |\n",
        "- MeshHook: over HTTP\n",
        "| Postgres | 18.4 |\n",
        "Medians of 3 runs",
        "| a \\| b | 1,000 |",
    ],
)
def test_the_report_shows_numbers_targets_and_how_it_was_measured(markdown: str, text: str) -> None:
    assert text in markdown


def test_every_table_has_as_many_cells_in_each_line(markdown: str) -> None:
    for block in markdown.split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


@pytest.mark.parametrize(("name", "is_shown"), [("drain", True), ("memory", False)])
def test_only_a_picture_that_is_in_the_repository_is_shown(name: str, is_shown: bool) -> None:  # noqa: FBT001
    section = report.section(attrs.evolve(RESULT, name=name))

    assert (f"({name}.svg)" in section) is is_shown


def test_results_are_read_as_they_were_written() -> None:
    written = report.as_json(WHERE, Settings(runs=3), [RESULT])

    assert from_json(json.loads(written)["results"]) == [RESULT]


@pytest.mark.parametrize("quick", [True, False])
def test_only_a_quick_run_says_that_it_measures_nothing(quick: bool) -> None:  # noqa: FBT001
    markdown = report.as_markdown(WHERE, Settings(quick=quick), [RESULT])

    assert ("A quick run" in markdown) is quick


def test_the_json_holds_every_run() -> None:
    read = json.loads(report.as_json(WHERE, Settings(runs=3), [RESULT]))

    assert read["environment"] == WHERE
    assert read["settings"] == {"runs": 3, "quick": False}
    assert read["results"][0]["rows"][0]["values"] == [18_000, 17_000, 19_000]
    assert [verdict["met"] for verdict in read["results"][0]["verdicts"]] == [True, False]


def test_the_terminal_shows_the_same() -> None:
    text = report.as_text(RESULT)

    assert "MeshHook  1,000  18,000 jobs/s  17,000 to 19,000" in text
    assert "NOT MET  at least 100 x the other: 60x" in text


@pytest.mark.parametrize("plot", ["bars", "lines"])
def test_a_picture_is_drawn_and_the_same_numbers_draw_the_same(tmp_path: Path, plot: str) -> None:
    result = Result(
        name="drain", title="Drain", how=[], x_title="jobs", rows=RESULT.rows, plot=plot
    )

    first = plots.draw(result, tmp_path).read_bytes()
    again = plots.draw(result, tmp_path).read_bytes()

    assert b"<svg" in first
    assert first == again
