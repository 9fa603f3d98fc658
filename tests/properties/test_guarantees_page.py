"""The page of guarantees names tests; each of them exists, and no promise goes without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
PROMISES = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:11]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())

    names = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names


def test_every_test_that_is_mentioned_is_named_in_full() -> None:
    assert len(re.findall(r"`tests/", PAGE)) == len(re.findall(r"`tests/[\w/]+\.py::\w+`", PAGE))


@pytest.mark.parametrize("number", range(1, 11))
def test_every_promise_has_its_words_its_tests_and_its_limits(number: int) -> None:
    section = PROMISES[number - 1]

    title = re.match(rf"P{number}\. (.+)", section)
    assert title is not None
    assert f"> **{title[1]}.**" in section
    assert "\n**For you:** " in section
    assert "\n- `tests/" in section
    assert "\n**Not promised:** " in section
