"""The README's code runs, and does what it says."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook.local import LocalStack
from tests.docs.snippets import ROOT, Snippet, snippets
from tests.jobs import job_data

README = snippets(ROOT / "README.md")


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README says to set."""
    monkeypatch.setenv("SUPABASE_URL", stack.url)
    monkeypatch.setenv("SUPABASE_KEY", stack.secret_key)


def enqueue_one(admin: psycopg.Connection) -> str:
    """Put a job in the guide's queue and return its run."""
    data = job_data()
    message = Jsonb([data])
    admin.execute("select public.meshhook_enqueue('workflow_jobs', %s)", [message])
    return str(data["run_id"])


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("snippet", [s for s in README if not s.is_script], ids=str)
async def test_a_snippet_runs(snippet: Snippet, admin: psycopg.Connection) -> None:
    enqueue_one(admin)

    await snippet.run()


@pytest.mark.usefixtures("environment")
async def test_the_first_snippet_enqueues_what_it_says(
    admin: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = await README[0].run()

    row = admin.execute(
        "select message from pgmq.q_workflow_jobs where msg_id = %s", [variables["result"].msg_id]
    ).fetchone()
    assert row is not None
    assert row[0]["metadata"] == {"source": "webhook", "priority": "high"}
    assert capsys.readouterr().out == f"Job enqueued: {variables['result'].msg_id}\n"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("snippet", [s for s in README if s.is_script], ids=str)
def test_the_worker_works_until_it_is_told_to_stop(
    snippet: Snippet, admin: psycopg.Connection, tmp_path: Path
) -> None:
    admin.execute("select public.meshhook_purge('workflow_jobs')")
    run_id = enqueue_one(admin)
    script = tmp_path / "worker.py"
    script.write_text(snippet.code, encoding="utf-8")

    with subprocess.Popen(
        [sys.executable, "-u", str(script)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        first = worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        rest = worker.stdout.read()

    assert (first, rest) == (f"Processing job: {run_id}\n", "Processed: 1\n")
    assert worker.returncode == 0


def test_the_readme_has_the_two_commands_and_code_for_everything() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "make test" in text
    assert "make demo" in text
    assert len(README) >= 6
    assert sum(snippet.is_script for snippet in README) == 1
