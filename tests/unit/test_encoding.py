"""Values that JSON has no type for: which are sent as text, and what is said of the others."""

from __future__ import annotations

import dataclasses
import enum
import json
import uuid
from collections import deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import attrs
import pydantic
import pytest

from meshhook._calls import enqueue, user_enqueue
from meshhook._enqueue import buffer
from meshhook._http.transport import _encoded
from meshhook._inputs import payload, sizes
from tests.unit.examples import job_data, named, problems_of

INDIA = timezone(timedelta(hours=5, minutes=30))


class Colour(enum.Enum):
    RED = "red"
    LEVEL = 3
    RATE = 0.5
    NONE = None
    SINCE = date(2026, 11, 24)
    PARTS = ("a", "b")


class Text(str, enum.Enum):  # noqa: UP042 - the older kind is sent alike
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Model(pydantic.BaseModel):
    a: int = 1


@dataclasses.dataclass
class Data:
    a: int = 1


@attrs.define
class Value:
    a: int = 1


class Number:
    """It has the shape of a scalar of numpy."""

    def item(self) -> int:
        return 1

    def tolist(self) -> int:
        return 1


class Array(Number):
    """It has the shape of an array of numpy."""

    def __len__(self) -> int:
        return 1


class BrokenDate(datetime):
    def isoformat(self, *_: Any, **__: Any) -> str:
        raise OSError("no time")


class NoDate(datetime):
    """As `pandas.NaT`: it is a datetime, and none."""

    def isoformat(self, *_: Any, **__: Any) -> str:
        return "NaT"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (datetime(2026, 11, 24, 2, 19, tzinfo=UTC), "2026-11-24T02:19:00+00:00"),
        (datetime(2026, 11, 24, 2, 19, 0, 5, tzinfo=INDIA), "2026-11-24T02:19:00.000005+05:30"),
        (datetime(2026, 11, 24, 2, 19), "2026-11-24T02:19:00"),  # noqa: DTZ001 - it stays naive
        (date(2026, 11, 24), "2026-11-24"),
        (time(2, 19, 1), "02:19:01"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1E+3"),
        (Colour.RED, "red"),
        (Colour.LEVEL, 3),
        (Colour.RATE, 0.5),
        (Colour.NONE, None),
        (Colour.SINCE, "2026-11-24"),
        (Rights.READ | Rights.WRITE, 3),
        (Text.A, "a"),
    ],
    ids=named,
)
def test_what_json_has_no_type_for_is_sent_as_text_wherever_it_stands(
    value: object, sent: object
) -> None:
    metadata = {"a": value, "b": [1, (value, {"c": value})]}

    data = payload.job_data(job_data(metadata=metadata, extra=value))

    plain = {"a": sent, "b": [1, [sent, {"c": sent}]]}
    assert json.loads(json.dumps(data)) == job_data(metadata=plain, extra=sent)
    assert metadata["a"] is value


def test_what_is_measured_is_what_is_sent() -> None:
    data = job_data(metadata={"at": datetime(2026, 1, 1, tzinfo=UTC), "who": "Zoë"})

    entry = buffer.entry(data, 0, None)
    message, size = entry.message, entry.size
    body = _encoded(enqueue.buffered("q", [message], [0], "key"))

    assert json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() in body
    assert size == len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()) + 1
    assert sizes.size_of([message]) == size


def test_a_job_of_a_user_is_encoded_alike() -> None:
    call = user_enqueue.one("q", job_data(metadata={"on": date(2026, 1, 1)}))

    assert b'"on":"2026-01-01"' in _encoded(call)


@pytest.mark.parametrize(
    ("value", "shown", "fix"),
    [
        (Model(), "a Model", 'give its .model_dump(mode="json")'),
        (Data(), "a Data", "give dataclasses.asdict() of it"),
        (Value(), "a Value", "give attrs.asdict() of it"),
        (Number(), "a Number", "give its .item()"),
        (Array(), "a Array", "give its .tolist()"),
        ({1}, "a set", "give a list, such as sorted() of it"),
        (frozenset(), "a frozenset", "give a list, such as sorted() of it"),
        (range(2), "a range", "give list() of it"),
        (deque([1]), "a deque", "give list() of it"),
        ({}.keys(), "a dict_keys", "give list() of it"),
        (MappingProxyType({}), "a mappingproxy", "give dict() of it"),
        (timedelta(seconds=1), "a timedelta", "give its .total_seconds()"),
        (PurePath("a"), "a PurePosixPath", "give str() of it"),
        (b"", "bytes", "send text, such as base64.b64encode(value).decode()"),
        (Colour.PARTS, "an Enum of a tuple", "give its .name"),
        (Decimal("NaN"), "Decimal('NaN')", "JSON has no such number; use None"),
        (Decimal("-Infinity"), "Decimal('-Infinity')", "JSON has no such number; use None"),
        (BrokenDate(2026, 1, 1), "a BrokenDate", "it has no ISO 8601 text: give None or a text"),
        (NoDate(2026, 1, 1), "a NoDate", "it has no ISO 8601 text: give None or a text"),
    ],
    ids=named,
)
def test_what_cannot_be_sent_is_told_which_call_makes_it_so(
    value: object, shown: str, fix: str
) -> None:
    (problem,) = problems_of(payload.job_data, job_data(metadata={"items": [value]}))

    assert (problem.field, problem.value, problem.fix) == ("metadata.items[0]", shown, fix)


def test_an_enum_of_a_text_that_postgres_cannot_store_is_refused_as_that_text() -> None:
    bad: Any = enum.Enum("bad", {"NUL": "\0"})

    (problem,) = problems_of(payload.job_data, job_data(metadata={"a": bad.NUL}))

    assert (problem.field, problem.value) == ("metadata.a", "text with a NUL character")


@pytest.mark.parametrize(
    ("metadata", "fix"),
    [
        (Model(), 'give a dict: give its .model_dump(mode="json")'),
        (Data(), "give a dict: give dataclasses.asdict() of it"),
        (MappingProxyType({}), "give a dict: give dict() of it"),
        ([], "give a dict"),
        (date(2026, 1, 1), "give a dict"),
    ],
    ids=named,
)
def test_metadata_that_is_no_dict_is_one_problem(metadata: object, fix: str) -> None:
    (problem,) = problems_of(payload.job_data, job_data(metadata=metadata))

    assert (problem.field, problem.fix) == ("metadata", fix)
