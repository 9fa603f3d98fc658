"""A buffer in front of a queue: jobs are enqueued one by one and sent together."""

from __future__ import annotations

import contextvars
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from meshhook import _telemetry
from meshhook._enqueue import buffer
from meshhook._enqueue.buffer import Limits
from meshhook._entered import AsyncBlock, PlainBlock
from meshhook._http.transport import AsyncTransport, SyncTransport
from meshhook._parity import documented_by
from meshhook.exceptions import RequestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Self

    from meshhook.models import JobData

__all__ = ["EnqueueBuffer", "Limits", "SyncEnqueueBuffer"]

T = TypeVar("T")

_CLOSED = "the buffer is closed: enqueue inside `with queue_service.buffered() as out:`"

_ASYNC_FORM = "async with queue_service.buffered() as out"
_SYNC_FORM = "with queue_service.buffered() as out"


class _Accepting(ABC, Generic[T]):
    """What both kinds of buffers do alike: refuse, and hand back."""

    def __init__(self, queue_name: str, transport: T, limits: Limits) -> None:
        self._queue_name = queue_name
        self._transport = transport
        self._buffer = buffer.Buffer(queue_name, limits)
        self._is_open = False

    @abstractmethod
    def _notify(self) -> None:
        """Wake up all that wait for a change of the buffer."""

    def _refuse_or_hand_back(self) -> None:
        if not self._is_open:
            raise RuntimeError(_CLOSED)
        if self._buffer.failure is not None:
            raise self._hand_back(self._buffer.failure)

    def _hand_back(self, cause: BaseException) -> Exception:
        error = self._buffer.hand_back(cause)
        self._notify()
        return error

    def _hand_back_unsettled(self) -> None:
        if not self._buffer.is_settled:
            seconds = self._buffer.limits.grace_seconds
            text = f"the last jobs of the buffer did not go in within {seconds:g} s"
            late = RequestTimeoutError(f"meshhook_enqueue: {text}", function="meshhook_enqueue")
            raise self._hand_back(self._buffer.failure or late)


