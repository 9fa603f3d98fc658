"""The reference of the SQL says what the catalogue of a real database says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs import catalogue
from tests.docs.snippets import DOCS

if TYPE_CHECKING:
    import psycopg

PAGE = (DOCS / "sql-reference.md").read_text(encoding="utf-8")
FUNCTIONS = re.findall(r"^### (meshhook_\w+)$", PAGE, re.MULTILINE)
VIEWS = ("queue_monitoring", "job_statistics")


def section(name: str) -> str:
    """Return what stands under the heading of a function or a view."""
    return re.split(r"^#{2,3} ", PAGE.split(f"\n### {name}\n")[1], flags=re.MULTILINE)[0]


def told_roles(name: str) -> str:
    """Return what a function's section says of rights."""
    return section(name).split("- **Rights**: ")[1].split("\n\n")[0]


def test_every_function_is_described_once(admin: psycopg.Connection) -> None:
    assert sorted(FUNCTIONS) == sorted(catalogue.signatures(admin))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_signature_is_the_catalogue_s(name: str, admin: psycopg.Connection) -> None:
    assert f"```text\n{catalogue.signatures(admin)[name]}\n```" in section(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_section_tells_answer_and_rights(name: str) -> None:
    assert "- **Answer**: " in section(name)
    assert "`service_role`" in told_roles(name)


def test_the_rights_are_those_that_are_told(admin: psycopg.Connection) -> None:
    """What a user may call only after an opt-in is the service role's alone before it."""
    granted = catalogue.rights(admin)

    assert granted == {name: {"service_role"} for name in FUNCTIONS}
    assert [name for name in FUNCTIONS if "`authenticated`" in told_roles(name)] == [
        "meshhook_user_enqueue"
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_names_a_queue_tells_its_errors(
    name: str, admin: psycopg.Connection
) -> None:
    takes_arguments = "(\n" in catalogue.signatures(admin)[name]
    tells_errors = "- **Errors**: " in section(name)

    assert tells_errors == takes_arguments


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_columns_that_are_told(name: str, admin: psycopg.Connection) -> None:
    told = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section(name), re.MULTILINE)

    assert told == catalogue.views(admin)[name]


def test_there_is_no_other_view(admin: psycopg.Connection) -> None:
    assert set(catalogue.views(admin)) == set(VIEWS)
