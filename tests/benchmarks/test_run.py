"""The whole way, on a database that is in use: results come out, and nothing stays behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.__main__ import main
from meshhook.local import LocalStack

LEFT = """
    select
      (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname !~ '^pg_'),
      (select count(*) from pg_namespace where nspname !~ '^pg_'),
      (select count(*) from pg_proc where pronamespace = 'public'::regnamespace),
      (select count(*) from pgmq.meta),
      (select count(*) from meshhook.queues),
      (select count(*) from meshhook.jobs),
      (select count(*) from meshhook.totals),
      (select count(*) from meshhook.requests where expires_at > now())
"""


def _run(stack: LocalStack, output: Path, *scenarios: str) -> Any:
    chosen = [argument for name in scenarios for argument in ("--only", name)]
    where = ["--url", stack.url, "--key", stack.secret_key, "--database-url", stack.database_url]
    main(["--quick", "--output", str(output), *chosen, *where])
    return json.loads((output / "results.json").read_text())


def test_the_counts_meet_their_targets_and_nothing_is_left(
    stack: LocalStack, admin: psycopg.Connection, tmp_path: Path
) -> None:
    before = admin.execute(LEFT).fetchone()

    results = _run(stack, tmp_path, "round_trips")

    (found,) = results["results"]
    assert found["name"] == "round_trips"
    assert [verdict["met"] for verdict in found["verdicts"]] == [True, True]
    assert (tmp_path / "README.md").read_text().startswith("# Benchmarks")
    assert (tmp_path / "round_trips.svg").exists()
    assert admin.execute(LEFT).fetchone() == before


def test_a_scenario_with_peers_leaves_nothing_behind(
    stack: LocalStack, admin: psycopg.Connection, tmp_path: Path
) -> None:
    before = admin.execute(LEFT).fetchone()

    results = _run(stack, tmp_path, "drain", "shared_pool")

    names = {row["series"] for row in results["results"][0]["rows"]}
    assert names == {"MeshHook", "pgqueuer", "pgqueuer, 5 managers", "procrastinate", "pgmq-py"}
    assert admin.execute(LEFT).fetchone() == before


def test_a_target_is_named_in_full_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--url", "http://127.0.0.1:1"])

    assert "--url, --key and --database-url go together" in capsys.readouterr().err
