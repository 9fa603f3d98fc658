"""Calls that put jobs in a queue."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook import _chunks as chunks
from meshhook import _job_data as payload
from meshhook import _validation as check
from meshhook._calls import timing
from meshhook._calls.base import REQUEST_SECONDS, Call, exactly, given, list_of, request_id
from meshhook.exceptions import (
    InvalidInputError,
    MeshHookError,
    PartialEnqueueError,
    Problem,
)
from meshhook.models import EnqueueBatch, EnqueueResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

IDEMPOTENCY_SECONDS = 86_400.0
"""How long an idempotency key is remembered unless the caller says otherwise: a day."""

_CHECKED_AT_ONCE = 1000
_BUFFERED = "meshhook-buffered-"


def one(
    queue_name: str,
    job_data: Mapping[str, Any],
    delay_seconds: float | timedelta = 0,
    *,
    run_at: datetime | None = None,
    idempotency_key: str | None = None,
    idempotency_seconds: float | timedelta = IDEMPOTENCY_SECONDS,
    trace: Mapping[str, str] | None = None,
) -> Call[EnqueueResult]:
    """Build the call that enqueues one job."""

    def decode(answer: Any) -> EnqueueResult:
        (msg_id,), duplicate = _enqueued(answer, 1, once["request_id"])
        # Without a key of the caller's, only a repeat of this very call can be known already.
        duplicate = duplicate and idempotency_key is not None
        return EnqueueResult(msg_id=msg_id, duplicate=duplicate)

    message, when, once = check.all_of(
        lambda: _message(job_data),
        lambda: timing.of_one(delay_seconds, run_at),
        lambda: _enqueue_once(idempotency_key, idempotency_seconds),
    )
    params = {
        "queue_name": queue_name,
        "messages": with_trace([message], trace),
        **when,
        **once,
    }
    return Call("meshhook_enqueue", params, decode)


def job(
    job_data: Mapping[str, Any],
    delay_seconds: float | timedelta,
    run_at: datetime | None,
    trace: Mapping[str, str] | None,
) -> tuple[dict[str, Any], int, float, str | None]:
    """Check a job that is sent later.

    Args:
        job_data: Its data.
        delay_seconds: Its delay.
        run_at: Its time instead.
        trace: The trace context that it was enqueued in.

    Returns:
        Its message, how many bytes that takes, its delay, and its time as text.

    Raises:
        InvalidInputError: With everything that is wrong.
    """
    message, when = check.all_of(
        lambda: payload.job_data(job_data), lambda: timing.of_one(delay_seconds, run_at)
    )
    (message,) = with_trace([message], trace)
    size = chunks.size_of([message])
    if size > chunks.MAX_MESSAGE_BYTES:
        check.refuse([_too_large("job_data")])
    return message, size, when.get("delay_seconds", 0), when.get("run_at")


def buffered(
    queue_name: str,
    messages: list[dict[str, Any]],
    delays: list[float],
    key: str,
    run_ats: Sequence[str | None] = (),
) -> Call[EnqueueBatch]:
    """Build the call that enqueues jobs which `job` has checked, under a `buffered_key`."""
    when = timing.Timing(delays if any(delays) else 0, list(run_ats) if any(run_ats) else None)
    once = {"request_id": key, "remember_seconds": IDEMPOTENCY_SECONDS}
    return _call(queue_name, messages, {**when.of(slice(None)), **once}, is_named=True)


def buffered_key() -> str:
    """Return a request id for a chunk that ends where a buffer ended it.

    Whoever goes on under it does not know that end, and cuts the jobs otherwise: so an answer that
    remembers fewer jobs than were sent under it counts these off, instead of being a mistake.
    """
    return _BUFFERED + request_id()


class Batch:
    """Jobs of any number on their way into a queue, one chunk after the other.

    First `check` is gone through, then `next_call` is sent and its result given to `add` within
    `interruption`, until the batch is `done`.

    Args:
        queue_name: The queue.
        jobs: The data of each job.
        delay_seconds: Their delay, or the delay of each.
        run_at: Their time instead, or the time of each.
        idempotency_key: A name for the whole.
        idempotency_keys: A name for each job, or None.
        idempotency_seconds: How long the names are remembered.
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
            After each step: the checks of a long list take seconds, in which others want a turn.

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
            # Once more, to name each job by its position in the whole list.
            for position, data in enumerate(step, start):
                yield from _problems_of(partial(payload.job_data, data, f"jobs[{position}]."))

    def _check_the_rest(self) -> None:
        keys = self._given_keys
        self._timing, self._keys, self._once = check.all_of(
            lambda: timing.of_many(self._delay_seconds, self._run_at, len(self._jobs)),
            lambda: None if keys is None else _keys(keys, len(self._jobs), self._key),
            lambda: _enqueue_once(self._key, self._seconds, has_keys=keys is not None),
        )

    def _cut(self) -> Iterator[None]:
        start, problems = 0, []
        while start < len(self._messages):
            end, self._texts[start] = chunks.cut(self._messages, start)
            self._ends[start] = end
            if chunks.is_too_large(self._messages[start:end]):
                problems.append(_too_large(f"jobs[{start}]"))
            start = end
            yield
        check.refuse(problems)

    def next_call(self, trace: Mapping[str, str] | None) -> Call[EnqueueBatch]:
        """Build the call that enqueues the next chunk, all of it or none."""
        chunk = self._next()
        messages = with_trace(self._messages[chunk], trace)
        text = None if trace else self._texts.get(chunk.start)
        keys = None if self._keys is None else self._keys[chunk]
        params = {**self._timing.of(chunk), **self._once, **given(keys=keys)}
        return _call(self._queue_name, messages, params, text, is_named=self._key is not None)

    def _next(self) -> slice:
        start = len(self._msg_ids)
        end = self._ends.get(start)
        # A resumed batch may go on elsewhere than at one of the cuts; see `buffered_key`.
        return slice(start, chunks.end_of_chunk(self._messages, start) if end is None else end)

    def add(self, result: EnqueueBatch) -> None:
        """Take note of what the next call has enqueued."""
        self._texts.pop(len(self._msg_ids), None)
        self._msg_ids += result.msg_ids
        self._duplicates += result.duplicates
        self._is_new = self._is_new or not result.duplicate
        self._once = {**self._once, "request_id": chunks.next_key(self._once["request_id"])}
        self.done = len(self._msg_ids) == len(self._jobs)

    @property
    def result(self) -> EnqueueBatch:
        """The ids of what went in, and whether all of it, or which, had been in before."""
        if self._keys is not None:
            return _of_keys(tuple(self._msg_ids), tuple(self._duplicates))
        duplicate = self._key is not None and not self._is_new
        return EnqueueBatch(msg_ids=tuple(self._msg_ids), duplicate=duplicate)

    @contextmanager
    def interruption(self) -> Iterator[None]:
        """Tell what went in if a call fails, unless there was but one call to make."""
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


