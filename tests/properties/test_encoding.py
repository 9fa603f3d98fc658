"""Any nest of values is sent as the documented rule says, or refused; nothing else ever happens."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhook import InvalidInputError
from meshhook._calls import enqueue
from meshhook._enqueue import buffer
from meshhook._http.transport import _encoded
from tests.jobs import job_data
from tests.properties.hostile import Hostile
from tests.properties.profiles import thorough


class Word(enum.Enum):
    TEXT = "text"
    NUMBER = 2
    DAY = date(2026, 11, 24)
    PARTS = ("a",)
    NUL = "\0"
    INFINITE = math.inf


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    A = "a"


@dataclasses.dataclass
class Data:
    a: int = 1


class Broken(tzinfo):
    """A time zone that raises."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        raise OSError("no such zone")

    tzname = dst = utcoffset  # type: ignore[assignment]  # none is reached


ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-9, minutes=-30)), Broken()])
ENCODED = st.one_of(
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(),
    st.uuids(),
    st.decimals(),
    st.sampled_from([*Word, *Level, *Name]),
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["\0", "\ud800", 2**5000]),
)
REFUSED = st.one_of(
    st.builds(Hostile),
    st.sampled_from([{1}, b"x", Data(), Data, timedelta(1), range(2), 1j, len]),
)
KEYS = st.one_of(st.text(max_size=5), st.sampled_from([Name.A, Word.TEXT, date(2026, 1, 1), 5]))
values: st.SearchStrategy[Any] = st.recursive(
    ENCODED | PLAIN | REFUSED,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


class RefusedError(Exception):
    """The documented rule has nothing for a value."""


def as_documented(value: Any) -> Any:
    """Return what the reference says that a value is sent as."""
    match value:
        case enum.Enum() if not isinstance(value.value, tuple):
            return as_documented(value.value)
        case dict() if all(isinstance(key, str) for key in value):
            return {as_documented(key): as_documented(part) for key, part in value.items()}
        case list() | tuple():
            return [as_documented(part) for part in value]
        case datetime() | date() | time() if not isinstance(getattr(value, "tzinfo", 0), Broken):
            return value.isoformat()
        case uuid.UUID() | Decimal() if not isinstance(value, Decimal) or value.is_finite():
            return str(value)
    return as_json(value)


def as_json(value: Any) -> Any:
    """Return a value that JSON and Postgres have as it is."""
    is_held: dict[type, Callable[[], bool]] = {
        type(None): lambda: True,
        bool: lambda: True,
        str: lambda: "\0" not in value and "\ud800" not in value,
        float: lambda: math.isfinite(value),
        int: lambda: value.bit_length() <= 4096,
    }
    if type(value) not in is_held or not is_held[type(value)]():
        raise RefusedError
    return value


@thorough(500)
@given(values)
def test_a_value_is_sent_as_documented_or_refused(value: Any) -> None:
    data = job_data(metadata={"value": value})
    try:
        expected = as_documented(value)
    except RefusedError:
        with pytest.raises(InvalidInputError, match=r"metadata\.value"):
            buffer.entry(data, 0, None)
        return

    entry = buffer.entry(data, 0, None)
    message, size = entry.message, entry.size

    body = json.loads(_encoded(enqueue.buffered("q", [message], [0], "key")))
    assert body["messages"][0]["metadata"]["value"] == expected
    assert size == len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()) + 1
