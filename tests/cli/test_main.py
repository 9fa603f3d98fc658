"""What every command has in common: help, versions, errors, colours, completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshhook.cli import complete, exits, output
from meshhook.exceptions import (
    ConfigurationError,
    InvalidInputError,
    InvalidKeyError,
    PartialEnqueueError,
    Problem,
    UnreachableError,
)
from tests.cli.conftest import COMMAND, PATIENCE_SECONDS, Shell, Terminal, job_text

if TYPE_CHECKING:
    from pathlib import Path

    from meshhook.local import LocalStack

COMMANDS = [
    "worker",
    "drain",
    "enqueue",
    "jobs",
    "queues",
    "dlq",
    "migrations",
    "stats",
    "doctor",
    "dev",
]


def test_the_version_is_the_distributions(bare_shell: Shell) -> None:
    ended = bare_shell.run("--version")

    assert (ended.code, ended.out) == (0, f"meshhook {metadata.version('meshhook')}\n")


def test_without_a_command_the_help_is_shown(bare_shell: Shell) -> None:
    ended = bare_shell.run()

    assert ended.code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", ended.out)
    assert "<bool>" not in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(bare_shell: Shell, command: str) -> None:
    ended = bare_shell.run(command, "--help")

    assert (ended.code, ended.err) == (0, "")
    assert f"meshhook {command}" in ended.out
    assert "<bool>" not in ended.out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["frob"], "meshhook: No such command 'frob'. (see meshhook --help)"),
        (["jobs"], "meshhook jobs: Missing command. (see meshhook jobs --help)"),
        (["jobs", "show"], "meshhook jobs show: Missing argument 'MSG_ID'."),
        (["stats", "--wach"], "meshhook stats: No such option: --wach"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    bare_shell: Shell, argv: list[str], line: str
) -> None:
    ended = bare_shell.run(*argv)

    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1


def test_missing_settings_are_one_line_and_exit_code_2(bare_shell: Shell) -> None:
    ended = bare_shell.run("queues", "list")

    assert ended.code == 2
    assert ended.err.startswith("meshhook queues list: SUPABASE_URL and SUPABASE_KEY not set")
    assert ended.err.count("\n") == 1


def test_an_unreachable_project_is_one_line_and_exit_code_3(bare_shell: Shell) -> None:
    ended = bare_shell.run(
        "queues", "list", "--url", "http://127.0.0.1:9", "--key", "sb_secret_xyz"
    )

    assert ended.code == 3
    assert ended.err.startswith("meshhook queues list: meshhook_list_queues: no connection")
    assert ended.err.count("\n") == 1


def test_a_missing_queue_is_one_line_and_exit_code_1(shell: Shell) -> None:
    ended = shell.run("jobs", "show", "1", "--queue", "nowhere")

    assert ended.code == 1
    assert 'The queue "nowhere" does not exist.' in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exits.usage("no"), 2),
        (exits.CommandError("no"), 1),
        (InvalidInputError([Problem("a", "b", "c")]), 2),
        (ConfigurationError("no"), 2),
        (UnreachableError("no", function="f"), 3),
        (InvalidKeyError("no", function="f"), 1),
        (KeyError("no"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exits.exit_code(error) == code


def test_an_enqueue_that_failed_in_part_ends_as_the_call_that_failed() -> None:
    cause = UnreachableError("no", function="f")
    error = PartialEnqueueError(
        "q",
        cause,
        enqueued=[1],
        jobs=[{}],
        delay_seconds=0,
        uncertain=1,
        idempotency_key="k",
        remembered_seconds=60,
    )
    error.__cause__ = cause

    assert exits.exit_code(error) == 3


def test_without_the_extra_one_line_says_which_to_install() -> None:
    code = (
        "import sys; sys.modules['typer'] = None;"
        " from meshhook.cli import main; sys.exit(main(['stats']))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "meshhook: the command line needs the extra cli: pip install 'meshhook[cli]'\n"
    )


def test_a_missing_module_of_another_kind_is_not_taken_for_the_extra() -> None:
    code = "import sys; sys.modules['anyio'] = None; from meshhook.cli import main; main(['stats'])"

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "anyio" in ended.stderr
    assert "extra cli" not in ended.stderr


def test_a_fault_within_is_told_with_a_traceback_and_exit_code_70(
    shell: Shell, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        message = f"fault beside {stack.secret_key}"
        raise LookupError(message)

    monkeypatch.setattr(output, "show_table", broken)

    ended = shell.run("queues", "list")

    assert ended.code == 70
    assert "Traceback" in ended.err
    assert ended.err.endswith("meshhook queues list: fault beside [key]\n")
    assert stack.secret_key not in ended.err


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(shell: Shell) -> None:
    with shell.start("queues", "list") as running:
        assert running.stdout is not None
        running.stdout.close()
        running.wait(timeout=PATIENCE_SECONDS)
        assert running.stderr is not None
        err = running.stderr.read()

    assert running.returncode == 1
    assert err == ""


def on_a_terminal(shell: Shell, **env: str) -> str:
    """Return what a terminal gets of a doctor."""
    terminal = Terminal(shell, "doctor", "--sample-seconds", "0", **env)
    assert terminal.finish() == 0
    return terminal.seen


def test_colours_are_for_terminals_unless_no_color_is_set(shell: Shell) -> None:
    green = "\x1b[32m"

    assert green in on_a_terminal(shell)
    assert green not in on_a_terminal(shell, NO_COLOR="1")
    assert "\x1b" not in shell.run("doctor", "--sample-seconds", "0").out


@pytest.mark.usefixtures("queue_name")
def test_what_others_have_written_cannot_steer_the_terminal(shell: Shell) -> None:
    evil = "\x1b]0;owned\x07[bold]not markup[/bold]\r\x9b31m"
    shell.run("enqueue", job_text(metadata={"evil": evil}))

    ended = shell.run("jobs", "show", "1")

    assert ended.code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.out)
    assert "[bold]not markup[/bold]" in ended.out


def completed(words: str, **env: str) -> list[str]:
    """Return what a shell offers for the last of these words."""
    how = {
        "_MESHHOOK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    ended = subprocess.run(
        COMMAND, env={**os.environ, **how, **env}, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_the_shell_can_complete_commands() -> None:
    assert completed("meshhook que") == ["queues"]


def test_the_shell_can_complete_queues(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, queue_name: str
) -> None:
    """In this process, so that a slow machine gets more than a second."""
    monkeypatch.setattr(complete, "WAIT_SECONDS", 60)
    context: Any = SimpleNamespace(params={"url": stack.url, "key": stack.secret_key})

    there = {queue_name, f"{queue_name}_dlq"}
    assert set(complete.queues(context, queue_name[:-1])) >= there
    assert complete.queues(context, f"{queue_name}x") == []


@pytest.mark.parametrize("env", [{}, {"SUPABASE_KEY": "sb_secret_x"}], ids=["no key", "no project"])
def test_a_completion_that_finds_no_queues_is_silent(env: dict[str, str]) -> None:
    assert completed("meshhook jobs list -q a", SUPABASE_URL="http://127.0.0.1:9", **env) == []


def test_the_shell_can_complete_handlers(app_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app_dir)
    (app_dir / "broken.py").write_text("def nonsense(")

    assert {"tasks:handle", "tasks:plain"} <= set(completed("meshhook worker ta"))
    assert completed("meshhook drain x") == []
