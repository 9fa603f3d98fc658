"""What a call needs is free when it is over: a worker makes millions of them."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import httpx
import pytest
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

from meshhook import QueueService, SyncQueueService
from tests.http.fake import KEY, URL, response

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Let nothing free what refers to itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Answers:
    """Answers every request with an empty list, and keeps an eye on both."""

    def __init__(self) -> None:
        self._seen: list[weakref.ref[object]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = response([])
        self._seen += [weakref.ref(request), weakref.ref(answer)]
        return answer

    def alive(self) -> list[object]:
        """Return what is still in memory."""
        return [one for one in (seen() for seen in self._seen) if one is not None]


@pytest.mark.usefixtures("without_collector")
async def test_request_and_answer_are_free_after_the_call() -> None:
    answers = Answers()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answers)) as http:
        client = await acreate_client(URL, KEY, AsyncClientOptions(httpx_client=http))

        await QueueService(client).list_jobs()

        assert answers.alive() == []


@pytest.mark.usefixtures("without_collector")
def test_request_and_answer_are_free_after_the_sync_call() -> None:
    answers = Answers()
    with httpx.Client(transport=httpx.MockTransport(answers)) as http:
        client = create_client(URL, KEY, ClientOptions(httpx_client=http))

        SyncQueueService(client).list_jobs()

        assert answers.alive() == []
