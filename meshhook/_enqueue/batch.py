"""A batch: any number of jobs that are enqueued chunk by chunk."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook._calls import enqueue, timing
from meshhook._calls.base import given
from meshhook._defaults import IDEMPOTENCY_SECONDS, REQUEST_SECONDS
from meshhook._enqueue import chunks
from meshhook._inputs import check, payload, sizes
from meshhook.exceptions import (
    InvalidInputError,
    MeshHookError,
    PartialEnqueueError,
    Problem,
)
from meshhook.models import EnqueueBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from meshhook._calls.base import Call

_CHECKED_AT_ONCE = 1000


class Batch:
    """Any number of jobs that are enqueued chunk by chunk; see `QueueService.enqueue_many`.

    To enqueue a batch, exhaust `check`. Then, until the batch is `done`, send `next_call` inside
    `interruption` and pass its result to `add`.
    """

    def __init__(
        self,
        queue_name: str,
        jobs: Iterable[Mapping[str, Any]],
        delay_seconds: float | timedelta | Sequence[float | timedelta] = 0,
        *,
        run_at: datetime | Sequence[datetime | None] | None = None,
        idempotency_key: str | None = None,
        idempotency_keys: Iterable[str | None] | None = None,
        idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    ) -> None:
        self._queue_name = queue_name
        self._jobs = payload.several(jobs)
        self._delay_seconds = delay_seconds
        self._run_at = run_at
        self._timing = timing.Timing(0)
        self._key = idempotency_key
        self._given_keys = idempotency_keys
        self._keys: list[str | None] | None = None
        self._duplicates: list[bool] = []
        self._seconds = idempotency_seconds
        self._once: dict[str, Any] = {}
        self._messages: list[dict[str, Any]] = []
        self._ends: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        self._msg_ids: list[int] = []
        self._is_new = False
        self.done = False

    def check(self) -> Iterator[None]:
        """Check every job and cut them into chunks, before anything is sent.

        Yields:
            After each step, so that other tasks can run: a long list takes seconds.

        Raises:
            InvalidInputError: With everything that is wrong with any of the jobs.
        """
        problems: list[Problem] = []
        for start in range(0, len(self._jobs), _CHECKED_AT_ONCE):
            problems += self._problems(start)
            yield
        problems += _problems_of(self._check_the_rest)
        check.refuse(problems)
        yield from self._cut()

    def _problems(self, start: int) -> Iterator[Problem]:
        step = self._jobs[start : start + _CHECKED_AT_ONCE]
        try:
            self._messages += payload.jobs_data(step)
        except InvalidInputError:
            # Check again, to name each job by its position in the whole list.
            for position, data in enumerate(step, start):
                yield from _problems_of(partial(payload.job_data, data, f"jobs[{position}]."))

    def _check_the_rest(self) -> None:
        keys = self._given_keys
        self._timing, self._keys, self._once = check.all_of(
            lambda: timing.of_many(self._delay_seconds, self._run_at, len(self._jobs)),
            lambda: None if keys is None else enqueue.keys_of(keys, len(self._jobs), self._key),
            lambda: enqueue.once(self._key, self._seconds, has_keys=keys is not None),
        )

    def _cut(self) -> Iterator[None]:
        start, problems = 0, []
        while start < len(self._messages):
            end, self._texts[start] = chunks.cut(self._messages, start)
            self._ends[start] = end
            if sizes.is_too_large(self._messages[start:end]):
                problems.append(sizes.too_large(f"jobs[{start}]"))
            start = end
            yield
        check.refuse(problems)

    def next_call(self, trace: Mapping[str, str] | None) -> Call[EnqueueBatch]:
        """Build the call that enqueues the next chunk, all of it or none."""
        chunk = self._next()
        messages = enqueue.with_trace(self._messages[chunk], trace)
        text = None if trace else self._texts.get(chunk.start)
        keys = None if self._keys is None else self._keys[chunk]
        params = {**self._timing.of(chunk), **self._once, **given(keys=keys)}
        return enqueue.several(
            self._queue_name, messages, params, text, is_named=self._key is not None
        )

    def _next(self) -> slice:
        start = len(self._msg_ids)
        end = self._ends.get(start)
        # A resumed batch may go on at another position than a cut; see `buffered_key`.
        return slice(start, chunks.end_of_chunk(self._messages, start) if end is None else end)

    def add(self, result: EnqueueBatch) -> None:
        """Note what the next call has enqueued."""
        self._texts.pop(len(self._msg_ids), None)
        self._msg_ids += result.msg_ids
        self._duplicates += result.duplicates
        self._is_new = self._is_new or not result.duplicate
        self._once = {**self._once, "request_id": chunks.next_key(self._once["request_id"])}
        self.done = len(self._msg_ids) == len(self._jobs)

    @property
    def result(self) -> EnqueueBatch:
        """The ids of the jobs, and which of them had been enqueued before."""
        if self._keys is not None:
            return enqueue.with_keys(tuple(self._msg_ids), tuple(self._duplicates))
        duplicate = self._key is not None and not self._is_new
        return EnqueueBatch(msg_ids=tuple(self._msg_ids), duplicate=duplicate)

    @contextmanager
    def interruption(self) -> Iterator[None]:
        """Raise a `PartialEnqueueError` if one of several calls fails."""
        try:
            yield
        except MeshHookError as error:
            chunk = self._next()
            if chunk == slice(0, len(self._jobs)):
                raise
            raise self._partial(chunk, error) from error

    def _partial(self, chunk: slice, cause: MeshHookError) -> PartialEnqueueError:
        delays, run_at = self._timing.delays, self._run_at
        return PartialEnqueueError(
            self._queue_name,
            cause,
            enqueued=self._msg_ids,
            jobs=self._jobs[chunk.start :],
            delay_seconds=delays[chunk.start :] if isinstance(delays, list) else delays,
            run_at=run_at[chunk.start :] if isinstance(run_at, list | tuple) else run_at,
            uncertain=chunk.stop - chunk.start,
            idempotency_key=self._once["request_id"],
            idempotency_keys=None if self._keys is None else self._keys[chunk.start :],
            remembered_seconds=self._once.get("remember_seconds", REQUEST_SECONDS),
        )


def _problems_of(checks: Callable[[], object]) -> Iterator[Problem]:
    try:
        checks()
    except InvalidInputError as error:
        yield from error.problems
