"""`meshhook dev`: seeds and watching; what else it does is tested beside the stack."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.cli.conftest import Shell
from tests.cli.test_worker import line_with

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres can pass through also when it runs as another account."""
    path = Path(tempfile.mkdtemp(prefix="dev-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def running(shell: Shell, *argv: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command, and read the settings that it prints once it is ready."""
    with shell.start("dev", *argv) as process:
        try:
            assert process.stdout is not None
            env: dict[str, str] = {}
            while "JWT_SECRET" not in env:
                pair = re.fullmatch(r'(\w+)="(.*)"\n', process.stdout.readline())
                assert pair
                env[pair[1]] = pair[2]
            yield process, env
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_seed_runs_in_a_new_database_alone(bare_shell: Shell, folder: Path) -> None:
    seed = folder / "seed.sql"
    seed.write_text(
        "create table if not exists public.seeded (n int);\n"
        "insert into public.seeded values (1);\n"
        "select public.meshhook_enqueue('workflow_jobs', '[{\"run_id\": \"seed\"}]');\n"
    )
    argv = ("--data-dir", str(folder / "data"), "--seed", str(seed))

    for _ in range(2):
        with running(bare_shell, *argv) as (_, env), psycopg.connect(env["DB_URL"]) as connection:
            row = connection.execute(
                "select (select count(*) from public.seeded),"
                " (select count(*) from pgmq.q_workflow_jobs)"
            ).fetchone()
            assert row == (1, 1)


def test_a_seed_that_fails_ends_the_command(bare_shell: Shell, folder: Path) -> None:
    seed = folder / "seed.sql"
    seed.write_text("select nonsense;")

    ended = bare_shell.run_process("dev", "--seed", str(seed))

    assert ended.code == 1
    assert ended.out == ""
    assert f"the seed {seed} failed" in ended.err
    assert 'column "nonsense" does not exist' in ended.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--seed", "none.sql"), "--seed none.sql cannot be read"),
        (("--watch",), "--watch needs --migrations DIR"),
        (("--port", "70000"), "--port"),
    ],
)
def test_an_option_that_is_not_usable_is_wrong_usage(
    bare_shell: Shell, argv: tuple[str, ...], message: str
) -> None:
    ended = bare_shell.run_process("dev", *argv)

    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_watching_applies_what_is_added_and_tells_what_is_broken(
    bare_shell: Shell, folder: Path
) -> None:
    migrations = folder / "migrations"
    migrations.mkdir()
    first = migrations / "1_first.sql"
    first.write_text("create function public.hello() returns text language sql as $$select 'a'$$;")
    with running(bare_shell, "--migrations", str(migrations), "--watch") as (process, env):
        second = migrations / "2_second.sql"
        second.write_text("select nonsense;")
        line_with(process.stderr, '2_second.sql:1: column "nonsense" does not exist')

        second.write_text(
            "create function public.again() returns text language sql as $$select 'b'$$;"
        )
        line_with(process.stderr, "Applied 2_second.sql.")
        answer = httpx.Response(404)
        while answer.status_code == 404:  # the API notices a little later
            url = f"{env['API_URL']}/rest/v1/rpc/again"
            answer = httpx.post(url, headers={"apikey": env["SECRET_KEY"]})
        assert answer.json() == "b"

        first.write_text("-- changed")
        line_with(process.stderr, "1_first.sql has been applied before: start anew")


def test_without_the_extra_one_line_says_which_to_install() -> None:
    code = (
        "import importlib.util as util, sys\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'pgmq' else real(name, *more)\n"
        "from meshhook.cli import main\n"
        "sys.exit(main(['dev']))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr == (
        "meshhook dev: the embedded stack needs pgmq: pip install 'meshhook[local]'\n"
    )
