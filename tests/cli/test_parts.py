"""The parts of the command line that need no project."""

from __future__ import annotations

import inspect
import io
import json
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import pytest

from meshhook import WorkerStats
from meshhook.cli import output
from meshhook.cli.options import with_options
from meshhook.cli.redaction import hide
from meshhook.cli.watch import Watch
from meshhook.cli.worker import logs
from meshhook.cli.worker import run as worker_run
from meshhook.cli.worker.options import LogFormat, WorkerOptions, queue_weights, retry_settings
from meshhook.cli.worker.processes import RestartPolicy
from meshhook.cli.worker.status_line import StatusLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 0 s"),
        (3599, "59 m 59 s"),
        (3600, "1 h 0 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 0 h"),
        (1_000_000, "11 d 13 h"),
    ],
)
def test_an_age_has_two_units(seconds: float | None, text: str) -> None:
    assert output.age(seconds) == text


@pytest.mark.parametrize(
    ("number", "what", "text"),
    [
        (0, "job", "0 jobs"),
        (1, "job", "1 job"),
        (2, "process", "2 processes"),
        (1.0, "day", "1 day"),
        (1.5, "day", "1.5 days"),
        (123_456_789, "job", "123456789 jobs"),
    ],
)
def test_a_number_has_the_right_plural(number: float, what: str, text: str) -> None:
    assert output.counted(number, what) == text
    assert output.counted(number, what, "are") == f"{text} {'is' if number == 1 else 'are'}"


@pytest.mark.parametrize(
    ("text", "line"), [(None, ""), ("a\nb", "a"), ("\n a", "a"), ("x" * 200, "x" * 97 + "...")]
)
def test_one_line_of_a_text(text: str | None, line: str) -> None:
    assert output.one_line(text) == line


def test_a_command_gets_what_a_function_makes_of_shared_options() -> None:
    def total(*, first: int = 1, second: int = 2) -> int:
        return first + second

    @with_options(total=total)
    def in_place(name: str, *, total: int, flag: bool = False) -> tuple[str, int, bool]:
        return name, total, flag

    @with_options(total=total)
    def last(total: int, name: str, *, flag: bool = False) -> tuple[str, int, bool]:
        return name, total, flag

    assert list(inspect.signature(in_place).parameters) == ["name", "first", "second", "flag"]
    assert list(inspect.signature(last).parameters) == ["name", "flag", "first", "second"]
    for command in (in_place, last):
        assert command(name="a", first=3, second=4, flag=True) == ("a", 7, True)


def test_a_restart_waits_longer_each_time_up_to_a_limit() -> None:
    policy = RestartPolicy(base_seconds=1, max_seconds=60)

    assert [policy.pause(ends) for ends in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]


def test_a_watch_sees_files_that_are_new_changed_and_gone(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / ".git").mkdir()
    one = tmp_path / "one.py"
    one.write_text("1")
    watch = Watch([tmp_path], ".py")
    assert watch.changed() == []

    new = tmp_path / "inner" / "new.py"
    new.write_text("1")
    one.write_text("12")
    for name in ("a.txt", "node_modules/a.py", ".git/a.py"):
        (tmp_path / name).write_text("1")
    assert watch.changed() == [new, one]
    assert watch.changed() == []

    one.unlink()
    assert watch.changed() == [one]


def test_options_of_a_worker_survive_the_way_to_another_process() -> None:
    options = WorkerOptions(
        target="tasks:handle",
        key="hidden-key",
        queues={"a": 1, "b": 3},
        fatal_exceptions=("ValueError", "tasks:Refused"),
        retry={"max_attempts": 3},
        settings={"concurrency": 5, "name": None},
        monitoring_port=8080,
    )

    text = options.to_json()

    assert "\n" not in text
    assert WorkerOptions.from_json(text) == options
    assert "hidden-key" not in repr(options)


def test_weights_of_queues() -> None:
    assert queue_weights([]) == {}
    assert queue_weights(["a", "b=3"]) == {"a": 1, "b": 3}


