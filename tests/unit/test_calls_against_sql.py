"""Each call against its function in the migrations: the names of arguments are the wire format."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from tests.unit.builders import BUILDERS, Built

MIGRATIONS = Path(__file__).parents[2] / "supabase" / "migrations"
FUNCTION = re.compile(
    r"create or replace function public\.(?P<name>\w+)\((?P<arguments>.*?)\)\s+returns", re.DOTALL
)


@attrs.frozen
class Signature:
    required: set[str]
    optional: set[str]


def signatures() -> dict[str, Signature]:
    """Return the signature of each public function of the migrations."""
    found: dict[str, Signature] = {}
    for file in sorted(MIGRATIONS.glob("*.sql")):
        for match in FUNCTION.finditer(file.read_text()):
            arguments = [part.split() for part in match["arguments"].split(",") if part.strip()]
            found[match["name"]] = Signature(
                required={words[0] for words in arguments if "default" not in words},
                optional={words[0] for words in arguments if "default" in words},
            )
    return found


SIGNATURES = signatures()


def test_every_function_has_a_builder() -> None:
    assert {built.function for built in BUILDERS} == set(SIGNATURES)


@pytest.mark.parametrize("built", BUILDERS, ids=lambda built: built.name)
def test_a_call_names_only_arguments_that_its_function_has(built: Built) -> None:
    signature = SIGNATURES[built.function]

    assert set(built.make().params) <= signature.required | signature.optional


@pytest.mark.parametrize("built", BUILDERS, ids=lambda built: built.name)
def test_a_call_gives_every_argument_that_has_no_default(built: Built) -> None:
    assert SIGNATURES[built.function].required <= set(built.make().params)


def test_every_function_that_takes_a_request_id_gets_one() -> None:
    takes = {name for name, signature in SIGNATURES.items() if "request_id" in signature.optional}

    assert {built.function for built in BUILDERS if built.has_request_id} == takes
