from __future__ import annotations

import pytest

from benchmarks.results import FLAT, Result, Row, at_least, at_most, flat, number
from benchmarks.settings import Settings
from benchmarks.statistics import median, percentile, turns


def test_the_median_of_an_odd_number_of_runs_is_the_one_in_the_middle() -> None:
    assert median([5, 1, 100]) == 5


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1), (0.5, 50), (0.99, 99), (0.995, 100), (1, 100)]
)
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.99) == 7


def test_contenders_take_turns_forwards_and_backwards() -> None:
    assert "".join(turns("ABC", 3)) == "ABCCBAABC"


def test_a_row_knows_its_median_and_its_spread() -> None:
    row = Row("MeshHook", "", [3.0, 1.0, 2.0], "ms")

    assert row.median == 2
    assert row.spread == (1, 3)


@pytest.mark.parametrize(("value", "met"), [(1.49, False), (1.5, True), (2.0, True)])
def test_what_should_reach_a_goal_is_met_from_the_goal_on(value: float, met: bool) -> None:  # noqa: FBT001
    assert at_least("fast", value, 1.5).met is met


@pytest.mark.parametrize(("value", "met"), [(0.02, True), (0.0201, False)])
def test_what_should_not_exceed_a_goal_is_met_up_to_the_goal(value: float, met: bool) -> None:  # noqa: FBT001
    assert at_most("few", value, 0.02).met is met


def test_what_stays_within_a_half_of_the_first_is_flat() -> None:
    rows = [Row("claim", x, [cost], "ms") for x, cost in enumerate((1.0, 0.9, FLAT))]

    verdict = flat("claim", rows)

    assert verdict.met
    assert verdict.measured == "1 / 0.9 / 1.5: x 1.50"


def test_one_outlier_among_the_sizes_is_not_flat() -> None:
    rows = [Row("claim", x, [cost], "ms") for x, cost in enumerate((1.0, 1.6, 1.0))]

    assert not flat("claim", rows).met


def test_a_run_that_is_slow_once_does_not_decide() -> None:
    rows = [Row("claim", 1, [1, 1, 1], "ms"), Row("claim", 2, [1, 50, 1], "ms")]

    assert flat("claim", rows).met


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0, "0"), (0.0045, "0.0045"), (1.2345, "1.23"), (99.95, "100"), (12345.6, "12,346")],
)
def test_numbers_are_printed_with_the_digits_that_count(value: float, printed: str) -> None:
    assert number(value) == printed


def test_a_result_gives_the_row_of_a_series() -> None:
    rows = [Row("a", "1", [1], "ms"), Row("a", "2", [2], "ms"), Row("b", "1", [3], "ms")]
    result = Result(name="n", title="t", how=[], x_title="", rows=rows)

    assert result.row("a", "2").median == 2
    assert result.row("b").median == 3


def test_a_quick_run_takes_the_small_sizes() -> None:
    assert Settings(quick=True).size(1_000_000, 10) == 10
    assert Settings().size(1_000_000, 10) == 1_000_000
