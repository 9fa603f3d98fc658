"""The state of a buffer: every accepted job is waiting, under way, in the queue or handed back."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshhook._enqueue.buffer import Buffer, Entry
from meshhook.enqueue_buffer import EnqueueBuffer, Limits, SyncEnqueueBuffer


class BufferMachine(RuleBasedStateMachine):
    """Accepts and sends jobs in any order of events."""

    @initialize(max_jobs=st.integers(1, 4), max_bytes=st.integers(1, 20))
    def begin(self, max_jobs: int, max_bytes: int) -> None:
        self.limits = Limits(
            max_jobs=max_jobs, max_bytes=max_bytes, max_delay_seconds=10, grace_seconds=1
        )
        self.buffer = Buffer("q", self.limits)
        self.now = 0.0
        self.accepted: list[Any] = []
        self.settled: list[Any] = []
        self.under_way: list[Any] = []
        self.key: str | None = None
        self.since: float | None = None

    @rule(size=st.integers(1, 25))
    def enqueue(self, size: int) -> None:
        data = {"run_id": str(uuid.uuid4())}
        entry = Entry(data, dict(data), size, 0)
        if self.buffer.has_room(entry):
            if self.waiting() == 0:
                self.since = self.now
            self.buffer.add(entry, self.now)
            self.accepted.append(data)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def make_all_due(self) -> None:
        self.buffer.make_all_due()

    @precondition(lambda self: self.buffer.failure is not None or not self.under_way)
    @precondition(lambda self: not self.buffer.is_settled)
    @rule()
    def send(self) -> None:
        repeated = self.under_way
        params = self.buffer.next_call(None).params
        self.under_way = list(params["messages"])
        if repeated:
            assert (self.under_way, params["request_id"]) == (repeated, self.key)
        assert 1 <= len(self.under_way) <= self.limits.max_jobs
        self.key = params["request_id"]

    @precondition(lambda self: self.under_way and self.buffer.failure is None)
    @rule()
    def succeed(self) -> None:
        self.buffer.succeed()
        self.settled += self.under_way
        self.under_way = []

    @precondition(lambda self: self.under_way and self.buffer.failure is None)
    @rule()
    def fail(self) -> None:
        self.buffer.fail(ConnectionError())

    @precondition(lambda self: self.buffer.failure is not None)
    @rule()
    def hand_back(self) -> None:
        failure, flush = self.buffer.failure, self.buffer.begin_flush()
        assert failure is not None
        error = self.buffer.hand_back(failure)
        assert (error.__cause__, error.idempotency_key) == (failure, self.key)
        assert list(error.jobs[: error.uncertain]) == self.under_way
        assert flush.error is error
        self.settled += error.jobs
        self.under_way = []
        assert self.buffer.is_settled

    def waiting(self) -> int:
        return len(self.accepted) - len(self.settled) - len(self.under_way)

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        in_order = [*self.settled, *self.under_way]
        assert self.accepted[: len(in_order)] == in_order
        assert self.buffer.is_settled == (len(self.settled) == len(self.accepted))

    @invariant()
    def a_job_is_due_no_later_than_its_time(self) -> None:
        seconds = self.buffer.seconds_until_due(self.now)
        if self.buffer.failure is not None or not self.waiting():
            assert seconds is None
        else:
            assert seconds is not None
            assert self.since is not None
            assert 0 <= seconds <= max(0, self.since + 10 - self.now)


TestBuffer = BufferMachine.TestCase
TestBuffer.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("name", ["enqueue", "flush"])
def test_both_buffers_take_the_same_and_are_documented_in_the_same_words(name: str) -> None:
    one, other = getattr(EnqueueBuffer, name), getattr(SyncEnqueueBuffer, name)

    assert inspect.signature(one) == inspect.signature(other)
    assert inspect.getdoc(one)
    assert inspect.getdoc(one) == inspect.getdoc(other)
    assert inspect.iscoroutinefunction(one)
    assert not inspect.iscoroutinefunction(other)


def test_both_buffers_have_the_same_public_methods() -> None:
    def public(kind: type) -> list[str]:
        return [name for name in vars(kind) if not name.startswith("_")]

    assert public(EnqueueBuffer) == public(SyncEnqueueBuffer) == ["enqueue", "flush"]
