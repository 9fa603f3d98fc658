"""Which tests run by default, and which only with `--all`.

`make test` runs the fast tier: every promise and every layer, on the event loop and the PGMQ that
most people have. `make test-all`, and any run with CI=true, adds the rest. This module is the only
place that tells them apart. A run that names files or folders runs all of their tests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

LEFT_OUT = {
    "benchmarks": "about numbers that only `make bench` makes",
    "cli/test_dev.py": "a stack of its own for each test",
    "cli/doctor/test_doctor.py": "stacks of its own",
    "cli/doctor/test_facts.py": "random answers of a project",
    "cli/doctor/test_faults.py": "breaks and repairs a project for each test",
    "cli/test_enqueue.py": "a process for each pipe",
    "cli/test_stats.py": "processes and stacks of its own",
    "cli/test_worker.py": "a process for each test",
    "compatibility": "for a message that only CI's Node.js reads",
    "docs/test_pages.py": "each page of the documentation as a program",
    "docs/test_site.py": "builds the site",
    "examples": "each example as a program",
    "local/test_binaries.py": "about the machines of others",
    "local/test_cleanup.py": "a stack of its own for each test",
    "local/test_dev_command.py": "a stack of its own for each test",
    "local/test_outages.py": "kills and restarts Postgres",
    "local/test_stack.py": "a stack of its own for each test",
    "local/test_template.py": "a stack of its own for each test",
    "network": "cuts real connections, and waits for what notices",
    "packaging": "builds the wheel and installs it",
    "properties": "thousands of random inputs",
    "security/test_injection.py": "hostile input for every function",
    "security/test_licences.py": "about what is installed",
    "security/test_secrets.py": "a process for each way to leak",
    "security/test_supply_chain.py": "about what is installed",
    "soak": "the soak test's own tests",
    "sql/test_churn.py": "thousands of jobs",
    "sql/test_hostile_names.py": "every function with every name",
    "sql/test_lock_order.py": "every pair of functions that lock",
    "sql/test_migrations.py": "a database for each test",
    "sql/test_old_pgmq.py": "about PGMQ that is not the wheel's",
    "testing/test_docs.py": "pytest in pytest, with a stack for each test",
    "testing/test_plugin.py": "pytest in pytest, with a stack for each test",
    "typing": "runs mypy",
    "unit/test_tiers.py": "pytest in pytest",
    "upgrade": "a database for each test",
    "worker/test_batches.py": "thousands of jobs, in time",
}
"""Folders and files that the fast tier leaves out, and why they are slow or special."""

FAST_PARAMETERS = {"anyio_backend": "asyncio", "lane": "asyncio", "database": "plain"}
"""Of these parameters, the value that the fast tier tests with."""

WITH_EVERY_PARAMETER = {
    "test_a_method_is_one_post_of_its_parameters",
    "test_a_call_without_a_request_id_names_the_same_receipts_or_settings_again",
    "test_every_method_waits_an_outage_out",
}
"""The tests that the fast tier, too, runs with each of them."""


def add_option(parser: pytest.Parser) -> None:
    """Add `--all`."""
    parser.addoption(
        "--all",
        action="store_true",
        dest="all_tests",
        help="run what the fast tier leaves out, too (also with CI=true)",
    )


class Tier:
    """Leaves out what is not in the fast tier, and says so at the end.

    Args:
        config: The configuration of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._is_fast = _is_fast_run(config)
        self._cases = 0

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out folders and files, without an import of what is in them."""
        if not self._is_fast or _name(collection_path) not in LEFT_OUT:
            return None
        return True

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out cases that differ from another one in their parameters."""
        if not self._is_fast:
            return
        others = [item for item in items if not _is_fast(item)]
        self._cases = len(others)
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _is_fast(item)]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the process that reports what this one has left out."""
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["left_out_cases"] = self._cases

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker process, which is always called with paths, what was asked for here."""
        node.workerinput["is_fast"] = self._is_fast

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker process has left out; all of them collect the same."""
        output: Mapping[str, int] = getattr(node, "workeroutput", {})
        self._cases = output.get("left_out_cases", self._cases)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left out, and how to run it."""
        if self._is_fast:
            for line in self._summary():
                terminalreporter.write_line(line)

    def _summary(self) -> list[str]:
        files = sum(len(_test_files(TESTS / name)) for name in LEFT_OUT)
        folders = [name for name in LEFT_OUT if not name.endswith(".py")]
        return [
            f"left out: {files} test files ({', '.join(folders)}, and some of other folders),",
            f"and {self._cases} cases on trio, of the sync services or on older PGMQ.",
            "`make test-all` runs everything.",
        ]


def _is_fast_run(config: pytest.Config) -> bool:
    if (given := getattr(config, "workerinput", None)) is not None:
        return bool(given["is_fast"])
    is_everything = config.option.all_tests or _is_ci() or _has_running_stack()
    return not is_everything and _was_called_without_paths(config)


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"true", "1"}


def _has_running_stack() -> bool:
    return "MESHHOOK_TEST_URL" in os.environ  # it decides what is left out; see tests.running_stack


def _was_called_without_paths(config: pytest.Config) -> bool:
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS


def _name(path: Path) -> str:
    return path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""


def _test_files(path: Path) -> list[Path]:
    return list(path.rglob("test_*.py")) if path.is_dir() else [path]


def _is_fast(item: pytest.Item) -> bool:
    call: Any = getattr(item, "callspec", None)
    if call is None or getattr(item, "originalname", "") in WITH_EVERY_PARAMETER:
        return True
    return all(call.params.get(name, value) == value for name, value in FAST_PARAMETERS.items())
