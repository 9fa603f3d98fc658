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

from meshhook.cli.env_writing import updated, write_env
from tests.cli.conftest import PATIENCE_SECONDS, Shell
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
            process.communicate(timeout=PATIENCE_SECONDS)


def test_the_settings_are_written_under_the_names_that_the_sdk_reads(
    bare_shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".env").write_text("MINE='a # b' # c\nexport SUPABASE_URL=http://127.0.0.1:9\n")

    with running(bare_shell, "--write-env", ".env") as (process, env):
        pasted = line_with(process.stderr, "export SUPABASE_URL=")
        line_with(process.stderr, "Wrote SUPABASE_URL and SUPABASE_KEY to .env.")
        line_with(process.stderr, "git does not ignore .env")
        listed = bare_shell.run("queues", "list", "--json")

    url, key = env["API_URL"], env["SECRET_KEY"]
    assert listed.code == 0
    assert pasted.strip() == f"export SUPABASE_URL={url} SUPABASE_KEY={key}"
    assert Path(".env").read_text() == (
        f'MINE=\'a # b\' # c\nexport SUPABASE_URL="{url}"\nSUPABASE_KEY="{key}"\n'
    )


def test_a_file_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    write_env(tmp_path / "new.env", "http://127.0.0.1:9", "sb_secret_x")

    assert (tmp_path / "new.env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", 'A="1"\n'),
        ("B=2", 'B=2\nA="1"\n'),
        ("A=0\r\nB=2\r\n", 'A="1"\r\nB=2\r\n'),
        ("# A=0\n\n  A = '0\n0' # c\nB=2", '# A=0\n\n  A ="1"\nB=2'),
        ("A=0\nB=2\nA=3", 'A="1"\nB=2\nA="1"'),
    ],
)
def test_other_lines_stay_as_they_are(text: str, after: str) -> None:
    assert updated(text, {"A": "1"}) == after


@pytest.mark.parametrize(
    "text",
    [
        "SUPABASE_URL=https://x.supabase.co\n",
        "SUPABASE_KEY=sb_secret_x\n",
        "SUPABASE_URL=127.0.0.1\n",
    ],
)
def test_the_settings_of_another_project_are_not_overwritten(bare_shell: Shell, text: str) -> None:
    Path(".env").write_text(text)

    ended = bare_shell.run("dev", "--write-env", ".env")

    assert ended.code == 2
    assert "may belong to a project that is not local" in ended.err
    assert Path(".env").read_text() == text


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
