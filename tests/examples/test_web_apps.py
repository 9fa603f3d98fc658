"""The web apps that enqueue, asked over HTTP as their servers would ask them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import httpx
import pytest

from meshhook import RepeatPolicy, SyncQueueService, connect_sync
from meshhook.testing import QueueClock, QueueUnderTest
from tests.examples.conftest import MailService

pytestmark = pytest.mark.usefixtures("environment")

ORDER = {"number": 17, "email": "ada@example.com"}
Load = Callable[[str], ModuleType]


@pytest.fixture
async def fastapi_app(load: Load, environment: None) -> AsyncIterator[Any]:  # noqa: ARG001 - before it
    app = load("web_fastapi").app
    async with app.router.lifespan_context(app):
        yield app


async def test_the_fastapi_app_enqueues_and_tells(
    load: Load,
    fastapi_app: Any,
    meshhook_queue: QueueUnderTest,
    meshhook_clock: QueueClock,
    mail: MailService,
) -> None:
    mail.answers = [(500, {})]
    transport = httpx.ASGITransport(fastapi_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
        first, second = [await http.post("/orders", json=ORDER) for _ in range(2)]
        job = meshhook_queue.assert_enqueued(metadata={"order": ORDER}, count=1)
        assert (first.status_code, first.json()) == (202, {"job": job.msg_id})
        assert second.json() == first.json()

        states = [(await http.get(f"/jobs/{job.msg_id}")).json()]
        for _ in range(2):
            await meshhook_queue.drain(load("tasks").handle)
            states.append((await http.get(f"/jobs/{job.msg_id}")).json())
            meshhook_clock.advance(2)
        assert (await http.get("/jobs/999999")).status_code == 404
        assert (await http.post("/orders", json={"number": "x"})).status_code == 422

    assert [(state["state"], state["attempt"]) for state in states] == [
        ("available", 1),
        ("scheduled", 2),
        ("completed", 2),
    ]
    assert states[0]["last_error"] is None
    assert "500" in states[1]["last_error"]
    assert list(mail.receipts.values()) == [ORDER]


def test_the_flask_app_enqueues_and_tells(
    load: Load, meshhook_queue: QueueUnderTest, meshhook_sync_client: Any, mail: MailService
) -> None:
    app = load("web_flask").create_app(SyncQueueService(meshhook_sync_client))
    http = app.test_client()

    first, second = [http.post("/orders", json=ORDER) for _ in range(2)]
    job = meshhook_queue.assert_enqueued(metadata={"order": ORDER}, count=1)
    waiting = http.get(f"/jobs/{job.msg_id}").get_json()
    meshhook_queue.drain_sync(load("tasks").handle).raise_errors()
    done = http.get(f"/jobs/{job.msg_id}").get_json()

    assert (first.status_code, first.get_json()) == (202, {"job": job.msg_id})
    assert second.get_json() == first.get_json()
    assert waiting == {"state": "available", "attempt": 1, "last_error": None}
    assert done == {"state": "completed", "attempt": 1, "last_error": None}
    assert http.get("/jobs/999999").status_code == 404
    assert list(mail.receipts.values()) == [ORDER]


def test_the_flask_app_says_when_supabase_is_away(load: Load) -> None:
    with connect_sync("http://127.0.0.1:9", "sb_secret_any") as client:
        service = SyncQueueService(client, repeat_policy=RepeatPolicy(tries=1))
        http = load("web_flask").create_app(service).test_client()

        assert http.post("/orders", json=ORDER).status_code == 503


def test_the_flask_app_connects_by_itself(load: Load, meshhook_queue: QueueUnderTest) -> None:
    http = load("web_flask").create_app().test_client()

    assert http.post("/orders", json=ORDER).status_code == 202
    meshhook_queue.assert_enqueued(metadata={"order": ORDER})
