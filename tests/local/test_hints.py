"""The guess at a misspelt name."""

from __future__ import annotations

import pytest

from meshhook_local.gateway.hints import ARGUMENTS_SCORE, NAME_SCORE, closest

FUNCTIONS = ["meshhook_claim", "meshhook_enqueue", "meshhook_settle", "Status"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("meshhook_claims", "meshhook_claim"),
        ("meshhook_enqeue", "meshhook_enqueue"),
        ("MESHHOOK_SETTLE", "meshhook_settle"),
        ("status", "Status"),
        ("meshhook_drop", None),
        ("claim", None),
        ("", None),
    ],
)
def test_a_name_must_be_three_quarters_alike(wanted: str, found: str | None) -> None:
    assert closest(wanted, FUNCTIONS, NAME_SCORE) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("(queue)", "(limit, queue)"),
        ("(id, reciept)", "(id, receipt)"),
        ("(x)", None),
        ("()", None),
    ],
)
def test_arguments_may_be_farther_apart(wanted: str, found: str | None) -> None:
    assert closest(wanted, ["(limit, queue)", "(id, receipt)"], ARGUMENTS_SCORE) == found


def test_two_letters_are_compared_where_three_find_nothing() -> None:
    assert closest("ab", ["xb"], ARGUMENTS_SCORE) == "xb"


def test_nothing_is_like_nothing() -> None:
    assert closest("any", [], NAME_SCORE) is None
