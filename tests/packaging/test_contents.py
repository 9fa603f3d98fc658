"""What the wheel and the sdist hold, and what they do not."""

from __future__ import annotations

import email
import tomllib
from email.message import Message
from pathlib import Path

import pytest

from meshhook.migrations import migration_file
from sql.generate import MIGRATIONS, path_of
from tests.docs.snippets import ROOT
from tests.packaging.conftest import Distributions, contents

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def files(distributions: Distributions) -> dict[str, bytes]:
    return distributions.files()


@pytest.fixture(scope="module")
def metadata(files: dict[str, bytes]) -> Message:
    (text,) = [content for name, content in files.items() if name.endswith("/METADATA")]
    return email.message_from_bytes(text)


def test_the_wheel_of_the_sdist_is_that_of_the_checkout(distributions: Distributions) -> None:
    assert contents(distributions.wheel) == contents(distributions.wheel_of_the_tree)


def test_the_wheel_holds_the_packages_and_nothing_else(files: dict[str, bytes]) -> None:
    version = PROJECT["version"]

    assert {name.split("/")[0] for name in files} == {
        "meshhook",
        "meshhook_local",
        "pytest_meshhook",
        f"meshhook-{version}.dist-info",
    }
    kinds = {Path(name).suffix for name in files if not name.startswith("meshhook-")}
    assert kinds == {".py", ".sql", ".typed"}
    names = {Path(name).name for name in files}
    assert not [name for name in names if name.startswith(("test_", "bench", "conftest"))]


def test_the_wheel_holds_every_module(files: dict[str, bytes]) -> None:
    expected = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for package in ("meshhook", "meshhook_local", "pytest_meshhook")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in {".py", ".sql", ".typed"}
    }

    assert {name: files.get(name) for name in expected} == expected
    packages = ("meshhook", "meshhook_local", "pytest_meshhook")
    assert {f"{package}/py.typed" for package in packages} <= expected.keys()


def test_the_wheel_holds_the_migration_of_this_release_alone(files: dict[str, bytes]) -> None:
    path = path_of(PROJECT["version"], MIGRATIONS)

    found = {name: text for name, text in files.items() if name.startswith("meshhook/sql/")}
    assert found == {f"meshhook/sql/{path.name}": path.read_bytes()}
    assert path == migration_file()


def test_the_metadata_says_what_the_project_says(
    metadata: Message, files: dict[str, bytes]
) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("meshhook", PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert "make test" in str(metadata.get_payload())
    assert metadata.get_all("Project-URL") == [
        f"{name}, {url}" for name, url in PROJECT["urls"].items()
    ]
    (entry_points,) = [text for name, text in files.items() if name.endswith("entry_points.txt")]
    assert b"[console_scripts]\nmeshhook = meshhook.cli:main" in entry_points
    assert b"[pytest11]\nmeshhook = pytest_meshhook" in entry_points
    assert any(name.endswith("licenses/LICENSE") for name in files)


def test_the_sdist_holds_what_it_takes_to_build_and_test(distributions: Distributions) -> None:
    names = set(distributions.sdist_names())

    assert names >= {
        *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "PKG-INFO"),
        *("meshhook/__init__.py", "pytest_meshhook/__init__.py", "examples/tasks.py"),
        *("tests/conftest.py", "docs/testing.md", "supabase/migrations/" + newest_migration()),
    }


def newest_migration() -> str:
    return max((ROOT / "supabase" / "migrations").glob("*.sql")).name


def test_the_sdist_holds_nothing_of_this_machine(distributions: Distributions) -> None:
    parts = {part for name in distributions.sdist_names() for part in name.split("/")}

    assert not parts & {".venv", ".env", ".git", "__pycache__", ".pytest_cache", "dist", "site"}
    assert not [part for part in parts if part.endswith((".pyc", ".log"))]
