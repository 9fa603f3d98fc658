"""The guess at what a misspelt name was meant to be, chosen as PostgREST's fuzzy set does.

A candidate is found by its trigrams, or else by its bigrams, and ranked by its edit
distance relative to the longer of the two texts.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_GRAM_SIZES = (3, 2)
_CANDIDATES = 50

NAME_SCORE = 0.75
"""How alike, from 0 to 1, the names of functions and tables must be; fewer would tell strangers
too much of the schema."""

ARGUMENTS_SCORE = 0.33
"""How alike, from 0 to 1, lists of arguments must be."""


def closest(wanted: str, known: Iterable[str], least_score: float) -> str | None:
    """Find the known text that is most like the wanted one.

    Args:
        wanted: What was asked for.
        known: What there is.
        least_score: How alike they must be, from 0 to 1.

    Returns:
        The most similar known text, or None if none is similar enough.
    """
    by_key = {text.lower(): text for text in known}
    key = wanted.lower()
    if key in by_key:
        return by_key[key]
    for size in _GRAM_SIZES:
        scored = [(_similarity(key, other), other) for other in _candidates(key, by_key, size)]
        fit = [pair for pair in scored if pair[0] >= least_score]
        if fit:
            return by_key[max(fit, key=lambda pair: pair[0])[1]]
    return None


def _candidates(key: str, known: Iterable[str], size: int) -> list[str]:
    """Take the texts that share the most pieces of *size* characters with the key."""
    grams = _grams(key, size)
    shared = {other: _cosine(grams, _grams(other, size)) for other in known}
    near = [other for other, score in shared.items() if score > 0]
    return sorted(near, key=lambda other: -shared[other])[:_CANDIDATES]


def _grams(text: str, size: int) -> Counter[str]:
    kept = [letter for letter in text if letter.isalnum() or letter.isspace() or letter == ","]
    framed = f"-{''.join(kept)}-"
    return Counter(framed[start : start + size] for start in range(len(framed) - size + 1))


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    common = sum(count * other[gram] for gram, count in one.items())
    return common / (_norm(one) * _norm(other)) if common else 0.0


def _norm(grams: Counter[str]) -> float:
    return math.sqrt(sum(count * count for count in grams.values()))


def _similarity(one: str, other: str) -> float:
    return 1 - _edit_distance(one, other) / max(len(one), len(other), 1)


def _edit_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for line, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], line
        for column, facing in enumerate(other, start=1):
            substituted = diagonal + (letter != facing)
            diagonal = row[column]
            row[column] = min(substituted, diagonal + 1, row[column - 1] + 1)
    return row[-1]
