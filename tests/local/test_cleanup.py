"""Nothing outlives the process that started a stack, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meshhook_local.folders import make_run_folder
from meshhook_local.waiting import wait_until

from .processes import alive, children, command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """
import json, os, sys
from meshhook.local import LocalStack
from tests.local.processes import children
stack = LocalStack(apply_meshhook=False)
stack.start()
family = children(os.getpid())
print(json.dumps({"family": family, "folder": str(stack._postgres.run_folder)}), flush=True)
"""
WAIT = "sys.stdin.read()\n"
FORK = """
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
"""


@contextlib.contextmanager
def owner(code: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run a process that starts a stack and tells of its children."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        process.kill()


def everything_is_gone(told: dict[str, Any], *, timeout_seconds: float = 20) -> bool:
    return wait_until(
        lambda: not alive(told["family"]) and not Path(told["folder"]).exists(),
        timeout_seconds=timeout_seconds,
    )


@pytest.mark.parametrize("code", [START + WAIT, START + FORK + WAIT], ids=["alone", "forked"])
def test_when_the_owner_is_killed_everything_goes(code: str) -> None:
    with owner(code) as (process, told):
        assert len(told["family"]) > 3
        assert alive(told["family"]) == told["family"]

        process.kill()

        assert everything_is_gone(told)


def test_when_the_owner_fails_everything_goes() -> None:
    with owner(START + "raise SystemExit(3)") as (process, told):
        assert process.wait(timeout=20) == 3

        assert everything_is_gone(told)


@pytest.mark.on_linux
def test_when_the_guard_is_killed_the_database_goes() -> None:
    with owner(START + WAIT) as (_, told):
        guards = [pid for pid in told["family"] if "guard.py" in command_line(pid)]
        database = [pid for pid in told["family"] if "postgres" in command_line(pid)]
        assert len(guards) == 1
        assert len(database) > 1

        os.kill(guards[0], signal.SIGKILL)

        assert wait_until(lambda: not alive(database), timeout_seconds=20)


@pytest.mark.usefixtures("stack")
def test_ctrl_c_does_not_reach_the_database_before_its_owner() -> None:
    family = children(os.getpid())

    assert len(family) > 3
    assert os.getpgid(0) not in {os.getpgid(pid) for pid in family}


def test_a_folder_that_was_left_behind_is_removed_by_the_next_start() -> None:
    with owner(START + WAIT) as (process, told):
        # The guard is dead first, so nobody is left to tidy up.
        guards = [pid for pid in told["family"] if "guard.py" in command_line(pid)]
        for pid in [*guards, *told["family"]]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        assert len(guards) == 1
        assert wait_until(lambda: not alive(told["family"]), timeout_seconds=20)
        assert Path(told["folder"]).exists()

        make_run_folder().remove()

        assert not Path(told["folder"]).exists()


def test_a_folder_in_use_is_left_alone() -> None:
    used = make_run_folder()

    make_run_folder().remove()

    assert used.path.exists()
    used.remove()
    assert not used.path.exists()
