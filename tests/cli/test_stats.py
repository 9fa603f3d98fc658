"""`meshhook stats`."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from meshhook import SyncDLQService, SyncQueueService
from meshhook.cli import stats
from meshhook.local import LocalStack
from tests.cli.conftest import Shell, Terminal, job_lines, job_text

if TYPE_CHECKING:
    import psycopg


def test_the_numbers_of_a_queue(
    shell: Shell, queue_name: str, service: SyncQueueService, dead_letters: SyncDLQService
) -> None:
    shell.run("enqueue", stdin=job_lines(5))
    shell.run("enqueue", job_text(), "--delay-seconds", "60")
    done, dead, _ = service.dequeue_many(3)
    service.acknowledge(done)
    dead_letters.move_to_dead_letter(dead, "no")

    (queue,) = shell.run("stats", "--queue", queue_name, "--json").json["queues"]

    assert queue["queue_name"] == queue_name
    assert (queue["visible_jobs"], queue["invisible_jobs"]) == (2, 2)
    assert (queue["completed_jobs"], queue["failed_jobs"], queue["dlq_jobs"]) == (1, 1, 1)
    assert queue["oldest_job_age_seconds"] >= 0
    assert queue["enqueued_per_second"] is None


def test_the_table_shows_all_queues_but_those_of_dead_letters(
    shell: Shell, queue_name: str
) -> None:
    lines = shell.run("stats").out.splitlines()

    names = [line.split()[0] for line in lines if line]
    assert names[0] == "queue"
    assert queue_name in names
    assert "workflow_jobs" in names
    assert f"{queue_name}_dlq" not in names


def test_a_dead_letter_queue_is_shown_when_it_is_named(shell: Shell, queue_name: str) -> None:
    found = shell.run("stats", "-q", f"{queue_name}_dlq", "-q", queue_name, "--json").json["queues"]

    assert [queue["queue_name"] for queue in found] == [queue_name, f"{queue_name}_dlq"]


def test_a_queue_that_is_not_there_is_reported_with_one_that_is_spelt_alike(
    shell: Shell, queue_name: str
) -> None:
    misspelt = f"{queue_name[:-1]}_"
    ended = shell.run("stats", "-q", misspelt, "-q", queue_name, "--json")

    assert ended.code == 1
    assert misspelt in ended.err
    assert f'Did you mean "{queue_name}"?' in ended.err
    assert len(ended.json["queues"]) == 1


def test_an_api_that_gives_a_part_at_once_is_asked_for_the_rest(
    bare_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook._http.views.PAGE", 1)
    with LocalStack(max_rows=1) as stack:
        bare_shell.env |= {"SUPABASE_URL": stack.url, "SUPABASE_KEY": stack.secret_key}
        ended = bare_shell.run("stats", "--queue", "workflow_jobs_dlq", "--json")

    assert [queue["queue_name"] for queue in ended.json["queues"]] == ["workflow_jobs_dlq"]


def test_the_workers_are_shown(shell: Shell, queue_name: str, admin: psycopg.Connection) -> None:
    admin.execute(
        "insert into meshhook.workers (worker_id, name, queue_names, concurrency, running, version,"
        " host, pid, interval_seconds, started_at, seen_at)"
        " values (%s, 'tester', array[%s], 10, 3, '0.1.0', 'box', 42, 10, now(), now())",
        [f"w-{queue_name}", queue_name],
    )

    (worker,) = shell.run("stats", "-q", queue_name, "--json").json["workers"]
    shown = shell.run("stats", "-q", queue_name).out

    assert (worker["name"], worker["running"], worker["is_alive"]) == ("tester", 3, True)
    assert "3 of 10" in shown
    assert "alive" in shown


def test_a_watched_queue_that_is_not_there_is_reported_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("meshhook.cli.stats.time.sleep", sleep)

    ended = shell.run("stats", "--watch", "--queue", "nowhere")

    assert ended.code == 130
    assert ended.err.count('The queue "nowhere" does not exist.') == 1


def test_watching_gives_rates_line_by_line(
    shell: Shell, queue_name: str, service: SyncQueueService
) -> None:
    shell.run("enqueue", stdin=job_lines(3))
    argv = ("stats", "--watch", "--json", "-q", queue_name, "--interval-seconds", "0.2")
    with shell.start(*argv) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())["queues"][0]
        service.acknowledge_many(service.dequeue_many(2))
        shell.run("enqueue", stdin=job_lines(4))
        seen: list[dict[str, Any]] = [first]
        while seen[-1]["completed_jobs"] < 2 or seen[-1]["visible_jobs"] < 5:
            seen.append(json.loads(running.stdout.readline())["queues"][0])
        running.send_signal(signal.SIGINT)
        running.wait()

    assert running.returncode == 130
    assert max(queue["finished_per_second"] for queue in seen[1:]) > 0
    assert max(queue["enqueued_per_second"] for queue in seen[1:]) > 0


def test_watching_goes_on_after_an_outage(
    shell: Shell, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = httpx.Client.send

    def send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        nonlocal looks
        if request.method == "GET":
            looks += 1
            if looks == 1:
                message = "connection refused"
                raise httpx.ConnectError(message, request=request)
        return real(self, request, **options)

    def sleep(_: float) -> None:
        if looks > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(httpx.Client, "send", send)
    monkeypatch.setattr("meshhook.cli.stats.time.sleep", sleep)

    ended = shell.run("stats", "--watch", "--json", "-q", queue_name)

    assert ended.code == 130
    assert ended.err.startswith("meshhook stats: queue_monitoring: no connection")
    assert ended.json["queues"][0]["queue_name"] == queue_name


def test_on_a_terminal_the_numbers_are_live(shell: Shell, queue_name: str) -> None:
    argv = ("stats", "--watch", "-q", queue_name, "--interval-seconds", "0.2")
    with Terminal(shell, *argv) as terminal:
        terminal.wait_for(queue_name, times=3)
        terminal.process.send_signal(signal.SIGINT)
        code = terminal.finish()

    assert code == 130
    assert "\x1b[" in terminal.seen
    assert "dead-lettered" in terminal.seen


def test_a_project_without_the_migrations_is_told_what_to_do(bare_shell: Shell) -> None:
    with LocalStack(apply_meshhook=False) as stack:
        ended = bare_shell.run("stats", "--url", stack.url, "--key", stack.secret_key)

    assert ended.code == 1
    assert "Apply MeshHook's migrations" in ended.err


def some(**more: Any) -> stats.QueueStats:
    return stats.QueueStats(
        **{
            "queue_name": "orders",
            "visible_jobs": 0,
            "invisible_jobs": 0,
            "oldest_job_age_seconds": None,
            "completed_jobs": 0,
            "failed_jobs": 0,
            "dlq_jobs": 0,
            "avg_processing_time_seconds": None,
            "avg_attempts": None,
            **more,
        }
    )


def test_rates_are_what_changed_by_the_second() -> None:
    before = some(visible_jobs=10, completed_jobs=100, failed_jobs=5)
    after = some(visible_jobs=20, invisible_jobs=2, completed_jobs=130, failed_jobs=7)
    other = attrs.evolve(after, queue_name="new")

    looked = stats.with_rates(stats.Look([before], []), stats.Look([after, other], []), 4)

    assert looked.queues[0].finished_per_second == 8
    assert looked.queues[0].enqueued_per_second == 11
    assert looked.queues[1].finished_per_second is None
