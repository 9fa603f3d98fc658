"""When a call is repeated, and after which pause: a pure function of what has happened so far."""

from __future__ import annotations

import math
import random
from typing import Any

import attrs
import pytest

from meshhook import OutageError, RateLimitedError, RepeatPolicy
from meshhook._http.repeat import NEVER
from tests.unit.examples import named


def outage(retry_after_seconds: float | None = None) -> OutageError:
    error = RateLimitedError("slow down", function="meshhook_x")
    error.retry_after_seconds = retry_after_seconds
    return error


@pytest.mark.parametrize(
    ("tried", "low", "high"), [(1, 0.2, 0.4), (2, 0.4, 0.8), (3, 0.8, 1.6), (4, 1.6, 3.2)]
)
def test_a_pause_doubles_with_each_try_and_is_up_to_twice_as_long(
    monkeypatch: pytest.MonkeyPatch, tried: int, low: float, high: float
) -> None:
    for jitter, pause in ((0.0, low), (0.5, (low + high) / 2), (1.0, high)):
        monkeypatch.setattr(random, "random", lambda jitter=jitter: jitter)
        assert RepeatPolicy().pause(tried, 0, outage()) == pytest.approx(pause)


@pytest.mark.parametrize("tried", [2, 5, 10, 64, 1025, 10_000])
def test_no_pause_is_longer_than_the_longest(tried: int) -> None:
    policy = RepeatPolicy(tries=100_000, base_seconds=0.5, max_seconds=0.75)

    assert policy.pause(tried, 0, outage()) == 0.75


@pytest.mark.parametrize(
    ("asked", "pause"), [(3.0, 3.0), (10.0, 10.0), (60.0, 10.0), (math.inf, 10.0)]
)
def test_a_pause_that_is_asked_for_counts_up_to_the_longest(asked: float, pause: float) -> None:
    assert RepeatPolicy().pause(1, 0, outage(asked)) == pause


def test_a_short_pause_that_is_asked_for_does_not_shorten_ours() -> None:
    pause = RepeatPolicy().pause(4, 0, outage(0.001))

    assert pause is not None
    assert pause >= 1.6


@pytest.mark.parametrize(("tried", "goes_on"), [(1, True), (4, True), (5, False), (6, False)])
def test_the_last_try_is_the_last(tried: int, *, goes_on: bool) -> None:
    assert (RepeatPolicy(tries=5).pause(tried, 0, outage()) is not None) is goes_on


@pytest.mark.parametrize(
    ("elapsed", "goes_on"), [(0, True), (99.5, True), (99.81, False), (100, False)]
)
def test_a_repeat_that_would_come_too_late_is_left_out(elapsed: float, *, goes_on: bool) -> None:
    policy = RepeatPolicy(base_seconds=0.2, max_seconds=0.2, total_seconds=100)

    assert (policy.pause(1, elapsed, outage()) is not None) is goes_on


def test_a_policy_of_one_try_never_repeats() -> None:
    assert RepeatPolicy(tries=1) == NEVER
    assert NEVER.pause(1, 0, outage()) is None


def test_the_defaults_are_five_tries_within_half_of_what_the_database_remembers() -> None:
    assert attrs.asdict(RepeatPolicy()) == {
        "tries": 5,
        "base_seconds": 0.2,
        "max_seconds": 10.0,
        "total_seconds": 300.0,
    }


@pytest.mark.parametrize("total", [300.001, 301, 600, 86_400, math.inf, math.nan])
def test_repeats_for_longer_than_the_database_remembers_are_refused(total: float) -> None:
    with pytest.raises(ValueError, match="total_seconds"):
        RepeatPolicy(total_seconds=total)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tries", 0),
        ("tries", -1),
        ("tries", 1.5),
        ("tries", "5"),
        ("base_seconds", -1),
        ("base_seconds", math.nan),
        ("base_seconds", "1"),
        ("max_seconds", -1),
        ("max_seconds", math.nan),
        ("total_seconds", -1),
    ],
    ids=named,
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        RepeatPolicy(**{name: value})


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RepeatPolicy().tries = 9  # type: ignore[misc]