def test_settings_of_the_backoff_are_none_unless_one_is_given() -> None:
    assert retry_settings(None, None, None) is None
    assert retry_settings(3, None, 0) == {"max_attempts": 3, "max_delay_ms": 0}


@contextmanager
def bare_logging() -> Iterator[logging.Logger]:
    """Have a root logger as in a process of its own, without the handlers of pytest."""
    root = logging.getLogger()
    handlers, root.handlers[:] = root.handlers[:], []
    try:
        yield root
    finally:
        root.handlers[:] = handlers


@pytest.mark.parametrize("form", [*map(str, LogFormat)])
def test_log_lines_never_hold_a_key(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide("a-key-of-no-usual-form")
    stream = io.StringIO()
    log = logging.getLogger("meshhook.test")
    with bare_logging():
        logs.configure("info", form)
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            int("a-key-of-no-usual-form")
        except ValueError:
            log.exception(
                "failed %s", "sb_secret_abc", extra={"worker": "w", "note": "sb_secret_d"}
            )
        log.debug("not to be seen")

    text = stream.getvalue()
    assert "a-key-of-no-usual-form" not in text
    assert "sb_secret" not in text
    assert "ValueError" in text
    assert "not to be seen" not in text
    if form == "json":
        (line,) = map(json.loads, text.splitlines())
        assert (line["message"], line["worker"], line["level"]) == ("failed [key]", "w", "error")
        assert line["exception"].endswith("with base 10: '[key]'")
    else:
        first, second, *_ = text.splitlines()
        assert first.endswith("ERROR   meshhook.test: failed [key] [w]")
        assert second == "Traceback (most recent call last):"


def test_handlers_that_the_user_has_set_up_stay_and_write_no_key() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("mine: %(message)s"))
    with bare_logging() as root:
        root.addHandler(handler)
        root.setLevel(logging.WARNING)
        logs.configure("info", "json")
        logging.getLogger("meshhook.test").info("started with %s", "sb_secret_abc")
        logging.getLogger("tasks").info("not to be seen")

        assert root.handlers == [handler]
    assert stream.getvalue() == (
        "mine: --log-format json is not used: the handler's module has set up logging\n"
        "mine: started with [key]\n"
    )


class FakeWorker:
    """A worker with numbers to show."""

    name = "tester"
    is_stopping = False

    def __init__(self, stats: WorkerStats) -> None:
        self.stats = stats

    def get_stats(self) -> WorkerStats:
        return self.stats


def test_the_status_line_tells_state_and_rate() -> None:
    worker = FakeWorker(WorkerStats(processed=10, succeeded=10))
    line = StatusLine(worker)

    assert line.line(100.0).plain == (
        "tester  idle  0 running  10 done  0.0/s  0 retried  0 dead letters"
    )
    worker.stats = WorkerStats(
        processed=30, succeeded=20, failed=10, retried=7, moved_to_dlq=3, lost=1, running=2
    )
    assert line.line(102.0).plain == (
        "tester  working  2 running  20 done  10.0/s  7 retried  3 dead letters  1 lease lost"
    )
    worker.stats = WorkerStats(unhealthy_since=datetime(2027, 1, 1, tzinfo=UTC))
    assert "waiting for Supabase since" in line.line(200.0).plain
    worker.stats, worker.is_stopping = WorkerStats(), True
    assert "stopping" in line.line(201.0).plain


async def test_a_long_run_in_a_pipe_logs_now_and_then_what_it_has_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_run, "SUMMARY_SECONDS", 0.001)
    logged = anyio.Event()
    told: list[str] = []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            logged.set()

    worker = FakeWorker(WorkerStats(processed=3, succeeded=2, failed=1))
    monkeypatch.setattr(worker_run.log, "handlers", [Told()])
    monkeypatch.setattr(worker_run.log, "level", logging.INFO)
    with anyio.fail_after(30):
        await worker_run.run_shown(worker, logged.wait, on_terminal=False)

    assert told[0].startswith("2 succeeded, 1 failed, 0 running")
