"""The README's code runs when it is pasted into a file, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook.local import LocalStack
from tests.docs.programs import run
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
@pytest.mark.parametrize("snippet", README, ids=str)
def test_a_program_that_is_pasted_runs(
    snippet: Snippet, admin: psycopg.Connection, tmp_path: Path
) -> None:
    enqueue_one(admin)

    assert run(snippet, tmp_path).code == 0


@pytest.mark.usefixtures("environment")
def test_the_first_program_enqueues_what_it_says(admin: psycopg.Connection, tmp_path: Path) -> None:
    # A queue that is made again has seen no idempotency key.
    admin.execute("select public.meshhook_drop_queue('workflow_jobs', drop_dlq => true)")
    admin.execute("select public.meshhook_create_queue('workflow_jobs')")

    ended = run(README[0], tmp_path)

    rows = admin.execute(
        "select msg_id, message -> 'metadata', vt > now() + interval '50 seconds'"
        " from pgmq.q_workflow_jobs order by msg_id"
    ).fetchall()
    assert [row[1:] for row in rows] == [
        ({"source": "webhook", "priority": "high"}, False),
        (None, True),
    ]
    assert ended.output == f"Job enqueued: {rows[0][0]}\n"


@pytest.mark.usefixtures("environment")
def test_the_worker_works_until_it_is_told_to_stop(
    admin: psycopg.Connection, tmp_path: Path
) -> None:
    (worker,) = [s for s in README if s.title == "worker.py"]
    admin.execute("select public.meshhook_purge('workflow_jobs')")
    run_id = enqueue_one(admin)

    ended = run(worker, tmp_path)

    assert (ended.output, ended.code) == (f"Processing job: {run_id}\nProcessed: 1\n", 0)


def test_the_readme_has_the_two_commands_and_code_for_everything() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "make test" in text
    assert "make demo" in text
    assert len(README) >= 6
    assert len({snippet.title for snippet in README}) == len(README)


def test_the_readme_shows_nothing_that_only_the_repository_has() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    # PyPI shows this page, too, and has none of the files beside it.
    assert re.findall(r"!?\[[^]]*\]\((?!https://)[^)]*\)", text) == []
