"""What a strict type checker says of a user's program: each marked line is a mistake it finds.

mypy reads this file and nothing runs it. It also complains about a mark on a line that is sound, so
the marks are what it must find, and the lines without one are what it must accept.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import meshhook
from meshhook.user_queue import UserQueue

RUN, WORKFLOW, PROJECT = str(uuid.uuid4()), uuid.uuid4(), str(uuid.uuid4())


def misspelt() -> None:
    """Fields of a job that no field is."""
    job: meshhook.JobData = {  # type: ignore[typeddict-unknown-key]
        "run_id": RUN,
        "workflow_id": WORKFLOW,
        "project_id": PROJECT,
        "metdata": {},
    }
    job["max_attempt"] = 3  # type: ignore[typeddict-unknown-key]
    job["max_attempts"] = "3"  # type: ignore[typeddict-item]
    meshhook.JobData(run_id=RUN, workflow_id=WORKFLOW)  # type: ignore[typeddict-item]
    meshhook.JobData(  # type: ignore[typeddict-unknown-key]
        run_id=RUN,
        workflow_id=WORKFLOW,
        project_id=PROJECT,
        maxAttempts=3,
    )


async def sound(
    queue: meshhook.QueueService,
    sync_queue: meshhook.SyncQueueService,
    user_queue: UserQueue,
    anything: dict[str, Any],
    read_only: Mapping[str, object],
) -> None:
    """Ways to write a job and hand it over that are right, and one that is not."""
    job = meshhook.JobData(run_id=RUN, workflow_id=WORKFLOW, project_id=PROJECT, metadata={})
    literal = {"run_id": RUN, "workflow_id": RUN, "project_id": PROJECT}
    for data in (job, anything, read_only, literal):
        await queue.enqueue(data)
        await user_queue.enqueue(data)
        sync_queue.enqueue(data)
    await queue.enqueue_many([job, anything, {**anything, "metadata": {"a": 1}}, literal])
    await queue.enqueue_many(job for _ in range(3))
    queue.enqueue(job)  # type: ignore[unused-coroutine]  # it is not awaited
    async with queue.buffered() as out:
        await out.enqueue(job)
        await out.enqueue({**literal, "metadata": {"a": uuid.uuid4()}, "own": 1})


def handle(message: meshhook.JobMessage) -> None:
    """Fields of a message."""
    print(message.attempt, message.metadata["a"].b, message["own"], message.get("own"))  # noqa: T201
    print(message.attemtp)  # type: ignore[attr-defined]  # noqa: T201
    print(message.error_message)  # type: ignore[attr-defined]  # noqa: T201


def bury(message: meshhook.DeadLetterMessage) -> str:
    """Fields of a dead letter."""
    print(message.eror_message)  # type: ignore[attr-defined]  # noqa: T201
    return message.error_message


async def connections() -> None:
    """Clients that are opened the wrong way."""
    await meshhook.connect()  # type: ignore[misc]
    with meshhook.connect():  # type: ignore[attr-defined]
        pass
    async with meshhook.connect_sync():  # type: ignore[attr-defined]
        pass
    async with meshhook.connect() as client:
        meshhook.SyncQueueService(client)  # type: ignore[arg-type]
        meshhook.QueueService(client)


async def settings(queue: meshhook.QueueService, sync_queue: meshhook.SyncQueueService) -> None:
    """Settings of a queue that it has, and that it does not have."""
    chosen: meshhook.QueueSettings = {"max_attempts": 3, "vt_seconds": timedelta(minutes=1)}
    await queue.create_queue(**chosen)
    await queue.configure_queue(keeps_history=False, retention_days=None)
    sync_queue.configure_queue(**chosen)
    await queue.create_queue(max_attemps=3)  # type: ignore[call-arg]
    await queue.configure_queue(max_attempts="3")  # type: ignore[arg-type]
    sync_queue.create_queue(dlq="x")  # type: ignore[call-arg]
