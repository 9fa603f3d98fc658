"""The wrong kind of client is refused at once, with the name of the class that takes it."""

from __future__ import annotations

from typing import Any

import pytest

from meshhook import (
    DLQService,
    QueueService,
    SyncDLQService,
    SyncQueueService,
    Worker,
    list_queues,
    list_queues_sync,
)
from tests.http.fake import FakeSupabase

ASYNC_ADVICE = "make one with meshhook.connect() or supabase.acreate_client()"
SYNC_ADVICE = "make one with meshhook.connect_sync() or supabase.create_client()"


def make_worker(client: Any) -> Worker:
    return Worker(client, print)


@pytest.mark.parametrize("lane", ["sync"])
@pytest.mark.parametrize("service", [QueueService, DLQService])
async def test_an_async_service_refuses_a_sync_client_and_names_the_sync_service(
    supabase: FakeSupabase, service: Any
) -> None:
    with pytest.raises(TypeError) as caught:
        service(await supabase.client())

    name = service.__name__
    assert str(caught.value) == (
        f"{name} takes a supabase.AsyncClient, not supabase.Client: use Sync{name} for that"
    )


@pytest.mark.parametrize("lane", ["asyncio", "trio"])
@pytest.mark.parametrize("service", [SyncQueueService, SyncDLQService])
async def test_a_sync_service_refuses_an_async_client_and_names_the_async_service(
    supabase: FakeSupabase, service: Any
) -> None:
    with pytest.raises(TypeError) as caught:
        service(await supabase.client())

    name = service.__name__
    assert str(caught.value) == (
        f"{name} takes a sync supabase.Client, not supabase.AsyncClient: "
        f"use {name.removeprefix('Sync')} for that"
    )


@pytest.mark.parametrize("client", [None, "http://x", 5, object, ...], ids=repr)
@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (QueueService, ASYNC_ADVICE),
        (DLQService, ASYNC_ADVICE),
        (make_worker, ASYNC_ADVICE),
        (SyncQueueService, SYNC_ADVICE),
        (SyncDLQService, SYNC_ADVICE),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_client_at_all_is_refused_with_how_to_make_one(
    make: Any, advice: str, client: Any
) -> None:
    with pytest.raises(TypeError) as caught:
        make(client)

    assert str(caught.value).endswith(f"not {type(client).__qualname__}: {advice}")


@pytest.mark.parametrize("lane", ["sync"])
async def test_a_worker_takes_no_sync_client(supabase: FakeSupabase) -> None:
    with pytest.raises(TypeError, match=r"Worker takes a supabase\.AsyncClient, not supabase\.C"):
        make_worker(await supabase.client())


@pytest.mark.parametrize("lane", ["asyncio", "trio"])
async def test_a_worker_takes_an_async_client(supabase: FakeSupabase) -> None:
    assert make_worker(await supabase.client()).get_stats().processed == 0


@pytest.mark.parametrize("lane", ["sync"])
async def test_the_async_listing_of_queues_refuses_a_sync_client(supabase: FakeSupabase) -> None:
    client: Any = await supabase.client()

    with pytest.raises(TypeError, match="SyncQueueService"):
        await list_queues(client)


@pytest.mark.parametrize("lane", ["asyncio", "trio"])
async def test_the_sync_listing_of_queues_refuses_an_async_client(supabase: FakeSupabase) -> None:
    client: Any = await supabase.client()

    with pytest.raises(TypeError, match="use QueueService"):
        list_queues_sync(client)


@pytest.mark.parametrize("name", ["A", "a" * 48, "a--b", 5])
async def test_a_queue_name_that_pgmq_would_change_is_refused_before_anything_is_sent(
    supabase: FakeSupabase, name: Any
) -> None:
    client: Any = await supabase.client()
    queue: Any = SyncQueueService if supabase.is_sync else QueueService
    dlq: Any = SyncDLQService if supabase.is_sync else DLQService

    with pytest.raises(ValueError, match="queue_name is"):
        queue(client, name)
    with pytest.raises(ValueError, match="dlq_name is"):
        dlq(client, name)


async def test_the_default_queues_are_those_of_the_guide(supabase: FakeSupabase) -> None:
    client: Any = await supabase.client()

    if supabase.is_sync:
        names = (SyncQueueService(client).queue_name, SyncDLQService(client).dlq_name)
    else:
        names = (QueueService(client).queue_name, DLQService(client).dlq_name)

    assert names == ("workflow_jobs", "workflow_jobs_dlq")
