"""Values that nobody should send, and everything that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import strategies as st


def nested(depth: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> list[Any]:
    """Return a list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


@attrs.frozen
class Huge:
    """A value that would take too long to be told.

    Attributes:
        name: What it is.
        value: The value.
    """

    name: str
    value: Any = attrs.field(repr=False, eq=False)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the huge ones in place of their names."""
    return {
        name: value.value if isinstance(value, Huge) else value for name, value in values.items()
    }


class Hostile:
    """An object whose every special method raises."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __str__(self) -> str:
        raise ValueError("no str")


TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "a\udfffb",
    "'; drop table pgmq.meta; --",
    '"',
    "$$",
    "%s %I {}",
    "\u202e\u0301\N{GRINNING FACE}",
    "é" * 300,
    "NaN",
    "null",
    "-1",
    "00000000-0000-0000-0000-000000000000",
)
NUMBERS = (
    0,
    -1,
    1,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    0.5,
    -0.0,
    1e-320,
    1e308,
    True,
)
NOT_JSON = (math.nan, math.inf, -math.inf)
STRUCTURES: tuple[Any, ...] = (
    None,
    [],
    {},
    [None],
    [[1]],
    [1, 1],
    {"a": {"b": [1, "x"]}},
    {"outcome": "complete", "msg_id": 1},
)
CYCLE = Huge("a list that holds itself", cyclic())
OBJECTS = (b"bytes", bytearray(2), {1: 2}, {1, 2}, object(), Hostile(), int, len, 1j)

HUGE = (
    Huge("a text of 100,000 characters", "x" * 100_000),
    Huge("a number of 401 digits", 10**400),
    Huge("100,000 ids", list(range(100_000))),
    Huge("the same id 100,000 times", [1] * 100_000),
    Huge("100,000 objects", [{}] * 100_000),
    Huge("900 lists in one another", nested(900)),
)
JSON_VALUES: tuple[Any, ...] = (*TEXTS, *NUMBERS, *STRUCTURES, *HUGE)
"""What JSON can carry; a body with a lone surrogate or NUL is JSON too."""

ONE_OF_EACH: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    0.5,
    math.nan,
    "",
    "a\0b",
    "\ud800",
    b"bytes",
    [],
    [None],
    {},
    object(),
    Hostile(),
    CYCLE,
    HUGE[2],
)
"""One value of each kind that Python tells apart."""

json_values: st.SearchStrategy[Any] = st.sampled_from(JSON_VALUES) | st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)
"""Any JSON value, those that have caught others out above all."""

any_values: st.SearchStrategy[Any] = st.sampled_from((*JSON_VALUES, *NOT_JSON, *OBJECTS, CYCLE)) | (
    json_values
)
"""Any Python value."""
