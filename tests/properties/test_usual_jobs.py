"""The short way through the checks of a job lets through what the long way does, and no more."""

from __future__ import annotations

import math
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshhook._inputs import payload
from tests.properties.profiles import thorough

SOUND_TEXTS = st.text(alphabet="ab", max_size=3)
UNSOUND_TEXTS = st.sampled_from(["\0", "a\0", "\ud800", "\udfff"])
SOUND = st.one_of(
    SOUND_TEXTS, st.none(), st.booleans(), st.integers(-9, 9), st.just(1.5), st.just("ü")
)
UNSOUND = st.one_of(
    UNSOUND_TEXTS,
    st.sampled_from([math.nan, math.inf, b"x", 2**4097, object(), {1}, range(3)]),
)
IDS = st.sampled_from([uuid.UUID(int=1), "ABCDEF01-ABCD-4BCD-8BCD-ABCDEF012345", "x", "", None, 7])


@st.composite
def jobs(draw: st.DrawFn) -> Any:
    """Return a job in which nothing is wrong, or one thing at any place."""
    leaf: Any = draw(SOUND)
    key: Any = draw(SOUND_TEXTS)
    data: dict[Any, Any] = {field: str(uuid.UUID(int=10)) for field in payload.ID_FIELDS}
    wrong = draw(st.sampled_from(["nothing", "a value", "a key", "an id", "a field"]))
    if wrong == "a value":
        leaf = draw(UNSOUND)
    elif wrong == "a key":
        key = draw(st.one_of(UNSOUND_TEXTS, st.integers(), st.none(), st.booleans()))
    elif wrong == "an id":
        data[draw(st.sampled_from(payload.ID_FIELDS))] = draw(IDS)
    elif wrong == "a field":
        field = draw(
            st.sampled_from(
                [*payload.RESERVED_FIELDS, "attempt", "metadata", "metdata", "maxAttempts", "due"]
            )
        )
        data[field] = draw(SOUND)
    value: Any = {key: leaf}
    for _ in range(draw(st.integers(0, 5))):
        value = draw(st.sampled_from([{"in": value}, [value], [1, value], {"a": "b", "c": value}]))
    place = draw(st.sampled_from(["metadata", "more", "flat"]))
    if place == "flat":
        return {**data, key: leaf}
    return {**data, place: draw(st.sampled_from([leaf, value]))}


@thorough(1000)
@given(jobs())
def test_the_short_way_passes_only_what_the_long_way_sends_as_it_is(data: Any) -> None:
    if payload._is_usual(data):
        sent, problems = payload._fully_checked(data, "")

        assert problems == []
        assert repr(sent) == repr(data)


def test_a_usual_job_takes_the_short_way() -> None:
    ids = {field: str(uuid.uuid4()) for field in payload.ID_FIELDS}
    metadata = {"event": "order.created", "total": 12.5, "items": [{"sku": "a", "count": 2}]}

    assert payload._is_usual({**ids, "metadata": metadata, "urgent": True, "note": None})


def test_a_job_that_contains_itself_does_not() -> None:
    metadata: dict[str, Any] = {}
    metadata["again"] = metadata
    ids = {field: str(uuid.uuid4()) for field in payload.ID_FIELDS}

    assert not payload._is_usual({**ids, "metadata": metadata})
