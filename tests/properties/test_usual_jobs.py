"""The short way through the checks of a job lets through what the long way does, and no more."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshhook import _job_data as payload

TEXTS = st.one_of(
    st.text(alphabet="ab", max_size=3),
    st.sampled_from(["", "\0", "a\0", "\ud800", "ü", "\udfff", "_meshhook", "attempt"]),
)
LEAVES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([b"x", 2**4097, -(2**63), 2**63, object(), {1}, (1,), range(3)]),
)
KEYS = st.one_of(TEXTS, st.integers(), st.none(), st.booleans())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.lists(inner, max_size=2).map(lambda listed: listed * 20),
    ),
    max_leaves=12,
)
IDS = st.one_of(
    st.uuids().map(str),
    st.sampled_from([uuid.UUID(int=1), str(uuid.UUID(int=10)).upper(), "x", "", None, 7]),
)
FIELDS = st.one_of(TEXTS, st.sampled_from([*payload.RESERVED_FIELDS, "max_attempts", "metadata"]))


@st.composite
def jobs(draw: st.DrawFn) -> Any:
    """Return what a sender might give for a job; most of it can be sent."""
    ids = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(payload.ID_FIELDS, IDS)))
    usual = {field: str(uuid.UUID(int=n)) for n, field in enumerate(payload.ID_FIELDS)}
    more = draw(st.dictionaries(FIELDS, VALUES, max_size=3))
    return {**more, **usual, **draw(st.sampled_from([{}, {}, {}, ids]))}


@given(jobs())
def test_the_short_way_passes_only_what_the_long_way_sends_as_it_is(data: Any) -> None:
    if payload._is_usual(data):
        sent, problems = payload._job_data(data, "")

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
