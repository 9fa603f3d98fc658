"""`meshhook worker` and `meshhook drain`, as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import httpx
import pytest

from tests.cli.conftest import Shell, Terminal, job_lines, job_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook import SyncDLQService, SyncQueueService
    from meshhook.local import LocalStack


def line_with(stream: IO[str] | None, text: str) -> str:
    """Read lines up to one that holds a text; the test's own time limit bounds the waiting."""
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if text in line:
            return line
    message = f"{text!r} never came; there was {''.join(seen)!r}"
    raise AssertionError(message)


@contextmanager
def running(shell: Shell, app_dir: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker that polls often."""
    often = ("--poll-interval-ms", "50", "--app-dir", str(app_dir))
    with shell.start("worker", *argv, *often) as process:
        yield process


def wait_for_state(shell: Shell, msg_id: int, state: str) -> None:
    while shell.run("jobs", "show", str(msg_id), "--json").json["state"] != state:
        pass


@pytest.mark.parametrize("handler", ["handle", "plain"])
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_worker_works_until_sigterm(shell: Shell, app_dir: Path, handler: str, loop: str) -> None:
    shell.run("enqueue", job_text(), job_text())
    with running(shell, app_dir, f"tasks:{handler}", "--loop", loop) as process:
        for _ in range(2):
            line_with(process.stdout, "handled")
        wait_for_state(shell, 2, "completed")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()

    assert process.returncode == 0
    assert "worker started" in err
    assert err.count("SIGTERM") == 1
    assert "\x1b" not in err


def test_several_queues_with_weights(shell: Shell, app_dir: Path, queue_name: str) -> None:
    other = f"{queue_name}_2"
    shell.run("queues", "create", other)
    try:
        shell.run("enqueue", job_text(metadata={"word": "one"}))
        shell.run("enqueue", job_text(metadata={"word": "two"}), "-q", other)
        queues = ("--queue", f"{queue_name}=3", "--queue", other)
        with running(shell, app_dir, "tasks:handle", *queues) as process:
            words = {line_with(process.stdout, "handled").split()[-1] for _ in range(2)}
    finally:
        shell.run("queues", "drop", other, "--with-dlq", "--yes")

    assert words == {"one", "two"}


def test_its_settings_reach_the_worker(
    shell: Shell, app_dir: Path, queue_name: str, dead_letters: SyncDLQService
) -> None:
    """An event hook, a fatal exception, a name, attempts: each shows in what happens."""
    shell.run("enqueue", job_text())
    argv = (
        "tasks:refuse", "--fatal-exception", "tasks:Refused", "--on-event", "tasks:log_event",
        "--on-error", "tasks:tell_error", "--name", "tester", "--concurrency", "1",
        "--prefetch", "1", "--max-attempts", "9", "--base-delay-ms", "1", "--max-delay-ms", "2",
        "--job-timeout-seconds", "20", "--visibility-timeout-seconds", "20", "--grace-seconds", "1",
    )  # fmt: skip
    with running(shell, app_dir, *argv) as process:
        line_with(process.stdout, "error Refused 1")
        line_with(process.stdout, "event dead_lettered")
        (worker,) = shell.run("stats", "-q", queue_name, "--json").json["workers"]

    (letter,) = dead_letters.list_dead_letter_jobs()
    assert letter.message.error_message == "Refused: for good"
    assert worker["name"] == "tester"
    assert worker["concurrency"] == 1


def test_log_lines_for_machines(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", job_text())
    argv = ("tasks:handle", "--log-format", "json", "--log-level", "debug")
    with running(shell, app_dir, *argv) as process:
        line_with(process.stdout, "handled")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()

    lines = [json.loads(line) for line in err.splitlines()]
    (started,) = [line for line in lines if line["message"] == "job started"]
    assert started["level"] == "debug"
    assert started["msg_id"] == 1
    assert shell.env["SUPABASE_KEY"] not in err


LOGGING = """
import logging
import time
{set_up}
log = logging.getLogger(__name__)

def handle(message):
    log.info("own line")
    log.debug("own detail")

async def fail(message):
    raise ValueError("no such customer")
"""


def stderr_of_a_worker(shell: Shell, app_dir: Path, *argv: str, until: str) -> str:
    """Return what a worker writes on standard error when it handles a job."""
    shell.run("enqueue", job_text())
    with running(shell, app_dir, "logged:handle", *argv) as process:
        seen = line_with(process.stderr, until)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    return seen + err


def test_the_users_own_log_lines_are_shown(shell: Shell, app_dir: Path) -> None:
    (app_dir / "logged.py").write_text(LOGGING.format(set_up=""))

    err = stderr_of_a_worker(shell, app_dir, until="own line")

    assert re.search(r"INFO    logged: own line\n", err)
    assert "own detail" not in err
    assert "httpx" not in err


def test_debugging_shows_the_users_and_our_details_and_not_those_of_http(
    shell: Shell, app_dir: Path
) -> None:
    (app_dir / "logged.py").write_text(LOGGING.format(set_up=""))

    err = stderr_of_a_worker(shell, app_dir, "--log-level", "debug", until="own detail")

    assert "meshhook.worker" in err
    assert not re.search("httpx|httpcore|hpack", err)


def test_logging_that_the_users_code_has_set_up_stays(shell: Shell, app_dir: Path) -> None:
    set_up = "logging.basicConfig(level=logging.INFO, format='MINE %(name)s %(message)s')"
    (app_dir / "logged.py").write_text(LOGGING.format(set_up=set_up))

    err = stderr_of_a_worker(shell, app_dir, until="own line")

    assert "MINE logged own line\n" in err
    assert "MINE meshhook.worker worker stopping" in err
    assert all(line.startswith("MINE ") for line in err.splitlines())
    assert "httpx" not in err


@pytest.mark.parametrize("set_up", ["", "logging.basicConfig(level=logging.INFO)"])
def test_on_a_terminal_every_log_line_stands_on_a_line_of_its_own(
    shell: Shell, app_dir: Path, set_up: str
) -> None:
    (app_dir / "logged.py").write_text(LOGGING.format(set_up=set_up))
    with Terminal(shell, "worker", "logged:handle", "--app-dir", str(app_dir)) as terminal:
        terminal.wait_for("0 done")
        shell.run("enqueue", job_text())
        terminal.wait_for("1 done")
        terminal.process.send_signal(signal.SIGTERM)
        code = terminal.finish()

    assert code == 0
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.seen)
    start = "INFO:" if set_up else r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S* INFO"
    begins = [match.start() for match in re.finditer(start, drawn)]
    assert len(begins) >= 3
    assert {drawn[:begin][-1:] for begin in begins} <= {"", "\n", "\r"}
    assert "own line" in drawn


def test_on_a_terminal_a_status_line_is_shown(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", job_text())
    argv = ("worker", "tasks:handle", "--name", "tester", "--app-dir", str(app_dir))
    with Terminal(shell, *argv) as terminal:
        terminal.wait_for("1 done")
        terminal.process.send_signal(signal.SIGTERM)
        code = terminal.finish()

    assert code == 0
    assert re.search(r"tester.*idle.*0 running  1 done", terminal.seen)
    assert "handled" in terminal.seen


def test_probes_are_served(shell: Shell, app_dir: Path) -> None:
    with running(shell, app_dir, "tasks:handle", "--monitoring-port", "0") as process:
        port = line_with(process.stderr, "probes and metrics at").split()[-1].rpartition(":")[2]
        health = httpx.get(f"http://127.0.0.1:{port}/healthz")

    assert health.status_code == 200


def test_a_port_that_is_taken_is_told(shell: Shell, app_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = shell.run_process(
            "worker", "tasks:handle", "--app-dir", str(app_dir), "--monitoring-port", port
        )

    assert ended.code == 2
    assert "cannot be listened on" in ended.err


@pytest.mark.usefixtures("queue_name")
def test_handlers_see_the_settings_of_the_env_file(
    bare_shell: Shell, shell: Shell, app_dir: Path
) -> None:
    shell.run("enqueue", job_text())
    settings = {**shell.env, "GREETING": "'hello # there'"}
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    with running(bare_shell, app_dir, "tasks:tell_setting") as process:
        line = line_with(process.stdout, "setting")

    assert line == f"setting hello # there {shell.env['SUPABASE_URL']}\n"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("tasks", "'tasks' is not of the form module:name"),
        ("tasks:", "'tasks:' is not of the form module:name"),
        ("nowhere:handle", "there is no module nowhere in"),
        ("tasks:nobody", "tasks:nobody: the module tasks has no nobody"),
        ("tasks:not_a_handler", "tasks:not_a_handler: a job handler is a function that takes"),
        ("tasks:takes_nothing", "tasks:takes_nothing: the job handler takes_nothing() cannot be"),
        ("tasks:Mailer.send", "it is the method of a class: give that of an object"),
        ("tasks:yields", "tasks:yields: the job handler yields yields"),
        ("tasks:Refused", "tasks:Refused: the job handler Refused is a class"),
    ],
)
def test_a_handler_that_cannot_be_found_is_wrong_usage(
    shell: Shell, app_dir: Path, target: str, message: str
) -> None:
    ended = shell.run("worker", target, "--app-dir", str(app_dir))

    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("target", ["tasks:takes_nothing", "broken:handle"])
def test_processes_tell_once_that_their_handler_cannot_be_used(
    shell: Shell, app_dir: Path, target: str
) -> None:
    (app_dir / "broken.py").write_text("1 / 0\n")

    ended = shell.run_process("worker", target, "--app-dir", str(app_dir), "--processes", "3")

    assert ended.code == 2
    assert ended.err.count("meshhook worker: ") == 1
    assert ended.err.count("Traceback") == (1 if target == "broken:handle" else 0)
    assert "another in" not in ended.err


def test_a_drain_whose_handler_cannot_be_used_is_wrong_usage(shell: Shell, app_dir: Path) -> None:
    argv = ("--on-event", "tasks:not_a_handler", "--app-dir", str(app_dir))

    ended = shell.run("drain", "tasks:handle", *argv)

    assert ended.code == 2
    assert ended.err == (
        "meshhook drain: --on-event tasks:not_a_handler: on_event is 7: give a function\n"
    )


def test_a_module_that_exits_when_it_is_imported_is_told(shell: Shell, app_dir: Path) -> None:
    (app_dir / "script.py").write_text("raise SystemExit(0)\n")

    ended = shell.run("drain", "script:handle", "--app-dir", str(app_dir))

    assert ended.code == 2
    assert "the module script cannot be imported: SystemExit: 0" in ended.err


def test_a_module_that_fails_to_import_is_told_with_its_traceback(
    shell: Shell, app_dir: Path
) -> None:
    (app_dir / "broken.py").write_text("import nonsense_that_is_missing\n")

    ended = shell.run("worker", "broken:handle", "--app-dir", str(app_dir))

    assert ended.code == 2
    assert ended.err.splitlines()[:3] == [
        "Traceback (most recent call last):",
        f'  File "{app_dir / "broken.py"}", line 1, in <module>',
        "    import nonsense_that_is_missing",
    ]
    assert "importlib" not in ended.err
    assert ended.err.splitlines()[-1].startswith(
        "meshhook worker: the module broken cannot be imported: ModuleNotFoundError"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--fatal-exception", "tasks:handle"), "is not a class of exceptions"),
        (("--fatal-exception", "nonsense"), "has no nonsense"),
        (("--queue", "a=many"), "the weight is not a whole number"),
        (("--queue", "A"), "queue_name is 'A'"),
        (("--reload", "--processes", "2"), "--reload runs one process"),
        (("--concurrency", "0"), "--concurrency"),
        (("--max-attempts", "2000000"), "max_attempts"),
    ],
)
def test_a_setting_that_is_not_usable_is_wrong_usage(
    shell: Shell, app_dir: Path, argv: tuple[str, ...], message: str
) -> None:
    ended = shell.run("worker", "tasks:handle", "--app-dir", str(app_dir), *argv)

    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize("command", ["worker", "drain"])
def test_what_waiting_does_not_fix_ends_the_command(
    shell: Shell, app_dir: Path, command: str
) -> None:
    ended = shell.run(command, "tasks:handle", "--app-dir", str(app_dir), "--queue", "nowhere")

    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith(f"meshhook {command}: ")
    assert ended.err.count('"nowhere" does not exist') == 1
    assert "Traceback" not in ended.err


def pids(process: subprocess.Popen[str], count: int) -> set[int]:
    """Return the pids of worker processes, as the supervisor logs them."""
    lines = [line_with(process.stderr, "runs with pid") for _ in range(count)]
    return {int(line.split("runs with pid ")[1].split()[0]) for line in lines}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_gone(pids: set[int]) -> None:
    while any(map(is_alive, pids)):
        pass


def test_processes_share_the_work_and_stop_together(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", stdin=job_lines(20))
    argv = ("tasks:show_pid", "--processes", "2", "--concurrency", "1", "--prefetch", "0")
    with running(shell, app_dir, *argv) as process:
        workers = pids(process, 2)
        for _ in range(20):
            assert int(line_with(process.stdout, "pid").split()[1]) in workers
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()

    assert process.returncode == 0
    assert "SIGTERM: stopping 2 processes" in err
    wait_gone(workers)


def test_a_process_that_was_killed_is_started_again(shell: Shell, app_dir: Path) -> None:
    with running(shell, app_dir, "tasks:show_pid", "--processes", "2") as process:
        first = pids(process, 2)
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        told = line_with(process.stderr, "was killed by SIGKILL; another in 1.0 s")
        (successor,) = pids(process, 1)
        os.kill(max(first), signal.SIGSTOP)  # so that only the successor can take the job
        shell.run("enqueue", job_text())
        worked = int(line_with(process.stdout, "pid").split()[1])
        os.kill(max(first), signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        process.communicate()

    assert told
    assert worked == successor
    assert process.returncode == 0


def test_no_worker_outlives_its_supervisor(
    shell: Shell, app_dir: Path, service: SyncQueueService
) -> None:
    shell.run("enqueue", job_text())
    argv = ("tasks:hang", "--processes", "2", "--grace-seconds", "0")
    with running(shell, app_dir, *argv) as process:
        workers = pids(process, 2)
        line_with(process.stdout, "hanging")
        process.kill()
        process.wait()
        wait_gone(workers)

    # The job was handed back cleanly, with its attempt unused.
    job = service.dequeue()
    assert job
    assert job.attempt == 1


def test_processes_that_cannot_work_end_it_all(shell: Shell, app_dir: Path) -> None:
    queue = ("--queue", "nowhere", "--processes", "2")

    ended = shell.run_process("worker", "tasks:handle", "--app-dir", str(app_dir), *queue)

    assert ended.code == 1
    assert "which another start would not fix" in ended.err
    assert '"nowhere" does not exist' in ended.err


def test_the_key_is_in_no_list_of_processes(shell: Shell, app_dir: Path, stack: LocalStack) -> None:
    with running(shell, app_dir, "tasks:handle", "--processes", "2") as process:
        for pid in pids(process, 2):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"meshhook.cli.worker.child" in line
            assert stack.secret_key.encode() not in line


def test_a_second_signal_does_not_wait_for_handlers(
    shell: Shell, app_dir: Path, service: SyncQueueService
) -> None:
    shell.run("enqueue", job_text())
    argv = ("tasks:hang", "--processes", "2", "--grace-seconds", "600")
    with running(shell, app_dir, *argv) as process:
        for _ in range(2):
            line_with(process.stderr, "worker started")
        line_with(process.stdout, "hanging")
        process.send_signal(signal.SIGTERM)
        for _ in range(2):  # signals that come too fast one after the other are one
            line_with(process.stderr, "worker stopping")
        process.send_signal(signal.SIGTERM)
        process.communicate()

    assert process.returncode == 0
    assert service.dequeue() is not None


def test_changed_code_restarts_the_worker(shell: Shell, app_dir: Path) -> None:
    with running(shell, app_dir, "tasks:handle", "--reload") as process:
        pids(process, 1)
        shell.run("enqueue", job_text(metadata={"word": "before"}))
        line_with(process.stdout, "handled")

        tasks = app_dir / "tasks.py"
        tasks.write_text(tasks.read_text().replace('"handled"', '"treated"'))
        line_with(process.stderr, "tasks.py changed; restarting the worker")
        shell.run("enqueue", job_text(metadata={"word": "after"}))
        assert line_with(process.stdout, "treated").endswith("after\n")

        good = tasks.read_text()
        tasks.write_text("nonsense nonsense")
        line_with(process.stderr, "it starts again when the code changes")
        tasks.write_text(good + "\n")
        shell.run("enqueue", job_text(metadata={"word": "fixed"}))
        assert line_with(process.stdout, "treated").endswith("fixed\n")

        process.send_signal(signal.SIGINT)
        process.communicate()

    assert process.returncode == 0


def test_drain_works_until_the_queue_is_empty(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", stdin=job_lines(5))

    ended = shell.run_process("drain", "tasks:plain", "--app-dir", str(app_dir))

    assert ended.code == 0
    assert ended.out.count("handled") == 5
    assert ended.out.splitlines()[-1].startswith("5 succeeded, 0 failed")
    assert ended.out.rstrip().endswith(": empty.")


def test_drain_tells_machines_what_it_did(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", stdin=job_lines(3))
    argv = ("--max-jobs", "2", "--max-attempts", "1", "--json", "--app-dir", str(app_dir))

    ended = shell.run("drain", "tasks:fail", *argv)

    report = json.loads(ended.out)
    assert ended.code == 0
    assert (report["failed"], report["moved_to_dlq"], report["more_waiting"]) == (2, 2, True)
    assert report["reason"] == "max_jobs"


def test_a_drain_that_cannot_reach_supabase_ends_with_exit_code_3(
    bare_shell: Shell, app_dir: Path
) -> None:
    ended = bare_shell.run(
        *("drain", "tasks:handle", "--deadline-seconds", "0.5", "--app-dir", str(app_dir)),
        *("--url", "http://127.0.0.1:9", "--key", "sb_secret_xyz"),
    )

    assert ended.code == 3
    assert "0 succeeded" in ended.out
    assert "More jobs are due" not in ended.err
    assert ended.err.splitlines()[-1].startswith(
        "meshhook drain: Supabase could not be reached: meshhook_dequeue: no connection"
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_failed_attempt_is_shown(shell: Shell, app_dir: Path, queue_name: str, form: str) -> None:
    shell.run("enqueue", job_text())
    shell.run("enqueue", job_text())
    argv = ("tasks:fail", "--log-format", form, "--max-jobs", "1", "--app-dir", str(app_dir))

    shown = shell.run_process("drain", *argv)
    bare = shell.run_process("drain", *argv, "--no-log-tracebacks")

    text = f"job 1 in {queue_name}, attempt 1 of 5 failed: ValueError: no such customer; next"
    assert text in shown.err
    assert 'raise ValueError("no such customer")' in shown.err.replace("\\", "")
    assert text.replace("job 1", "job 2") in bare.err
    assert "Traceback" not in bare.err
    if form == "json":
        lines = [json.loads(line) for line in shown.err.splitlines() if line.startswith("{")]
        (line,) = [line for line in lines if line["level"] == "warning"]
        assert line["error_type"] == "ValueError"
        assert line["error_message"] == "ValueError: no such customer"
        assert line["exception"].startswith("Traceback")


def test_drain_keeps_its_deadline(shell: Shell, app_dir: Path, service: SyncQueueService) -> None:
    shell.run("enqueue", job_text())
    argv = ("--deadline-seconds", "2", "--loop", "trio", "--app-dir", str(app_dir))

    ended = shell.run_process("drain", "tasks:hang", *argv)

    assert ended.code == 0
    assert "1 handed back" in ended.out
    assert "More jobs are due." in ended.err
    assert service.dequeue() is not None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_drain_that_a_signal_ends_hands_back_and_tells_what_it_did(
    shell: Shell, app_dir: Path, service: SyncQueueService, number: signal.Signals, code: int,
    loop: str,
) -> None:  # fmt: skip
    shell.run("enqueue", stdin=job_lines(3))
    argv = ("tasks:hang", "--concurrency", "2", "--loop", loop, "--app-dir", str(app_dir))
    with shell.start("drain", *argv, "--json") as process:
        for _ in range(2):
            line_with(process.stdout, "hanging")
        process.send_signal(number)
        out, _ = process.communicate()

    report = json.loads(out)
    assert process.returncode == code
    assert (report["reason"], report["processed"]) == (number.name, 0)
    assert report["released"] >= 2
    assert report["more_waiting"] is True
    # Visible at once, and with no attempt used.
    assert [job.attempt for job in service.dequeue_many(3)] == [1, 1, 1]


def test_a_drain_on_a_terminal_has_a_status_line(shell: Shell, app_dir: Path) -> None:
    shell.run("enqueue", stdin=job_lines(2))
    argv = ("drain", "tasks:hang", "--name", "tester", "--app-dir", str(app_dir))
    with Terminal(shell, *argv) as terminal:
        terminal.wait_for("2 running")
        terminal.process.send_signal(signal.SIGINT)
        code = terminal.finish()

    assert code == 130
    assert re.search(r"tester.*working.*2 running  0 done", terminal.seen)
    assert "2 handed back" in terminal.seen
    assert "More jobs are due." in terminal.seen