class EnqueueBuffer(_Accepting[AsyncTransport], AsyncBlock):
    """A buffer in front of a queue; `QueueService.buffered` makes it.

    Jobs are accepted one by one and sent together, in their order, when the buffer is full or its
    oldest job has waited long enough. While one chunk is being sent, the next one fills. Several
    tasks may use a buffer at once.

    When the block has ended, even by an error or a cancellation, every accepted job is in the queue
    or in a `PartialEnqueueError`. Calls are repeated in an outage, as everywhere. If a chunk still
    cannot be sent, the buffer stops sending, and the next `enqueue` or `flush` raises that error
    with all jobs that are not known to be in the queue, also those after the chunk. Then the buffer
    is empty and can be used again. The end of the block tries the chunk once more before it raises.
    If the block has raised an error itself, that is the ``__context__`` of this one.

    After a cancellation there is a time limit for the last jobs.

    Args:
        queue_name: The queue.
        transport: What sends.
        limits: When the jobs are sent.
    """

    _what = "a buffer of a QueueService"
    _form = _ASYNC_FORM
    _elsewhere = "take a SyncQueueService"

    async def __aenter__(self) -> Self:
        self._work = anyio.Event()
        self._news = anyio.Event()
        self._ended = anyio.Event()
        # Shielded: the cancellation of the block must not interrupt a call.
        self._sending = anyio.CancelScope(shield=True)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._send_all, name=f"buffer of {self._queue_name}")
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        self._work.set()
        self._notify()
        try:
            await self._finish(is_cancelled=isinstance(error, anyio.get_cancelled_exc_class()))
        finally:
            await self._leave()

    async def enqueue(
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
    ) -> None:
        """Accept a job; wait while the buffer is full and its last chunk is being sent.

        Args:
            job_data: The data of the job, as for `QueueService.enqueue`.
            delay_seconds: How long the job stays hidden once it is in the queue, in seconds or as
                a timedelta.
            run_at: The time from which it may run, instead of a delay; see `QueueService.enqueue`.

        Raises:
            InvalidInputError: With everything that is wrong with the job.
            PartialEnqueueError: Earlier jobs were not enqueued; the error has them. This job has
                not been accepted.
            RuntimeError: The buffer is not open.
        """
        entry = buffer.entry(job_data, delay_seconds, run_at)
        self._refuse_or_hand_back()
        while not self._buffer.has_room(entry):
            self._buffer.make_all_due()
            self._work.set()
            await self._news.wait()
            self._refuse_or_hand_back()
        if self._buffer.add(entry, time.monotonic()):
            self._work.set()

    async def flush(self) -> None:
        """Send all jobs accepted so far, and wait until they are in the queue.

        Raises:
            PartialEnqueueError: They were not enqueued; the error has them. If several tasks wait
                for the same jobs, each gets the error.
            RuntimeError: The buffer is not open.
        """
        self._refuse_or_hand_back()
        flush = self._buffer.begin_flush()
        self._work.set()
        try:
            while not self._buffer.is_over(flush):
                if self._is_open and self._buffer.failure is not None:
                    self._hand_back(self._buffer.failure)
                else:
                    await self._news.wait()
        finally:
            self._buffer.end_flush(flush)

    def _notify(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def _send_all(self) -> None:
        try:
            with self._sending:
                while await self._is_due():
                    is_last_try = not self._is_open
                    await self._send()
                    if is_last_try and self._buffer.failure is not None:
                        break
        finally:
            self._ended.set()

    async def _is_due(self) -> bool:
        while self._is_open:
            seconds = self._buffer.seconds_until_due(time.monotonic())
            if seconds == 0:
                return True
            with anyio.move_on_after(seconds):
                await self._work.wait()
            self._work = anyio.Event()
        return not self._buffer.is_settled

    async def _send(self) -> None:
        try:
            with _telemetry.sending(self._queue_name) as sent:
                call = self._buffer.next_call(sent.trace)
                self._notify()
                sent.msg_ids = (await self._transport.call(call)).msg_ids
        except Exception as error:  # noqa: BLE001 - any error hands the jobs back
            self._buffer.fail(error)
        else:
            self._buffer.succeed()
        self._notify()

    async def _finish(self, *, is_cancelled: bool) -> None:
        if is_cancelled:
            await self._finish_in_time()
            return
        try:
            await self._ended.wait()
        except anyio.get_cancelled_exc_class():
            await self._finish_in_time()
            raise

    async def _finish_in_time(self) -> None:
        self._sending.deadline = anyio.current_time() + self._buffer.limits.grace_seconds
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

    async def _leave(self) -> None:
        try:
            await self._tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # There is only one task.
            raise group.exceptions[0] from None
        self._hand_back_unsettled()


@documented_by(EnqueueBuffer)
class SyncEnqueueBuffer(_Accepting[SyncTransport], PlainBlock):
    """A buffer in front of a queue; `SyncQueueService.buffered` makes it.

    It is an `EnqueueBuffer` without await, and several threads may use it. Its own thread sends, so
    that jobs are sent in time even if no more are enqueued. A `KeyboardInterrupt` or `SystemExit`
    counts as a cancellation of the block.

    Args:
        queue_name: The queue.
        transport: What sends.
        limits: When the jobs are sent.
    """

    _what = "a buffer of a SyncQueueService"
    _form = _SYNC_FORM
    _elsewhere = "take a QueueService"

    def __init__(self, queue_name: str, transport: SyncTransport, limits: Limits) -> None:
        super().__init__(queue_name, transport, limits)
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        """Open the buffer and start its thread."""
        # A daemon: the end of the block waits for it, with a time limit.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._send_all,),
            name=f"buffer of {self._queue_name}",
            daemon=True,
        )
        self._is_open = True
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the buffer when everything is settled."""
        with self._news:
            self._is_open = False
            self._notify()
        is_cancelled = error is not None and not isinstance(error, Exception)
        try:
            self._thread.join(self._buffer.limits.grace_seconds if is_cancelled else None)
        finally:
            self._leave()

    def enqueue(  # noqa: D102
        self,
        job_data: JobData | Mapping[str, Any],
        delay_seconds: float | timedelta = 0,
        *,
        run_at: datetime | None = None,
    ) -> None:
        entry = buffer.entry(job_data, delay_seconds, run_at)
        with self._news:
            self._refuse_or_hand_back()
            while not self._buffer.has_room(entry):
                self._buffer.make_all_due()
                self._notify()
                self._news.wait()
                self._refuse_or_hand_back()
            if self._buffer.add(entry, time.monotonic()):
                self._notify()

    def flush(self) -> None:  # noqa: D102
        with self._news:
            self._refuse_or_hand_back()
            flush = self._buffer.begin_flush()
            self._notify()
            try:
                while not self._buffer.is_over(flush):
                    if self._is_open and self._buffer.failure is not None:
                        self._hand_back(self._buffer.failure)
                    else:
                        self._news.wait()
            finally:
                self._buffer.end_flush(flush)

    def _notify(self) -> None:
        self._news.notify_all()

    def _send_all(self) -> None:
        while self._is_due():
            is_last_try = not self._is_open
            self._send()
            if is_last_try and self._buffer.failure is not None:
                break

    def _is_due(self) -> bool:
        with self._news:
            while self._is_open:
                seconds = self._buffer.seconds_until_due(time.monotonic())
                if seconds == 0:
                    return True
                self._news.wait(seconds)
            return not self._buffer.is_settled

    def _send(self) -> None:
        try:
            with _telemetry.sending(self._queue_name) as sent:
                with self._news:
                    call = self._buffer.next_call(sent.trace)
                    self._notify()
                sent.msg_ids = self._transport.call(call).msg_ids
        except Exception as error:  # noqa: BLE001 - any error hands the jobs back
            with self._news:
                self._buffer.fail(error)
                self._notify()
        else:
            with self._news:
                self._buffer.succeed()
                self._notify()

    def _leave(self) -> None:
        with self._news:
            self._hand_back_unsettled()
