"""What the tests of enqueues have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from meshhook.exceptions import PartialEnqueueError
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook import QueueService
    from tests.faults import FaultInjector

NEVER = 3600.0
"""A delay within which no test ends: what is sent is not sent for its age."""


def runs(jobs: Any) -> list[str]:
    """Return the run of each job, which tells the jobs apart."""
    return [job["run_id"] for job in jobs]


def some_jobs(count: int) -> list[dict[str, Any]]:
    """Return jobs."""
    return [job_data() for _ in range(count)]


async def interrupted(
    queue: QueueService,
    faults: FaultInjector,
    lay_fault: Callable[[], None],
    jobs: list[dict[str, Any]],
    **how: Any,
) -> PartialEnqueueError:
    """Enqueue jobs, lay a fault once the first call is under way, and return the error."""
    caught: list[PartialEnqueueError] = []

    async def enqueue() -> None:
        with pytest.raises(PartialEnqueueError) as info:
            await queue.enqueue_many(jobs, **how)
        caught.append(info.value)

    async with anyio.create_task_group() as tasks:
        held = faults.hold("meshhook_enqueue")
        tasks.start_soon(enqueue)
        await faults.wait_attempted("meshhook_enqueue")
        lay_fault()
        held.set()
    return caught[0]
