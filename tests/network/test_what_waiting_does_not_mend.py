"""P7, its other half: a worker stops where waiting does not help, and its error names the fix."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from meshhook import (
    InvalidKeyError,
    JobMessage,
    MeshHookError,
    MissingFunctionsError,
    PermissionDeniedError,
    QueueNotFoundError,
    SyncQueueService,
    Worker,
    connect,
)
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.network.proxy import Proxy
from tests.worker.conftest import Events, MakeWorker, do_nothing

WRONG_KEY = "sb_secret_00000000000000000000000000000000"
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bare_stack() -> Iterator[LocalStack]:
    """A project in which nobody has applied MeshHook's migrations."""
    with LocalStack(apply_meshhook=False) as stack:
        yield stack


async def run_worker(client: AsyncClient, queue_name: str) -> MeshHookError:
    """Run a worker until it stops by itself, and return why."""
    worker = Worker(client, do_nothing, queue_name)
    with anyio.fail_after(20), pytest.raises(MeshHookError) as caught:
        await worker.run()
    return caught.value


async def test_a_key_of_another_project_stops_it(proxy: Proxy, queue_name: str) -> None:
    async with connect(proxy.url, WRONG_KEY) as client:
        error = await run_worker(client, queue_name)

    assert isinstance(error, InvalidKeyError)
    assert "SUPABASE_KEY" in str(error)
    assert WRONG_KEY not in str(error)
    assert proxy.attempted("meshhook_dequeue") == 1


@pytest.mark.parametrize("key", ["publishable_key", "anon_key"])
async def test_a_key_that_may_not_stops_it(
    proxy: Proxy, queue_name: str, stack: LocalStack, key: str
) -> None:
    # `connect` refuses such a key; who makes a client of his own finds out like this.
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http)
        client = await acreate_client(proxy.url, getattr(stack, key), options)
        error = await run_worker(client, queue_name)

    assert isinstance(error, PermissionDeniedError)
    assert "secret" in str(error)
    assert proxy.attempted("meshhook_dequeue") == 1


async def test_missing_functions_stop_it(bare_stack: LocalStack) -> None:
    async with connect(bare_stack.url, bare_stack.secret_key) as client:
        error = await run_worker(client, "workflow_jobs")

    assert isinstance(error, MissingFunctionsError)
    assert "migrations" in str(error)


async def test_a_queue_that_is_dropped_while_it_works_stops_it_and_running_handlers_finish(
    safe_queue: SyncQueueService, events: Events, make_worker: MakeWorker
) -> None:
    safe_queue.enqueue(job_data())
    finished: list[str] = []

    async def handler(message: JobMessage) -> None:
        await events.wait("worker_stopping")
        finished.append(message.run_id)

    worker = make_worker(handler, settle_seconds=0.2)
    await worker.start()
    await events.wait("started")
    await anyio.to_thread.run_sync(safe_queue.drop_queue)
    with anyio.fail_after(20), pytest.raises(QueueNotFoundError, match="create_queue"):
        await worker.wait()
    safe_queue.create_queue()

    assert len(finished) == 1


SCRIPT = """
import sys
import anyio
import meshhook

async def main():
    async with meshhook.connect() as client:
        await meshhook.Worker(client, print, sys.argv[1]).run()

anyio.run(main)
"""


def test_a_process_that_runs_it_ends_with_an_exit_code_and_says_what_to_do(
    stack: LocalStack, queue_name: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, queue_name],
        env={**os.environ, "SUPABASE_URL": stack.url, "SUPABASE_KEY": WRONG_KEY},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    last_line = ended.stderr.strip().splitlines()[-1]
    assert last_line.startswith("meshhook.exceptions.InvalidKeyError")
    assert "SUPABASE_KEY" in last_line
    assert WRONG_KEY not in ended.stderr + ended.stdout
