"""The fast tier says what it leaves out, and has every promise and all that was asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiers

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest
from tests.tiers import Tier, add_option

def pytest_addoption(parser):
    add_option(parser)

def pytest_configure(config):
    config.pluginmanager.register(Tier(config), "tier")
"""
CASES = """
import pytest

@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_both(anyio_backend):
    pass

@pytest.mark.parametrize("lane", ["asyncio", "trio", "sync"])
def test_every_method_waits_an_outage_out(lane):
    pass
"""
SAYS = re.compile(r"left out: (\d+) test files .*\nand (\d+) cases")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with these tiers and six cases, of which the fast tier has four."""
    root = tmp_path_factory.mktemp("project")
    (root / "tests" / "network").mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    (root / "tests" / "__init__.py").touch()
    (root / "tests" / "conftest.py").write_text(CONFTEST)
    shutil.copy(tiers.__file__, root / "tests")
    (root / "tests" / "test_cases.py").write_text(CASES)
    (root / "tests" / "network" / "test_left_out.py").write_text("def test_slow(): pass")
    return root


def run(project: Path, *argv: str, **env: str) -> str:
    """Run pytest in the project and return what it says."""
    plugins = ("-p", "no:meshhook", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *argv],
        cwd=project,
        env={**os.environ, "CI": "", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("argv", [(), ("-n", "1")], ids=["here", "in a worker process"])
def test_a_run_without_paths_is_the_fast_tier_and_says_what_it_left_out(
    project: Path, argv: tuple[str, ...]
) -> None:
    output = run(project, *argv)

    said = SAYS.search(output)
    assert said is not None
    assert said[2] == "1"
    assert "`make test-all` runs everything" in output
    assert "4 passed" in output


def test_everything_runs_when_it_is_asked_for(project: Path) -> None:
    output = run(project, "--all", "-n", "1")

    assert "6 passed" in output
    assert "left out" not in output


def test_everything_runs_in_ci(project: Path) -> None:
    assert "6 passed" in run(project, "-n", "1", CI="true")


def test_a_file_that_is_named_runs_with_all_of_its_tests(project: Path) -> None:
    output = run(project, "tests/test_cases.py", "tests/network", "-n", "1")

    assert "6 passed" in output
    assert "left out" not in output


@pytest.mark.parametrize("name", tiers.LEFT_OUT)
def test_what_is_left_out_is_there(name: str) -> None:
    assert list(tiers.TESTS.joinpath(name).rglob("test_*.py")) or name.endswith(".py")
    assert tiers.TESTS.joinpath(name).exists()


def promises() -> dict[str, set[str]]:
    """Return the test files that the page of guarantees names for each promise."""
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^## (?=P\d)", text, flags=re.MULTILINE)
    return {
        section.partition(".")[0]: set(re.findall(r"tests/([\w/]+\.py)", section))
        for section in sections
    }


@pytest.mark.parametrize("promise", [f"P{number}" for number in range(1, 11)])
def test_every_promise_has_tests_in_the_fast_tier(promise: str) -> None:
    files = promises()[promise]

    fast = {name for name in files if not {name, name.partition("/")[0]} & set(tiers.LEFT_OUT)}

    assert fast
