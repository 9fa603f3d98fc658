"""Every error that MeshHook can give stands in the troubleshooting page, with its fix."""

from __future__ import annotations

import re

import pytest

from meshhook import exceptions
from meshhook._http import advice
from meshhook._inputs import encoding
from meshhook.exceptions import MeshHookError
from tests.docs import messages
from tests.docs.snippets import DOCS

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
# In a paragraph, a text may go on in the next line.
WORDS = " ".join(PAGE.split())

CLASSES = [
    name
    for name in exceptions.__all__
    if issubclass(getattr(exceptions, name), MeshHookError)
]  # fmt: skip

ADVICE = [
    *(text for name, text in vars(advice).items() if name.isupper() and isinstance(text, str)),
    *advice.BY_CLASS.values(),
]
SDK = messages.sdk_messages()
SQL = messages.sql_messages()


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_a_section(name: str) -> None:
    assert f"\n### {name}\n" in PAGE


@pytest.mark.parametrize("code", sorted(messages.sql_codes()))
def test_every_code_of_the_sql_has_a_section(code: str) -> None:
    assert f"\n### {code}\n" in PAGE


@pytest.mark.parametrize("text", SDK)
def test_every_text_of_the_sdk_is_explained(text: str) -> None:
    assert f"`{text}`" in PAGE, f"it is in {SDK[text]}"


@pytest.mark.parametrize("text", SQL)
def test_every_text_of_the_sql_is_explained(text: str) -> None:
    assert f"`{text}`" in PAGE, f"it is in {SQL[text]}"


@pytest.mark.parametrize("fix", sorted({*ADVICE} - {advice.INSTALL_AGAIN}))
def test_every_fix_of_a_failed_call_is_quoted(fix: str) -> None:
    assert f'"{fix}"' in WORDS


@pytest.mark.parametrize(
    "fix",
    [
        *encoding.ADVICE.values(),
        encoding.SCALAR_ADVICE,
        encoding.SET_ADVICE,
        encoding.ANY_ADVICE,
        encoding.NO_NUMBER,
    ],
)
def test_every_fix_of_a_value_that_is_not_sent_is_explained(fix: str) -> None:
    assert f"`{fix}`" in PAGE


def test_the_texts_are_found_in_the_code() -> None:
    """A reader of texts that finds none would hold every page to be complete."""
    assert len(ADVICE) > 20
    assert len(SDK) > 60
    assert len(SQL) > 20
    assert messages.sql_codes() >= {"MH001", "MH002", "MH003"}
    assert all(re.search("[a-z]", text) for text in SQL)
