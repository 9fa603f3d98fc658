"""What is installed to build and check MeshHook, and what an audit of it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.security import audit

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

# What decides whether a change is accepted: another version may decide otherwise.
DECIDES = ["check-jsonschema", "import-linter", "mypy", "ruff", "zizmor"]


@pytest.mark.parametrize("tool", DECIDES)
def test_the_tools_that_decide_are_pinned(tool: str) -> None:
    tools = [one for one in PROJECT["dependency-groups"]["dev"] if isinstance(one, str)]
    (wanted,) = (one for one in tools if re.match(rf"{tool}\W", one))

    assert re.fullmatch(rf"{tool}==[\d.]+", wanted)


def test_the_audit_is_pinned() -> None:
    assert re.fullmatch(r"pip-audit==[\d.]+", audit.PIP_AUDIT)


def test_every_dependency_has_a_lowest_version() -> None:
    wanted = PROJECT["project"]["dependencies"] + [
        one
        for extra, ones in PROJECT["project"]["optional-dependencies"].items()
        if extra != "bench"
        for one in ones
    ]

    # The extra `local` has the command line of the package itself.
    others = [one for one in wanted if not one.startswith("meshhook[")]
    assert [one for one in others if not re.search(r">=\d", one)] == []


def test_nothing_is_installed_from_a_url_or_a_path() -> None:
    text = (ROOT / "pyproject.toml").read_text()

    assert re.findall(r'"[\w.-]+ *@ *[^"]+"', text) == []


FOUND = {"name": "bad", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
CLEAN = {"name": "good", "vulns": []}
SKIPPED = {"name": "dark", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("audited", "code", "said"),
    [
        ([CLEAN], audit.CLEAN, "1 packages, 0 vulnerable, 0 unknown"),
        ([CLEAN, FOUND], audit.VULNERABLE, "bad: CVE-1, CVE-2"),
        ([CLEAN, SKIPPED], audit.UNKNOWN, "dark: could not be looked up"),
        ([FOUND, SKIPPED], audit.VULNERABLE, "2 packages, 1 vulnerable, 1 unknown"),
        ([], audit.UNKNOWN, "0 packages"),
    ],
)
def test_the_audit_tells_what_it_knows(
    capsys: pytest.CaptureFixture[str], audited: list[dict[str, Any]], code: int, said: str
) -> None:
    assert audit.told(audited) == code
    assert said in capsys.readouterr().out
