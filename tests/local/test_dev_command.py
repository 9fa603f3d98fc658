"""`meshhook dev`: what it prints, how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "meshhook.cli", "dev"]
NAMES = [
    "API_URL",
    "DB_URL",
    "PUBLISHABLE_KEY",
    "SECRET_KEY",
    "ANON_KEY",
    "SERVICE_ROLE_KEY",
    "JWT_SECRET",
]


def read_env(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read the lines that the command prints once it is ready."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in NAMES]
    pairs = [re.fullmatch(r'(\w+)="(.*)"\n', line) for line in lines]
    return {pair[1]: pair[2] for pair in pairs if pair}


@pytest.fixture
def migrations(reachable_folder: Path) -> Path:
    folder = reachable_folder / "dev-migrations"
    folder.mkdir(exist_ok=True)
    (folder / "1_hello.sql").write_text(
        "create function public.hello() returns text language sql as $$ select 'hello' $$;"
    )
    return folder


@pytest.fixture
def process(migrations: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, "--migrations", str(migrations)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_settings_serves_and_stops_in_order(
    process: subprocess.Popen[str], stop_signal: signal.Signals
) -> None:
    env = read_env(process)
    assert list(env) == NAMES

    answer = httpx.post(
        f"{env['API_URL']}/rest/v1/rpc/hello", headers={"apikey": env["SECRET_KEY"]}
    )
    assert answer.json() == "hello"
    with psycopg.connect(env["DB_URL"]) as connection:
        assert connection.execute("select current_user").fetchone() == ("postgres",)

    process.send_signal(stop_signal)
    rest, hints = process.communicate(timeout=30)

    assert process.returncode == 0
    assert rest == ""
    assert env["API_URL"] in hints
    with pytest.raises(httpx.ConnectError):
        httpx.get(env["API_URL"])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(env["DB_URL"])


def test_a_taken_port_is_one_clear_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False
        )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"meshhook dev: port {port} of 127.0.0.1 is taken\n"


def test_a_taken_database_port_is_one_clear_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ended = subprocess.run(
            [*COMMAND, "--database-port", str(port)], capture_output=True, text=True, check=False
        )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"meshhook dev: Postgres did not start on port {port}")
    assert ended.stderr.count("\n") == 1


def test_a_broken_migration_is_one_line_that_names_file_and_line(migrations: Path) -> None:
    (migrations / "2_broken.sql").write_text("select 1;\nselect nonsense;\n")
    try:
        ended = subprocess.run(
            [*COMMAND, "--migrations", str(migrations)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        (migrations / "2_broken.sql").unlink()

    assert ended.returncode == 1
    place = f"{migrations / '2_broken.sql'}:2"
    assert ended.stderr == f'meshhook dev: {place}: column "nonsense" does not exist\n'
