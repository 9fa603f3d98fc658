"""The retry strategy: the guide's table, the cap, and the last attempt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from meshhook import RetryConfig, RetryStrategy
from meshhook.retry import backoff_ms
from tests.unit.examples import fields_of, named, problems_of

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS = [
    "get_next_delay",
    "get_delay_seconds",
    "can_retry",
    "should_move_to_dead_letter",
    "get_retry_info",
]
# Attempt, the delay without jitter and the delay with as much jitter as there can be, in seconds.
GUIDE = [(1, 1, 2), (2, 2, 4), (3, 4, 8), (4, 8, 16), (5, 16, 32)]


def fixed(jitter: float, **settings: int) -> RetryStrategy:
    """Return a strategy whose jitter is always the same."""
    return RetryStrategy(**settings, random=lambda: jitter)


def drawn(*jitters: float) -> RetryStrategy:
    """Return a strategy whose jitters are given one after the other."""
    left = iter(jitters)
    return RetryStrategy(random=lambda: next(left))


@pytest.mark.parametrize(("attempt", "low", "high"), GUIDE, ids=named)
def test_the_delays_are_those_of_the_guides_table(attempt: int, low: int, high: int) -> None:
    assert fixed(0).get_delay_seconds(attempt) == low
    assert fixed(0.25).get_delay_seconds(attempt) == low * 1.25
    assert fixed(1).get_delay_seconds(attempt) == high


@pytest.mark.parametrize(("attempt", "low", "high"), GUIDE, ids=named)
def test_the_jitter_stays_within_the_guides_bounds(attempt: int, low: int, high: int) -> None:
    delays = {RetryStrategy().get_next_delay(attempt) for _ in range(200)}

    assert low * 1000 <= min(delays) < max(delays) <= high * 1000


@pytest.mark.parametrize("jitter", [0, 0.5, 1], ids=named)
@pytest.mark.parametrize("cap", [1, 999, 1000, 1500, 60_000, 300_000, 31_622_400_000], ids=named)
def test_no_delay_is_above_the_cap(jitter: float, cap: int) -> None:
    strategy = fixed(jitter, base_delay_ms=min(cap, 1000), max_delay_ms=cap)

    delays = [strategy.get_next_delay(attempt) for attempt in range(1, 80)]

    assert max(delays) == cap
    assert delays == sorted(delays)


@pytest.mark.parametrize("attempt", [64, 1025, 100_000, 1_000_000], ids=named)
@pytest.mark.parametrize("jitter", [0, 1], ids=named)
def test_a_huge_attempt_neither_overflows_nor_takes_long(attempt: int, jitter: float) -> None:
    assert fixed(jitter).get_next_delay(attempt) == 300_000
    assert backoff_ms(attempt * 10**9, 1000, 300_000, jitter) == 300_000


def test_a_base_of_nothing_means_no_delay_at_all() -> None:
    strategy = fixed(1, base_delay_ms=0, max_delay_ms=0)

    assert {strategy.get_next_delay(attempt) for attempt in (1, 2, 50)} == {0}


def test_a_delay_is_a_whole_number_of_milliseconds() -> None:
    delay = fixed(1 / 3).get_next_delay(1)

    assert (delay, type(delay)) == (1333, int)
    assert fixed(1 / 3).get_delay_seconds(1) == 1.333


@pytest.mark.parametrize(
    ("attempt", "can_retry"),
    [(1, True), (2, True), (4, True), (5, False), (6, False), (99, False)],
    ids=named,
)
def test_a_job_is_retried_until_its_last_attempt_and_then_dead_lettered(
    attempt: int,
    can_retry: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    strategy = RetryStrategy(max_attempts=5)

    assert strategy.can_retry(attempt) is can_retry
    assert strategy.should_move_to_dead_letter(attempt) is not can_retry


def test_with_one_attempt_nothing_is_retried() -> None:
    assert not RetryStrategy(max_attempts=1).can_retry(1)


@pytest.mark.parametrize(("attempt", "low", "high"), GUIDE, ids=named)
def test_the_retry_info_says_what_the_methods_say(attempt: int, low: int, high: int) -> None:
    info = fixed(0.5).get_retry_info(attempt)

    assert attrs.asdict(info) == {
        "attempt": attempt,
        "max_attempts": 5,
        "can_retry": attempt < 5,
        "delay_ms": (low + high) * 500,
        "delay_seconds": (low + high) / 2,
        "should_move_to_dead_letter": attempt == 5,
    }


def test_the_retry_info_draws_one_jitter_for_both_units() -> None:
    info = drawn(0.1, 0.9).get_retry_info(1)

    assert (info.delay_ms, info.delay_seconds) == (1100, 1.1)


def test_each_delay_of_a_list_has_a_jitter_of_its_own() -> None:
    strategy = drawn(0, 1, 0, 1, 0)

    assert strategy.get_all_retry_delays() == [1000, 4000, 4000, 16_000, 16_000]


def test_the_defaults_are_the_guides() -> None:
    assert RetryStrategy().get_config() == RetryConfig(
        base_delay_ms=1000, max_delay_ms=300_000, max_attempts=5
    )
    assert RetryConfig() == RetryStrategy().get_config()


def test_a_strategy_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryStrategy().max_attempts = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, (1000, 300_000, 5)),
        ({}, (1000, 300_000, 5)),
        ({"max_attempts": 3}, (1000, 300_000, 3)),
        ({"base_delay_ms": 2000, "max_delay_ms": 60_000, "max_attempts": 3}, (2000, 60_000, 3)),
        (RetryConfig(base_delay_ms=7), (7, 300_000, 5)),
        (RetryStrategy(1, 2, 3), (1, 2, 3)),
    ],
    ids=named,
)
def test_a_strategy_is_made_from_every_form_of_configuration(
    config: Any, expected: tuple[int, int, int]
) -> None:
    assert RetryStrategy.from_config(config) == RetryStrategy(*expected)


def test_a_strategy_that_is_given_as_configuration_is_used_as_it_is() -> None:
    strategy = fixed(0.5)

    assert RetryStrategy.from_config(strategy) is strategy


def test_a_name_that_nobody_reads_is_refused_with_the_names_that_are() -> None:
    config = {"baseDelayMs": 1, "max_retries": 3, "max_attempts": 3}

    problems = problems_of(RetryStrategy.from_config, config)

    assert [str(problem) for problem in problems] == [
        f"retry_config[{name!r}] is unknown: use base_delay_ms, max_delay_ms, max_attempts"
        for name in ("baseDelayMs", "max_retries")
    ]


@pytest.mark.parametrize("config", [5, True, ..., ["max_attempts"], "fast"], ids=named)
def test_what_is_no_configuration_is_refused_by_name(config: Any) -> None:
    (problem,) = problems_of(RetryStrategy.from_config, config)

    assert problem.field == "retry_config"


@pytest.mark.parametrize(
    "make", [RetryStrategy, lambda **values: RetryStrategy.from_config(values)], ids=named
)
@pytest.mark.parametrize("wrong", [-1, 1.5, True, "5", None, math.nan, math.inf, 10**15], ids=named)
def test_one_error_names_every_setting_that_is_out_of_range(
    make: Callable[..., RetryStrategy], wrong: Any
) -> None:
    names = ["base_delay_ms", "max_delay_ms", "max_attempts"]

    assert fields_of(make, **dict.fromkeys(names, wrong)) == names


def test_a_cap_below_the_base_is_refused() -> None:
    (problem,) = problems_of(RetryStrategy, max_delay_ms=999)

    assert str(problem) == "max_delay_ms is 999: give at least base_delay_ms, 1000"


def test_a_job_needs_at_least_one_attempt() -> None:
    assert fields_of(RetryStrategy, max_attempts=0) == ["max_attempts"]


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("attempt", [0, -1, 1.0, True, "1", None, math.nan, 1_000_001], ids=named)
def test_every_method_refuses_an_attempt_that_cannot_be(method: str, attempt: object) -> None:
    assert fields_of(getattr(RetryStrategy(), method), attempt) == ["attempt"]
