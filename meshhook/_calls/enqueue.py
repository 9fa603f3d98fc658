"""Calls that put jobs in a queue."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from meshhook import _chunks as chunks
from meshhook import _job_data as payload
from meshhook import _validation as check
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

IDEMPOTENCY_SECONDS = 86_400.0
"""How long an idempotency key is remembered unless the caller says otherwise: a day."""

_CHECKED_AT_ONCE = 1000
_BUFFERED = "meshhook-buffered-"


def one(
    queue_name: str,
    job_data: Mapping[str, Any],
    delay_seconds: float = 0,
    *,
    idempotency_key: str | None = None,
    idempotency_seconds: float = IDEMPOTENCY_SECONDS,
    trace: Mapping[str, str] | None = None,
) -> Call[EnqueueResult]:
    """Build the call that enqueues one job."""

    def decode(answer: Any) -> EnqueueResult:
        (msg_id,), duplicate = _enqueued(answer, 1, idempotency_key)
        return EnqueueResult(msg_id=msg_id, duplicate=duplicate)

    message, delay, once = check.all_of(
        lambda: _message(job_data),
        lambda: check.delay_seconds("delay_seconds", delay_seconds),
        lambda: _enqueue_once(idempotency_key, idempotency_seconds),
    )
    params = {
        "queue_name": queue_name,
        "messages": with_trace([message], trace),
        "delay_seconds": delay,
        **once,
    }
    return Call("meshhook_enqueue", params, decode)


def job(
    job_data: Mapping[str, Any], delay_seconds: float, trace: Mapping[str, str] | None
) -> tuple[dict[str, Any], int, float]:
    """Check a job that is sent later.

    Args:
        job_data: Its data.
        delay_seconds: Its delay.
        trace: The trace context that it was enqueued in.

    Returns:
        Its message, how many bytes that takes, and its delay.

    Raises:
        InvalidInputError: With everything that is wrong.
    """
    message, delay = check.all_of(
        lambda: payload.job_data(job_data),
        lambda: check.delay_seconds("delay_seconds", delay_seconds),
    )
    (message,) = with_trace([message], trace)
    size = chunks.size_of([message])
    if size > chunks.MAX_MESSAGE_BYTES:
        check.refuse([_too_large("job_data")])
    return message, size, delay


def buffered(
    queue_name: str, messages: list[dict[str, Any]], delays: list[float], key: str
) -> Call[EnqueueBatch]:
    """Build the call that enqueues jobs which `job` has checked, under a `buffered_key`."""
    delayed = {"delays": delays} if any(delays) else {"delay_seconds": 0}
    once = {"request_id": key, "remember_seconds": IDEMPOTENCY_SECONDS}
    return _call(queue_name, messages, delayed, once)


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
        idempotency_key: A name for the whole.
        idempotency_seconds: How long that name is remembered.
    """

    def __init__(
        self,
        queue_name: str,
        jobs: Iterable[Mapping[str, Any]],
        delay_seconds: float | Sequence[float] = 0,
        *,
        idempotency_key: str | None = None,
        idempotency_seconds: float = IDEMPOTENCY_SECONDS,
    ) -> None:
        self._queue_name = queue_name
        self._jobs = payload.several(jobs)
        self._delay_seconds = delay_seconds
        self._key = idempotency_key
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
        _, self._once = check.all_of(
            lambda: _delays(self._delay_seconds, len(self._jobs)),
            lambda: _enqueue_once(self._key, self._seconds),
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
        return _call(self._queue_name, messages, self._delays_of(chunk), self._once, text)

    def _next(self) -> slice:
        start = len(self._msg_ids)
        end = self._ends.get(start)
        # A resumed batch may go on elsewhere than at one of the cuts; see `buffered_key`.
        return slice(start, chunks.end_of_chunk(self._messages, start) if end is None else end)

    def _delays_of(self, chunk: slice) -> dict[str, Any]:
        if isinstance(self._delay_seconds, list | tuple):
            return {"delays": list(self._delay_seconds[chunk])}
        return {"delay_seconds": self._delay_seconds}

    def add(self, result: EnqueueBatch) -> None:
        """Take note of what the next call has enqueued."""
        self._texts.pop(len(self._msg_ids), None)
        self._msg_ids += result.msg_ids
        self._is_new = self._is_new or not result.duplicate
        self._once = {**self._once, "request_id": chunks.next_key(self._once["request_id"])}
        self.done = len(self._msg_ids) == len(self._jobs)

    @property
    def result(self) -> EnqueueBatch:
        """The ids of what went in, and whether all of it had been in before."""
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
        delays = self._delay_seconds
        return PartialEnqueueError(
            self._queue_name,
            cause,
            enqueued=self._msg_ids,
            jobs=self._jobs[chunk.start :],
            delay_seconds=delays[chunk.start :] if isinstance(delays, list | tuple) else delays,
            uncertain=chunk.stop - chunk.start,
            idempotency_key=self._once["request_id"],
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


def _delays(delay_seconds: float | Sequence[float], count: int) -> dict[str, Any]:
    if not isinstance(delay_seconds, list | tuple):
        return {"delay_seconds": check.delay_seconds("delay_seconds", delay_seconds)}
    if len(delay_seconds) != count:
        fix = f"give one delay for all, or one for each of the {count} jobs"
        raise InvalidInputError([Problem("delay_seconds", f"{len(delay_seconds)} delays", fix)])
    delays = check.all_of(
        *(
            partial(check.delay_seconds, f"delay_seconds[{position}]", delay)
            for position, delay in enumerate(delay_seconds)
        )
    )
    return {"delays": delays}


def _call(
    queue_name: str,
    messages: list[dict[str, Any]],
    delays: dict[str, Any],
    once: dict[str, Any],
    text: str | None = None,
) -> Call[EnqueueBatch]:
    """Build the call that enqueues messages; *text* is their JSON, where that is there already."""
    key = once["request_id"] if "remember_seconds" in once else None

    def decode(answer: Any) -> EnqueueBatch:
        msg_ids, duplicate = _enqueued(answer, len(messages), key)
        return EnqueueBatch(msg_ids=msg_ids, duplicate=duplicate)

    params = {"queue_name": queue_name, "messages": messages, **delays, **once}
    return Call("meshhook_enqueue", params, decode, given(messages=text))


def _enqueued(answer: Any, count: int, key: str | None) -> tuple[tuple[int, ...], bool]:
    msg_ids = tuple(exactly(int)(msg_id) for msg_id in list_of(answer["msg_ids"]))
    duplicate = exactly(bool)(answer["duplicate"])
    is_known = duplicate and key is not None and key.startswith(_BUFFERED)
    if len(msg_ids) != count and not (is_known and 0 < len(msg_ids) < count):
        message = f"expected {count} ids, got {len(msg_ids)}"
        raise ValueError(message)
    # Without a key of the caller's, only a repeat of this very call can be known already.
    return msg_ids, duplicate and key is not None


def _enqueue_once(key: str | None, seconds: float) -> dict[str, Any]:
    if key is None:
        return {"request_id": request_id()}
    return {
        "request_id": check.request_id("idempotency_key", key),
        "remember_seconds": check.number_of_seconds("idempotency_seconds", seconds, 1),
    }
