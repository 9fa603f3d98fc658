"""When an event loop counts as blocked, and what is said of it: judged on a clock of the test's."""

from __future__ import annotations

import pytest

from meshhook.worker.blocked import Blocked, Pulse, Standing, Warned, threshold_seconds

PERIOD_SECONDS = 0.25


def watched(pulse: Pulse, begin: float, end: float, beat_at: float) -> float:
    """Look in every period of a while, and return what the last look says."""
    looks = round((end - begin) / PERIOD_SECONDS)
    return [
        pulse.look(begin + n * PERIOD_SECONDS, beat_at, PERIOD_SECONDS) for n in range(looks + 1)
    ][-1]


def test_a_loop_that_beats_stands_still_for_no_longer_than_since_its_beat() -> None:
    pulse = Pulse()

    seconds = [pulse.look(now, now - 0.125, PERIOD_SECONDS) for now in (10.0, 10.25, 10.5, 3600.0)]

    assert seconds == [0.125] * 4


def test_a_loop_that_does_not_beat_stands_still_since_its_last_beat() -> None:
    assert watched(Pulse(), 10.0, 50.0, beat_at=10.0) == 40.0


@pytest.mark.parametrize("beats_again", [True, False])
def test_time_in_which_the_whole_process_was_frozen_does_not_count(*, beats_again: bool) -> None:
    pulse = Pulse()
    watched(pulse, 10.0, 10.25, beat_at=10.0)

    # Frozen for an hour; nothing of this process ran, the thread that looks included.
    woken = pulse.look(3610.0, 10.0, PERIOD_SECONDS)
    later = watched(pulse, 3610.25, 3611.0, beat_at=3610.0 if beats_again else 10.0)

    assert woken < threshold_seconds(30)
    assert later == (1.0 if beats_again else woken + 1.0)


def test_a_machine_too_busy_for_the_thread_that_looks_blames_nobody_sooner() -> None:
    pulse = Pulse()

    # Each look comes five times too late.
    seconds = [pulse.look(10.0 + 1.25 * n, 10.0, PERIOD_SECONDS) for n in range(1, 3)]

    assert seconds == [0.5, 1.0]


def test_time_in_which_leases_were_extended_counts_in_full() -> None:
    pulse = Pulse()
    watched(pulse, 10.0, 11.0, beat_at=10.0)

    pulse.was_busy(16.0)

    assert pulse.look(16.25, 10.0, PERIOD_SECONDS) == 6.25


@pytest.mark.parametrize(
    ("lease_seconds", "expected"), [(30.0, 1.0), (6.0, 1.0), (3.0, 0.5), (0.1, 0.05)]
)
def test_short_leases_make_a_loop_count_as_blocked_sooner(
    lease_seconds: float, expected: float
) -> None:
    assert threshold_seconds(lease_seconds) == expected


def test_a_place_is_warned_of_again_when_it_is_twice_as_bad() -> None:
    warned = Warned()

    news = [seconds for seconds in range(1, 41) if warned.is_news("make", float(seconds))]
    other = [warned.is_news("other", 1.0), warned.is_news("other", 1.0)]

    assert news == [1, 2, 4, 8, 16, 32]
    assert other == [True, False]


def test_a_handler_that_blocks_at_ever_new_lines_does_not_fill_the_log() -> None:
    warned = Warned()

    news = [line for line in range(1000) if warned.is_news(line, 1.0)]
    is_worse_news = warned.is_news(1000, 2.0)

    assert news == list(range(20))
    assert is_worse_news


def test_how_long_it_was_blocked_in_all_takes_no_freeze_after_the_last_look_along() -> None:
    blocked = Blocked(seconds=4.0, standing=Standing("app.py:1", "make"), seen_at=100.0)

    assert blocked.until(100.125, 0.5).seconds == 4.125
    assert blocked.until(3700.0, 0.5).seconds == 4.5
