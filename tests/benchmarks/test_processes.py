from __future__ import annotations

import pytest

from benchmarks import processes
from tests.benchmarks import tasks


def test_a_task_runs_in_a_process_of_its_own_and_returns_its_value() -> None:
    assert processes.run(tasks.add, one=1, two=2).value["sum"] == 3


def test_several_tasks_wait_for_each_other_at_the_gate() -> None:
    with processes.children(tasks.add, {"one": 1, "two": 2}, {"one": 3, "two": 4}) as children:
        for child in children:
            child.go()
        sums = [child.outcome().value["sum"] for child in children]

    assert sums == [3, 7]


def test_the_memory_of_the_parent_is_not_counted() -> None:
    ballast = bytearray(b"x" * 300_000_000)

    peak = processes.run(tasks.add, one=1, two=2).peak_bytes

    assert processes.peak_bytes() > len(ballast)
    assert 1_000_000 < peak < 200_000_000


def test_processor_time_is_counted_from_the_gate_on() -> None:
    preparing = processes.run(tasks.burn, before=10_000_000, after=0)
    working = processes.run(tasks.burn, before=0, after=10_000_000)

    assert preparing.cpu_seconds < working.cpu_seconds / 2


def test_a_task_that_fails_before_its_gate_says_why() -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)fail_early did not reach its gate.*no way to the gate"
    ):
        processes.run(tasks.fail_early)


def test_a_task_that_fails_behind_its_gate_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fail_late failed.*fell behind the gate"):
        processes.run(tasks.fail_late)


def test_a_child_that_is_left_at_its_gate_is_ended() -> None:
    with processes.children(tasks.add, {"one": 1, "two": 2}) as (child,):
        pass

    assert child.is_over