def with_trace(
    messages: list[dict[str, Any]], trace: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """Return messages with the trace context that they are enqueued in."""
    if not trace:
        return messages
    return [{**message, "_meshhook": {"trace": dict(trace)}} for message in messages]


def _message(job_data: Mapping[str, Any]) -> dict[str, Any]:
    message = payload.job_data(job_data)
    if chunks.is_too_large([message]):
        check.refuse([_too_large("job_data")])
    return message


def _too_large(field: str) -> Problem:
    fix = "put the bulk into Supabase Storage, and send where it is"
    return Problem(field, f"more than {chunks.MAX_MESSAGE_BYTES} bytes of JSON", fix)


def _problems_of(checks: Callable[[], object]) -> Iterator[Problem]:
    try:
        checks()
    except InvalidInputError as error:
        yield from error.problems


def _call(
    queue_name: str,
    messages: list[dict[str, Any]],
    more: dict[str, Any],
    text: str | None = None,
    *,
    is_named: bool,
) -> Call[EnqueueBatch]:
    """Build the call that enqueues messages.

    Args:
        queue_name: The queue.
        messages: The messages.
        more: The other parameters.
        text: The messages as JSON, where that is there already.
        is_named: Whether the request id is a key of the caller's. Without one, only a repeat of
            this very call can be known already.

    Returns:
        The call.
    """

    def decode(answer: Any) -> EnqueueBatch:
        msg_ids, is_known = _enqueued(answer, len(messages), more["request_id"])
        duplicate = is_known and is_named
        if "keys" not in more:
            return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate)
        if duplicate:
            return _of_keys(msg_ids, (True,) * len(msg_ids))
        return _of_keys(msg_ids, _duplicates(answer, len(messages)))

    params = {"queue_name": queue_name, "messages": messages, **more}
    return Call("meshhook_enqueue", params, decode, given(messages=text))


def _enqueued(answer: Any, count: int, key: str) -> tuple[tuple[int, ...], bool]:
    msg_ids = tuple(exactly(int)(msg_id) for msg_id in list_of(answer["msg_ids"]))
    duplicate = exactly(bool)(answer["duplicate"])
    is_known = duplicate and key.startswith(_BUFFERED)
    if len(msg_ids) != count and not (is_known and 0 < len(msg_ids) < count):
        message = f"expected {count} ids, got {len(msg_ids)}"
        raise ValueError(message)
    return msg_ids, duplicate


def _duplicates(answer: Any, count: int) -> tuple[bool, ...]:
    duplicates = tuple(exactly(bool)(known) for known in list_of(answer["duplicates"]))
    if len(duplicates) != count:
        message = f"expected to hear of {count} keys, got {len(duplicates)}"
        raise ValueError(message)
    return duplicates


def _of_keys(msg_ids: tuple[int, ...], duplicates: tuple[bool, ...]) -> EnqueueBatch:
    duplicate = bool(duplicates) and all(duplicates)
    return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate, duplicates=duplicates)


def _enqueue_once(
    key: str | None, seconds: float | timedelta, *, has_keys: bool = False
) -> dict[str, Any]:
    if key is None and not has_keys:
        return {"request_id": request_id()}
    return {
        "request_id": request_id() if key is None else check.request_id("idempotency_key", key),
        "remember_seconds": check.number_of_seconds("idempotency_seconds", seconds, 1),
    }


def _keys(given: Iterable[str | None], count: int, key: str | None) -> list[str | None]:
    """Check the keys of so many jobs, which must differ from that of the whole."""
    keys = check.several("idempotency_keys", given)
    if len(keys) != count:
        fix = f"give one for each of the {count} jobs, None for a job without one"
        raise InvalidInputError([Problem("idempotency_keys", f"{len(keys)} keys", fix)])
    check.all_of(
        *(
            partial(check.request_id, f"idempotency_keys[{position}]", one)
            for position, one in enumerate(keys)
            if one is not None
        )
    )
    if key is not None and key in keys:
        fix = "give the whole another name than its jobs"
        check.refuse([Problem("idempotency_key", check.shown(key), fix)])
    return keys
