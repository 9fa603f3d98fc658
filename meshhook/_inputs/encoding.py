"""Encoding of values that JSON has no type for, and advice for those that are not encoded.

datetime, date and time are sent in ISO 8601, aware or naive as they are; UUID and Decimal as text;
an Enum as its value. Nothing else is guessed: the caller decides what another value means in JSON.
"""

from __future__ import annotations

import contextlib
import json
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from meshhook._inputs import check

ADVICE = {
    "__await__": "await it first",
    "total_seconds": "give its .total_seconds()",
    "model_dump": 'give its .model_dump(mode="json")',
    "__dataclass_fields__": "give dataclasses.asdict() of it",
    "__attrs_attrs__": "give attrs.asdict() of it",
    "tolist": "give its .tolist()",
    "to_dict": "give its .to_dict()",
    "keys": "give dict() of it",
    "__fspath__": "give str() of it",
    "__iter__": "give list() of it",
}
"""How to make JSON from an object, by an attribute of its class; the first that fits counts."""

_DICT_MAKERS = (
    "__await__",
    "model_dump",
    "__dataclass_fields__",
    "__attrs_attrs__",
    "to_dict",
    "keys",
)
MAKES_A_DICT = frozenset(map(ADVICE.__getitem__, _DICT_MAKERS))
"""The advice that gives a dict."""

SCALAR_ADVICE = "give its .item()"
SET_ADVICE = "give a list, such as sorted() of it"
ANY_ADVICE = "use only dict, list, str, int, float, bool, None, dates, UUID, Decimal and Enum"
NO_NUMBER = "JSON has no such number; use None"

_MAX_ENUMS = 10


class NotEncodableError(Exception):
    """A value cannot be sent: what it is, and what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return checked data with every value in it as JSON has it."""
    sent: dict[str, Any] = json.loads(json.dumps(data, default=encoded, allow_nan=False))
    return sent


def encoded(value: object) -> object:
    """Return what is sent for a value that JSON has no type for.

    Raises:
        NotEncodableError: The value cannot be sent.
    """
    if isinstance(value, Enum):
        return _value_of(value)
    if isinstance(value, datetime | date | time):
        return _iso(value)
    if isinstance(value, UUID):
        return UUID.__str__(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise NotEncodableError(check.shown(value), NO_NUMBER)
        return Decimal.__str__(value)
    raise NotEncodableError(f"a {_name(type(value))}", advice(value) or ANY_ADVICE)


def _name(kind: type) -> str:
    # numpy has its own `bool`.
    return f"{kind.__module__}.bool" if kind.__name__ == "bool" else kind.__name__


def _value_of(member: Enum) -> object:
    value: object = member
    for _ in range(_MAX_ENUMS):
        if not isinstance(value, Enum):
            break
        value = value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime | date | time | UUID | Decimal):
        return encoded(value)
    raise NotEncodableError(f"an Enum of a {type(value).__name__}", "give its .name")


def _iso(value: datetime | date | time) -> str:
    text: object = None
    with contextlib.suppress(Exception):  # a foreign time zone may raise anything
        text = value.isoformat()
    # pandas.NaT is a datetime whose text, "NaT", is no time.
    if not isinstance(text, str) or not text[:1].isdigit():
        fix = "it has no ISO 8601 text: give None or a text"
        raise NotEncodableError(f"a {type(value).__name__}", fix)
    return text


def advice(value: object) -> str | None:
    """Return which call makes JSON from a value that is not encoded; None if none is known."""
    if isinstance(value, set | frozenset):
        return SET_ADVICE
    # Looked up in the classes, so that no code of the value runs.
    names = {name for kind in type(value).__mro__ for name in vars(kind)}
    if {"item", "tolist"} <= names and "__len__" not in names:
        return SCALAR_ADVICE  # a number of numpy
    return next((fix for name, fix in ADVICE.items() if name in names), None)
