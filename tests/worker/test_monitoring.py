"""Probes and metrics of a worker over HTTP."""

from __future__ import annotations

import sys
import threading

import anyio
import anyio.to_thread
import httpx
import pytest

from meshhook import JobMessage, QueueService
from meshhook.monitoring import MonitoringServer
from tests.faults import FaultInjector
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing


async def get(server: MonitoringServer, path: str) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}{path}"
    return await anyio.to_thread.run_sync(httpx.get, url)


async def test_a_running_worker_is_alive_and_ready(
    faults: FaultInjector, make_worker: MakeWorker
) -> None:
    worker = make_worker(do_nothing)
    async with MonitoringServer(worker, port=0) as server:
        before = [(await get(server, path)).status_code for path in ("/healthz", "/readyz")]
        async with worker:
            await faults.wait_answered("meshhook_dequeue", 2)
            during = [(await get(server, path)).status_code for path in ("/healthz", "/readyz")]
        after = [(await get(server, path)).status_code for path in ("/healthz", "/readyz")]

    assert (before, during, after) == ([503, 503], [200, 200], [503, 503])


async def test_a_worker_in_an_outage_is_alive_but_not_ready(
    faults: FaultInjector, events: Events, make_worker: MakeWorker
) -> None:
    worker = make_worker(do_nothing)
    async with MonitoringServer(worker, port=0) as server, worker:
        await faults.wait_answered("meshhook_dequeue")
        faults.refuse(times=1000)
        await events.wait("outage")
        health, readiness = await get(server, "/healthz"), await get(server, "/readyz")

    assert (health.status_code, readiness.status_code) == (200, 503)
    assert readiness.json()["unhealthy_since"] is not None


async def test_a_worker_that_stops_is_alive_but_not_ready(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    answers: list[int] = []

    async def handler(_: JobMessage) -> None:
        await events.wait("worker_stopping")
        answers.extend([(await get(server, path)).status_code for path in ("/healthz", "/readyz")])

    worker = make_worker(handler)
    async with MonitoringServer(worker, port=0) as server, worker:
        await events.wait("started")

    assert answers == [200, 503]


async def test_a_blocked_event_loop_is_not_alive(
    queue: QueueService, events: Events, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook.monitoring.LOOP_SECONDS", 0.05)
    await queue.enqueue(job_data())
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.get(f"http://127.0.0.1:{server.port}/healthz").status_code)

    async def block(_: JobMessage) -> None:
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()

    worker = make_worker(block)
    async with MonitoringServer(worker, port=0) as server, worker:
        await events.wait("succeeded")

    assert answers == [503]


async def test_metrics_show_the_worker_and_its_queues(
    queue: QueueService, events: Events, make_worker: MakeWorker
) -> None:
    await queue.enqueue(job_data())
    await queue.enqueue(job_data(), 60)
    worker = make_worker(do_nothing, name="me")

    async with MonitoringServer(worker, port=0) as server, worker:
        await events.wait("succeeded")
        page = await get(server, "/metrics")

    lines = page.text.splitlines()
    assert page.headers["content-type"].startswith("text/plain")
    assert 'meshhook_jobs_succeeded_total{worker="me"} 1.0' in lines
    assert 'meshhook_jobs_lost_total{worker="me"} 0.0' in lines
    assert 'meshhook_jobs_running{worker="me"} 0.0' in lines
    assert 'meshhook_worker_healthy{worker="me"} 1.0' in lines
    assert f'meshhook_queue_length{{queue="{queue.queue_name}"}} 1.0' in lines
    assert f'meshhook_visible_jobs{{queue="{queue.queue_name}"}} 0.0' in lines


async def test_metrics_during_an_outage_show_the_worker(
    faults: FaultInjector, make_worker: MakeWorker
) -> None:
    worker = make_worker(do_nothing)
    async with MonitoringServer(worker, port=0) as server, worker:
        await faults.wait_answered("meshhook_dequeue")
        faults.refuse("meshhook_queue_metrics", times=10)
        page = await get(server, "/metrics")

    assert page.status_code == 200
    assert "meshhook_jobs_succeeded_total" in page.text
    assert "queue=" not in page.text


async def test_without_the_extra_metrics_say_what_to_install(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with MonitoringServer(make_worker(do_nothing), port=0) as server:
        page = await get(server, "/metrics")

    assert page.status_code == 501
    assert "meshhook[prometheus]" in page.json()["error"]


async def test_there_are_no_other_pages(make_worker: MakeWorker) -> None:
    async with MonitoringServer(make_worker(do_nothing), port=0) as server:
        page = await get(server, "/")
        refused = await anyio.to_thread.run_sync(
            httpx.post, f"http://127.0.0.1:{server.port}/healthz"
        )

    assert (page.status_code, refused.status_code) == (404, 501)
