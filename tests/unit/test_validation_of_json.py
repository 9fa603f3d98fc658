"""What a JSON column of Postgres can hold, and where an error says that something cannot."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict, namedtuple
from datetime import timedelta
from pathlib import PurePath
from typing import Any

import pytest

from meshhook._inputs import payload
from meshhook._inputs.check import shown
from tests.unit.examples import Unprintable, fields_of, job_data, named, nested, problems_of

Pair = namedtuple("Pair", "left right")  # noqa: PYI024 - the plain kind has to pass too


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    HIGH = "high"


def problems_in(metadata: dict[Any, Any]) -> list[tuple[str, str]]:
    """Return field and value of each problem of a job with that metadata."""
    problems = problems_of(payload.job_data, job_data(metadata=metadata))
    return [(problem.field, problem.value) for problem in problems]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63,
        2**4096 - 1,
        1.5,
        -0.0,
        1e308,
        5e-324,
        "",
        "ü \U0001f600 \u2028 \x01 \x7f",
        [],
        {},
        (),
        [1, [2, (3, {"a": (4,)})]],
        {"": {"a b": {"c.d": [None]}}},
        OrderedDict(a=1),
        Pair(1, 2),
        Level.LOW,
        Word.HIGH,
    ],
    ids=named,
)
def test_whatever_json_can_say_passes_and_can_be_encoded(value: object) -> None:
    sent = payload.job_data(job_data(metadata={"value": value}))

    assert json.loads(json.dumps(sent, allow_nan=False)) == json.loads(json.dumps(sent))
    assert sent["metadata"]["value"] is value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (b"x", "bytes"),
        (bytearray(b"x"), "bytes"),
        (memoryview(b"x"), "bytes"),
        ({1, 2}, "a set"),
        (frozenset(), "a frozenset"),
        (range(3), "a range"),
        (1j, "a complex"),
        (timedelta(1), "a timedelta"),
        (PurePath("a"), "a PurePosixPath"),
        (int, "a type"),
        (len, "a builtin_function_or_method"),
        (Unprintable(), "a Unprintable"),
        (2**4096, "a whole number of 4097 bits"),
        (-(10**5000), "a whole number of 16610 bits"),
        ("a\0b", "text with a NUL character"),
        ("\ud83d", "text with half a surrogate pair"),
        ("\udc00\ud800", "text with half a surrogate pair"),
    ],
    ids=named,
)
@pytest.mark.parametrize("place", ["value", "values[1]"], ids=named)
def test_what_json_or_postgres_cannot_hold_is_named_with_its_place(
    value: object, shown: str, place: str
) -> None:
    metadata = {"value": value} if place == "value" else {"values": (None, value)}

    assert problems_in(metadata) == [(f"metadata.{place}", shown)]


def test_a_fix_is_given_for_each_kind_of_problem() -> None:
    loop: list[Any] = []
    loop.append(loop)
    values = [math.nan, b"", {1}, 10**5000, "\0", "\ud800", loop, nested(201), {5: 1}]

    problems = problems_of(payload.job_data, job_data(metadata={"values": values}))

    assert len(problems) == len(values)
    assert len({problem.fix for problem in problems}) == len(values)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (5, "int"),
        (None, "NoneType"),
        (True, "bool"),
        (1.5, "float"),
        (("a",), "tuple"),
        (b"a", "bytes"),
    ],
    ids=named,
)
def test_a_key_that_is_no_text_is_refused(key: Any, shown: str) -> None:
    assert problems_in({"a": [{key: 1}]}) == [
        (f"metadata.a[0][{key!r}]", f"under a key of type {shown}")
    ]


@pytest.mark.parametrize("key", ["a\0", "\ud800"], ids=named)
def test_a_key_that_postgres_cannot_hold_is_refused(key: str) -> None:
    assert [field for field, _ in problems_in({key: 1})] == [f"metadata[{key!r}]"]


@pytest.mark.parametrize("key", [Unprintable(), 10**5000], ids=named)
def test_a_key_that_cannot_be_printed_is_a_problem_like_any_other(key: Any) -> None:
    ((field, value),) = problems_in({key: 1})

    assert field == f"metadata[{shown(key)}]"
    assert value == f"under a key of type {type(key).__name__}"


def test_a_list_that_contains_itself_is_refused_where_it_does() -> None:
    loop: list[Any] = [1]
    loop.append({"again": loop})

    assert problems_in({"loop": loop}) == [
        ("metadata.loop[1].again", "a value that contains itself")
    ]


def test_metadata_that_contains_itself_is_refused() -> None:
    metadata: dict[str, Any] = {}
    metadata["a"] = [metadata]

    assert problems_in(metadata) == [("metadata.a[0]", "a value that contains itself")]


def test_one_value_in_several_places_is_no_cycle() -> None:
    shared = {"list": [1, 2]}
    metadata = {"a": shared, "b": [shared, shared], "c": {"d": shared}}

    assert payload.job_data(job_data(metadata=metadata))["metadata"] == metadata


def test_nesting_passes_up_to_200_levels() -> None:
    sent = payload.job_data(job_data(metadata=nested(200)))

    assert json.dumps(sent).count("{") == 201


@pytest.mark.parametrize("levels", [201, 100_000], ids=named)
def test_deeper_nesting_is_one_problem_and_never_a_recursion_error(levels: int) -> None:
    ((field, value),) = problems_in(nested(levels))

    assert field == "metadata" + ".a" * 200
    assert value == "nested more than 200 levels deep"


def test_every_bad_part_is_found_not_only_the_first() -> None:
    metadata = {"a": [math.nan, {"b": b"", 5: 1}], "c": {"d": "\0"}}

    assert sorted(fields_of(payload.job_data, job_data(metadata=metadata))) == [
        "metadata.a[0]",
        "metadata.a[1].b",
        "metadata.a[1][5]",
        "metadata.c.d",
    ]


@pytest.mark.parametrize("value", [b"", {1}, math.nan, "\0"], ids=named)
def test_fields_beside_metadata_are_held_to_the_same(value: object) -> None:
    assert fields_of(payload.job_data, job_data(extra=[value])) == ["extra[0]"]


def test_a_value_that_would_be_sent_over_and_over_is_refused_in_time() -> None:
    doubled: Any = []
    for _ in range(60):
        doubled = [doubled, doubled]

    ((field, value),) = problems_in({"a": doubled})

    assert (field, value) == ("metadata", "more than 1000000 values")
