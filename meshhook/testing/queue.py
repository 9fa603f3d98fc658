"""The queue of a test: what it holds, assertions about it, and draining it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import anyio
from psycopg import sql

from meshhook._inputs import check
from meshhook.sync_services import SyncDLQService, SyncQueueService
from meshhook.testing.drained import Recorder
from meshhook.testing.expectation import Expectation, describe
from meshhook.worker import drain, drain_sync

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    import psycopg
    from supabase import AsyncClient, Client

    from meshhook.models import DeadLetterJob, JobRecord
    from meshhook.testing.drained import DrainResult
    from meshhook.worker.draining import DrainOptions, Handler

PAGE = 1000


class QueueUnderTest:
    """The queue of a test.

    Args:
        admin: A connection, in autocommit mode, that may read any row of MeshHook's.
        client: An async client of the same stack.
        sync_client: A sync client of the same stack.
        name: The queue, which must exist.

    Attributes:
        name: The queue.
    """

    def __init__(
        self, admin: psycopg.Connection, client: AsyncClient, sync_client: Client, name: str
    ) -> None:
        self._admin = admin
        self._client = client
        self._sync_client = sync_client
        self.name = name

    def __repr__(self) -> str:
        return f"<QueueUnderTest {self.name}>"

    @property
    def dlq_name(self) -> str:
        """Its dead letter queue."""
        row = self._admin.execute(
            "select (meshhook._queue(%s)).dlq_name::text", [self.name]
        ).fetchone()
        return str(row[0]) if row else ""

    def jobs(self) -> list[JobRecord]:
        """Return every job in the queue, waiting or running, by id.

        Returns:
            The jobs, including their failed attempts.
        """
        service = SyncQueueService(self._sync_client, self.name)
        jobs = page = service.list_jobs(limit=PAGE)
        while len(page) == PAGE:
            page = service.list_jobs(limit=PAGE, before_msg_id=page[-1].msg_id)
            jobs = jobs + page
        return jobs[::-1]

    def dead_letters(self) -> list[DeadLetterJob]:
        """Return every dead letter, oldest first."""
        return list(SyncDLQService(self._sync_client, self.dlq_name).iterate_dead_letter_jobs())

    def assert_enqueued(
        self,
        expected: Mapping[str, Any] | None = None,
        /,
        *,
        count: int | None = None,
        delay_seconds: float | timedelta | None = None,
        **fields: Any,
    ) -> JobRecord:
        """Check that the queue holds a job like this.

        Fields that are not named may have any value. In a mapping, such as ``metadata``, only the
        named keys are compared; all other values must be equal.

        Args:
            expected: Fields of the message whose names cannot be keywords.
            count: How many such jobs there must be; None for one or more.
            delay_seconds: The delay that it was enqueued with, in seconds or as a timedelta, within
                a second.
            **fields: Fields of the message.

        Returns:
            The first job that is like this.

        Raises:
            AssertionError: There is none, or another number; the text says what the queue holds.
            ValueError: *count* is below 1.
        """
        __tracebackhide__ = True
        if count is not None and (count < 1 or isinstance(count, bool)):
            message = f"count is {count!r}: give 1 or more, or use refute_enqueued()"
            raise ValueError(message)
        expectation = Expectation({**(expected or {}), **fields}, check.seconds(delay_seconds))
        jobs = self.jobs()
        found = [job for job in jobs if not expectation.differences(job)]
        if not found or (count is not None and len(found) != count):
            raise AssertionError(self._contrary(expectation, jobs, len(found), count))
        return found[0]

    def refute_enqueued(
        self,
        expected: Mapping[str, Any] | None = None,
        /,
        *,
        delay_seconds: float | timedelta | None = None,
        **fields: Any,
    ) -> None:
        """Check that the queue holds no job like this; without arguments, that it is empty.

        Args:
            expected: Fields of the message; see `assert_enqueued`.
            delay_seconds: The delay that it was enqueued with, in seconds or as a timedelta, within
                a second.
            **fields: Fields of the message.

        Raises:
            AssertionError: There is one; the text says which.
        """
        __tracebackhide__ = True
        expectation = Expectation({**(expected or {}), **fields}, check.seconds(delay_seconds))
        found = [job for job in self.jobs() if not expectation.differences(job)]
        if found:
            wanted = "be empty" if expectation.is_any else f"hold no job with {expectation}"
            message = (
                f"The queue {self.name!r} should {wanted}. It holds"
                f" {_number_of_jobs(len(found))}:\n{describe(found, expectation)}"
            )
            raise AssertionError(message)

    async def drain(self, handler: Handler, **options: Unpack[DrainOptions]) -> DrainResult:
        """Work off every job that is due, including those that the handler enqueues.

        A failed job stays in the queue until its retry is due, unless the delay is 0. To run it,
        advance the clock and drain again.

        Args:
            handler: What jobs are handed to, as for `meshhook.Worker`.
            **options: As for `meshhook.drain`, but for the queue's name and the hook.

        Returns:
            What happened, job by job.

        Raises:
            MeshHookError: The stack cannot be used.
        """
        recorder = Recorder()
        report = await drain(
            self._client, recorder.handler(handler), **self._options(options, recorder)
        )
        return recorder.result(report)

    def drain_sync(self, handler: Handler, **options: Unpack[DrainOptions]) -> DrainResult:
        """Work off every job that is due, in a test that is no coroutine; see `drain`.

        Args:
            handler: What jobs are handed to; an ``async def`` runs in an event loop of its own.
            **options: As for `drain`.

        Returns:
            What happened, job by job.

        Raises:
            RuntimeError: The test is a coroutine.
            MeshHookError: The stack cannot be used.
        """
        _refuse_event_loop()
        recorder = Recorder()
        report = drain_sync(
            self._sync_client, recorder.handler(handler), **self._options(options, recorder)
        )
        return recorder.result(report)

    def _options(self, options: DrainOptions, recorder: Recorder) -> DrainOptions:
        if "queue_name" in options or "on_event" in options:
            message = "drain() of a test's queue takes neither queue_name nor on_event"
            raise TypeError(message)
        return {**options, "queue_name": self.name, "on_event": recorder.on_event}

    def _contrary(
        self,
        expectation: Expectation,
        jobs: list[JobRecord],
        found: int,
        count: int | None,
    ) -> str:
        wanted = "a job" if count is None else _number_of_jobs(count)
        like = "" if expectation.is_any else f" with {expectation}"
        lines = [f"The queue {self.name!r} should hold {wanted}{like}."]
        if found:
            lines.append(f"It holds {_number_of_jobs(found)} like that.")
        if jobs:
            lines.append(f"It holds {_number_of_jobs(len(jobs))} in all, the most similar first:")
            lines.append(describe(jobs, expectation))
        else:
            lines.append("It is empty.")
        lines += [
            f"Another queue, {name!r}, holds {_number_of_jobs(number)}."
            for name, number in self._other_queues()
        ]
        return "\n".join(lines)

    def _other_queues(self) -> list[tuple[str, int]]:
        """Return the other queues that hold jobs: a job in the wrong queue is a common mistake."""
        names = self._admin.execute(
            "select queue_name from pgmq.meta where queue_name <> %s order by queue_name",
            [self.name],
        ).fetchall()
        counted = [(str(name), self._count(str(name))) for (name,) in names]
        return [(name, number) for name, number in counted if number]

    def _count(self, queue_name: str) -> int:
        table = sql.Identifier("pgmq", f"q_{queue_name}")
        row = self._admin.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
        return int(row[0]) if row else 0


def _refuse_event_loop() -> None:
    try:
        anyio.get_current_task()
    except RuntimeError:
        return  # there is no event loop, as expected
    message = "drain_sync() is for tests that are no coroutines; here it is: await drain(handler)"
    raise RuntimeError(message)


def _number_of_jobs(number: int) -> str:
    return f"{number} job" if number == 1 else f"{number} jobs"
