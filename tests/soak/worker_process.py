"""One worker of a soak, in a process of its own: to be run, and ill-treated, by the crew."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio

from meshhook import JobMessage, MeshHookError, Worker, WorkerEvent, connect, current_job
from meshhook.worker.control import JobControl
from tests.soak.behaviour import JOB_TIMEOUT_SECONDS, LEASE_SECONDS, RETRY_CONFIG, Act, act_of
from tests.soak.journal import BEAT_SECONDS, Journal
from tests.soak.ledger import WORKER_HEADER

GRACE_SECONDS = 2.0

# The journal of the handlers says what is left out here.
_UNTOLD = {"claimed", "started", "failed"}

_PR_SET_PDEATHSIG = 1

Handler = Callable[[JobMessage], Awaitable[None] | None]


async def main(name: str, queue_name: str, journal: Journal, kind: str) -> int:
    """Work until told to stop, and write down how it ended."""

    async def on_event(event: WorkerEvent) -> None:
        if event.kind not in _UNTOLD:
            what = {"msg_id": event.msg_id, "attempt": event.attempt, "why": event.error_message}
            journal.note(event.kind, **{key: value for key, value in what.items() if value})

    async with connect() as client:
        client.postgrest.session.headers[WORKER_HEADER] = name
        worker = Worker(
            client,
            make_handler(journal, kind),
            queue_name,
            poll_interval_ms=200,
            visibility_timeout_seconds=LEASE_SECONDS,
            retry_config=RETRY_CONFIG,
            concurrency=8,
            job_timeout_seconds=JOB_TIMEOUT_SECONDS,
            grace_seconds=GRACE_SECONDS,
            on_event=on_event,
            name=name,
        )
        try:
            report = await worker.run()
        except MeshHookError as error:
            journal.note("gave out", error=f"{type(error).__name__}: {error}")
            return 1
    given_up = [msg_id for _, msg_id in report.given_up]
    journal.note("report", reason=report.reason, given_up=given_up)
    return 0


def make_handler(journal: Journal, kind: str) -> Handler:
    """Return a plain or an async handler that behaves as its jobs say."""

    async def async_handler(_: JobMessage) -> None:
        with execution(journal, is_plain=False) as act:
            await anyio.sleep(act.seconds)
            finish(act, journal)

    def sync_handler(_: JobMessage) -> None:
        with execution(journal, is_plain=True) as act:
            time.sleep(act.seconds)
            finish(act, journal)

    return sync_handler if kind == "sync" else async_handler


@contextlib.contextmanager
def execution(journal: Journal, *, is_plain: bool) -> Iterator[Act]:
    """Write down the beginning and the end of an attempt."""
    current = current_job()
    job = current.job
    receipt = {"msg_id": job.msg_id, "read_ct": job.read_ct, "attempt": job.attempt}
    journal.note("start", **receipt, is_plain=is_plain)
    how = "cancelled"
    try:
        yield act_of(job)
        how = "returned"
    except (Exception, JobControl) as error:
        how = type(error).__name__
        raise
    finally:
        late = current.deadline is not None and time.monotonic() > current.deadline
        journal.note("end", **receipt, how=how, late=late)


def finish(act: Act, journal: Journal) -> None:
    """Do what a handler does at the end of its work."""
    if act.crashes:
        journal.note("crash")
        os.kill(os.getpid(), signal.SIGKILL)
    if act.error is not None:
        raise act.error


def watch_time(journal: Journal) -> None:
    """Write down when this process gets no time, which is as if it was frozen."""
    while True:
        begin = time.monotonic()
        time.sleep(BEAT_SECONDS)
        journal.woke(begin)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the soak is gone, even if it is frozen then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    _, worker_name, queue, journal_path, backend, handler_kind = sys.argv
    own_journal = Journal(Path(journal_path), worker_name)
    threading.Thread(target=watch_time, args=[own_journal], daemon=True).start()
    sys.exit(anyio.run(main, worker_name, queue, own_journal, handler_kind, backend=backend))
