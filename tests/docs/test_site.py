"""The site builds strictly: each page is in the navigation, each link and anchor goes somewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import meshhook
from meshhook import local, monitoring, serverless, testing
from tests.docs.snippets import DOCS, ROOT

REFERENCE = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("reference/*.md"))
DESCRIBED = set(re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE))
PUBLIC = sorted(
    f"{module.__name__}.{name}"
    for module in (meshhook, serverless, monitoring, local, testing)
    for name in module.__all__
)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    shown = {path.parent.name: path.read_text() for path in tmp_path.rglob("index.html")}
    assert "How long a claimed job stays hidden" in shown["worker"]
    assert [name for name, html in shown.items() if "::</p>" in html] == []
    benchmarks = shown["benchmarks"]
    pictures = {path.name for path in (tmp_path / "benchmarks").glob("*.svg")}
    assert len(pictures) == benchmarks.count("<h2") - 2  # but the targets and where
    assert all(f'src="{name}"' in benchmarks for name in pictures)
    # The theme fetches the script for Mermaid's diagrams from another host.
    loads = re.compile(r'class="mermaid"|src="https?:|<link [^>]*href="https?:')
    assert [name for name, html in shown.items() if loads.search(html)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    described = {path.rpartition(".")[2] for path in DESCRIBED}

    assert name.rpartition(".")[2] in described


# The tree of the errors, and what a drain can be told, though nobody needs its name.
@pytest.mark.parametrize(
    "path", sorted(DESCRIBED - {"meshhook.exceptions", "meshhook.worker.draining.DrainOptions"})
)
def test_nothing_private_is_in_the_reference(path: str) -> None:
    module, _, name = path.rpartition(".")

    assert "._" not in path
    assert name in getattr(importlib.import_module(module), "__all__", [name])


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "docs/release-checklist.md"])
def test_a_target_that_is_named_is_in_the_makefile(path: str) -> None:
    named = set(re.findall(r"`make ([a-z-]+)`", (ROOT / path).read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert named
    assert named <= targets


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_file_of_the_repository_points_to_is_there(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"\]\((?!https?:)([^)#]+)", text))
    named |= set(re.findall(r"`((?:docs|examples|tests|meshhook|supabase)/[\w./-]+)`", text))

    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_index_of_decisions_has_each_under_its_heading() -> None:
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", index, re.MULTILINE)
    files = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))

    assert [file for _, file in listed] == files
    for heading, file in listed:
        assert file.startswith(f"{int(heading.partition('.')[0]):04}-")
        text = (DOCS / "decisions" / file).read_text(encoding="utf-8")
        assert text.startswith(f"# {heading}\n")
