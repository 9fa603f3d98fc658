"""The example that watches: what it measures, when it raises the alarm, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio
import pytest

from meshhook import DLQService, QueueService
from meshhook.testing import QueueClock
from tests.examples.conftest import EXAMPLES
from tests.jobs import job_data

pytestmark = pytest.mark.usefixtures("environment")


def watch_once() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "alerts.py"), "--once"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("meshhook_queue")
def test_nothing_is_said_while_all_is_well() -> None:
    done = watch_once()

    assert (done.returncode, done.stderr) == (0, "")
    dashboard = json.loads(done.stdout)
    assert set(dashboard) == {"queue", "dlq", "timestamp"}
    assert dashboard["queue"]["queue_length"] == 0
    assert dashboard["dlq"]["total_jobs"] == 0


async def test_an_old_job_raises_the_alarm(
    load: Callable[[str], ModuleType],
    meshhook_client: Any,
    meshhook_queue_service: QueueService,
    meshhook_clock: QueueClock,
) -> None:
    await meshhook_queue_service.enqueue(job_data())
    alerts = load("alerts")

    assert await alerts.check(meshhook_client) == []
    meshhook_clock.advance(901)
    (text,) = await alerts.check(meshhook_client)

    assert text.startswith("ALERT: The oldest job is 901 seconds old")


async def test_a_long_queue_and_many_dead_letters_raise_the_alarm(
    load: Callable[[str], ModuleType],
    meshhook_client: Any,
    meshhook_queue_service: QueueService,
    meshhook_dlq_service: DLQService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alerts = load("alerts")
    monkeypatch.setattr(alerts, "MAX_QUEUE_LENGTH", 1)
    monkeypatch.setattr(alerts, "MAX_DEAD_LETTERS", 0)
    await meshhook_queue_service.enqueue_many([job_data(), job_data(), job_data()])
    job = await meshhook_queue_service.dequeue()
    assert job is not None
    await meshhook_dlq_service.move_to_dead_letter(job, "given up")

    assert await alerts.check(meshhook_client) == [
        "ALERT: Queue length exceeds threshold: 2 jobs",
        "ALERT: DLQ has too many jobs: 1",
    ]


@pytest.mark.usefixtures("meshhook_queue")
def test_ctrl_c_ends_it_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "alerts.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)

    assert (process.returncode, told) == (130, "")


def test_supabase_being_away_raises_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")

    done = watch_once()

    assert done.returncode == 1
    assert done.stderr.startswith("ALERT: Supabase cannot be reached: ")


@pytest.mark.usefixtures("meshhook_queue")
def test_whoever_is_on_call_is_told(
    load: Callable[[str], ModuleType], mail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URL", mail.url)

    anyio.run(load("alerts").notify, ["ALERT: one", "ALERT: two"])
    anyio.run(load("alerts").notify, [])

    assert list(mail.receipts.values()) == [{"text": "ALERT: one\nALERT: two"}]
