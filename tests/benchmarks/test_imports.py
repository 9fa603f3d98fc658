from __future__ import annotations

from benchmarks.scenarios.imports import import_times, parsed

PRINTED = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   httpx
import time:       200 |        300 | supabase
import time:        10 |         10 |   meshhook.models
import time:        20 |         30 | meshhook
"""


def test_the_cumulative_times_of_what_was_imported_at_the_top_are_read() -> None:
    assert parsed(PRINTED) == {"supabase": 0.3, "meshhook": 0.03}


def test_both_packages_are_timed_in_a_fresh_interpreter() -> None:
    times = import_times()

    assert times["supabase"] > 0
    assert times["meshhook"] > 0
