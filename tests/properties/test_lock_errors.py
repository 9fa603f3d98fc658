"""A lock error is somebody else's doing, such as a user's own SQL; the SDK repeats the call."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
import psycopg
from psycopg import sql

from meshhook import QueueService
from meshhook.local import LocalStack
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.locks import DEADLINE_SECONDS


def wait_for_waiter(admin: psycopg.Connection, holder: int) -> None:
    """Return when somebody waits for a backend."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        waiters = admin.execute(
            "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))", [holder]
        )
        if waiters.rowcount:
            return
    message = f"nobody waits for backend {holder}"
    raise TimeoutError(message)


async def test_a_deadlock_with_other_sql_is_waited_out(
    stack: LocalStack, admin: psycopg.Connection, queue: QueueService, faults: FaultInjector
) -> None:
    await queue.enqueue_many([job_data(), job_data()])
    first, second = await queue.dequeue_many(2)
    lock = sql.SQL("select from {} where msg_id = %s for update").format(
        sql.Identifier("pgmq", f"q_{queue.queue_name}")
    )
    answers: list[list[bool]] = []

    async def acknowledge() -> None:
        answers.append(await queue.acknowledge_many([first, second]))

    with psycopg.connect(stack.admin_database_url) as other:
        # The call's own wait is found to be part of a circle long before this one's.
        other.execute("set deadlock_timeout = '1min'")
        other.execute(lock, [second.msg_id])
        async with anyio.create_task_group() as group:
            group.start_soon(acknowledge)
            await anyio.to_thread.run_sync(wait_for_waiter, admin, other.info.backend_pid)
            await anyio.to_thread.run_sync(other.execute, lock, [first.msg_id])
            await anyio.to_thread.run_sync(other.commit)

    assert answers == [[True, True]]
    assert faults.count("meshhook_acknowledge") >= 2
