"""The formula behind every pause that grows."""

from __future__ import annotations

import pytest

from meshhook._backoff import backoff


def test_a_pause_doubles_from_failure_to_failure_up_to_the_ceiling() -> None:
    pauses = [backoff(failures, 0.5, 30.0) for failures in range(1, 9)]

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("jitter", "pause"), [(-0.5, 2.0), (0.0, 4.0), (0.25, 5.0), (1.0, 8.0), (100.0, 60.0)]
)
def test_the_jitter_makes_a_pause_longer_or_shorter_but_never_longer_than_the_ceiling(
    jitter: float, pause: float
) -> None:
    assert backoff(3, 1.0, 60.0, jitter) == pause


def test_any_number_of_failures_has_a_pause() -> None:
    assert backoff(10**12, 0.001, 60.0) == 60.0
    assert backoff(10**12, 0.0, 60.0) == 0.0
