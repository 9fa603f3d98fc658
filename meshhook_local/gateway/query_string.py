"""The rows that a query string asks for: columns, filters, order, range.

PostgREST's language is larger: embedded resources, aliases, casts, JSON paths, `and`/`or`,
quantifiers and full text search are refused here as text that cannot be parsed (PGRST100), never
misread.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import attrs

from meshhook_local.gateway.errors import ApiError, bad_query_string, range_not_satisfiable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = r'"(?:[^"\\\0]|\\[^\0])*"|[\w$][\w$ ]*(?:-[\w$][\w$ ]*)*'
_COLUMN = re.compile(rf"\s*({_NAME}|\*)\s*(?:,|$)")
_ORDER = re.compile(rf"\s*({_NAME})(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?\s*(?:,|$)")
_LONE_NAME = re.compile(rf"\s*(?:{_NAME})\s*")
_ELEMENT = re.compile(r'("(?:[^"\\]|\\.)*"|[^,)"][^,)]*|)(,|\)$)')
_RANGE_HEADER = re.compile(r"([0-9]+)-([0-9]*)")

_COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_NULLS = {"nullsfirst": "nulls first", "nullslast": "nulls last"}
_PATTERNS = {"like": "like", "ilike": "ilike"}
_STATES = {
    "null": "null",
    "not_null": "not null",
    "true": "true",
    "false": "false",
    "unknown": "unknown",
}
# Operators of PostgREST that this gateway does not have; in the query string of a call they tell a
# filter from an argument all the same.
_FURTHER_OPERATORS = frozenset(
    {
        *("adj", "cd", "cs", "fts", "imatch", "isdistinct", "match", "nxl", "nxr", "ov"),
        *("phfts", "plfts", "sl", "sr", "wfts"),
    }
)
_OPERATORS = frozenset({*_COMPARISONS, *_PATTERNS, *_FURTHER_OPERATORS, "is", "in", "not"})

_RESERVED = frozenset({"select", "order", "limit", "offset"})
_REFUSED = frozenset({"and", "or", "columns", "on_conflict"})


@attrs.frozen(kw_only=True)
class Filter:
    """A condition on one column.

    Attributes:
        column: The column.
        operator: The operator as SQL writes it; `is` and `any` stand for themselves.
        value: What to compare with; for `is` a keyword, for `any` an array of Postgres'.
        negated: Whether the condition must not hold.
    """

    column: str
    operator: str
    value: str
    negated: bool


@attrs.frozen(kw_only=True)
class Ordering:
    """One term of an order.

    Attributes:
        column: The column.
        direction: `asc`, `desc` or nothing.
        nulls: `nulls first`, `nulls last` or nothing.
    """

    column: str
    direction: str
    nulls: str


@attrs.frozen(kw_only=True)
class RowRange:
    """A range of rows.

    Attributes:
        offset: How many rows to leave out.
        limit: How many to give, or None for all.
    """

    offset: int = 0
    limit: int | None = None

    def at_most(self, rows: int | None) -> RowRange:
        """Narrow the range to so many rows; None leaves it as it is."""
        if rows is None or (self.limit is not None and self.limit <= rows):
            return self
        return RowRange(offset=self.offset, limit=rows)


@attrs.frozen(kw_only=True)
class RowQuery:
    """Which rows are asked for, and what of them.

    Attributes:
        columns: The columns in their order; `*` stands for all.
        filters: Conditions that all must hold.
        order: The order.
        rows: The range.
    """

    columns: tuple[str, ...] = ("*",)
    filters: tuple[Filter, ...] = ()
    order: tuple[Ordering, ...] = ()
    rows: RowRange = RowRange()


ALL_ROWS = RowQuery()


def read_row_query(pairs: Iterable[tuple[str, str]], range_header: str | None = None) -> RowQuery:
    """Read which rows are asked for.

    Args:
        pairs: The query string.
        range_header: The header `Range`, where it counts.

    Raises:
        ApiError: If a part cannot be parsed.
    """
    pairs = list(pairs)
    given = dict(reversed(pairs))  # Of a parameter given twice, the first counts.
    filters = [pair for pair in pairs if pair[0] not in _RESERVED]
    return RowQuery(
        columns=_read_columns(given["select"]) if "select" in given else ("*",),
        filters=tuple(_read_filter(name, text) for name, text in filters),
        order=_read_order(given["order"]) if "order" in given else (),
        rows=_read_range(given.get("limit"), given.get("offset"), range_header),
    )


def split_arguments(
    pairs: Iterable[tuple[str, str]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Tell the arguments of a call by GET from what is asked of its rows.

    Returns:
        The arguments, and the rest.
    """
    arguments: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for name, text in pairs:
        operator, dot, _ = text.partition(".")
        is_filter = "." in name or (dot and operator.partition("(")[0] in _OPERATORS)
        belongs_to_rows = is_filter or name in _RESERVED or name in _REFUSED
        (rest if belongs_to_rows else arguments).append((name, text))
    return arguments, rest


def canonical(pairs: Iterable[tuple[str, str]]) -> str:
    """Write a query string in alphabetical order, as `Content-Location` shows it."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return "&".join(f"{quote(name, safe='')}={quote(text, safe='')}" for name, text in ordered)


def _read_columns(text: str) -> tuple[str, ...]:
    terms = _terms(_COLUMN, "select parameter", text, "a column name or *")
    return tuple(_unquoted(term[1]) for term in terms)


def _read_order(text: str) -> tuple[Ordering, ...]:
    expected = "a column name, asc, desc, nullsfirst or nullslast"
    return tuple(
        Ordering(
            column=_unquoted(term[1]), direction=term[2] or "", nulls=_NULLS.get(term[3] or "", "")
        )
        for term in _terms(_ORDER, "order", text, expected)
    )


def _terms(
    pattern: re.Pattern[str], what: str, text: str, expected: str
) -> Iterator[re.Match[str]]:
    """Yield the terms of a list; the pattern takes the comma after a term with it."""
    position = 0
    while True:
        term = pattern.match(text, position)
        if term is None:
            raise _unparsed(what, text, position, expected)
        yield term
        position = term.end()
        if not term[0].endswith(","):
            return


def _read_filter(name: str, text: str) -> Filter:
    if name in _REFUSED or not _LONE_NAME.fullmatch(name):
        raise bad_query_string("tree path", name, 1, "this gateway filters by plain columns only")
    negated = text.startswith("not.")
    start = len("not.") if negated else 0
    operator, dot, value = text[start:].partition(".")
    if not dot:
        found = f'unexpected "{text[start]}"' if text[start:] else "unexpected end of input"
        expected = '"not" or operator (eq, gt, ...)'
        raise bad_query_string("filter", text, start + 1, f"{found} expecting {expected}")
    value_at = start + len(operator) + 1
    sql, operand = _operation(operator, value, text, value_at)
    return Filter(column=_unquoted(name), operator=sql, value=operand, negated=negated)


def _operation(operator: str, value: str, text: str, value_at: int) -> tuple[str, str]:
    if operator in _COMPARISONS:
        return _COMPARISONS[operator], value
    if operator in _PATTERNS:
        return _PATTERNS[operator], value.replace("*", "%")
    if operator == "is":
        state = _STATES.get(value.lower())
        if state is None:
            expected = "null or trilean value (unknown, true, false)"
            raise _unparsed("filter", text, value_at, expected)
        return "is", state
    if operator == "in":
        return "any", as_array(_read_list(value, text, value_at))
    raise bad_query_string(
        "filter", text, value_at + 1, f"unknown single value operator {operator}"
    )


def _read_list(value: str, text: str, value_at: int) -> list[str]:
    if not value.startswith("("):
        raise _unparsed("filter", text, value_at, '"("')
    if value == "()":
        return []
    elements = []
    position = 1
    while True:
        element = _ELEMENT.match(value, position)
        if element is None:
            raise _unparsed("filter", text, value_at + position, '"," or ")"')
        elements.append(_unquoted(element[1]))
        position = element.end()
        if element[2] == ")":
            return elements


def as_array(elements: Iterable[str]) -> str:
    """Write an array of Postgres', so that its type follows from the column."""
    escaped = (element.replace("\\", "\\\\").replace('"', '\\"') for element in elements)
    return "{" + ",".join(f'"{element}"' for element in escaped) + "}"


def _read_range(limit: str | None, offset: str | None, header: str | None) -> RowRange:
    first, last = _read_range_header(header)
    # PostgREST takes a number that it cannot read for one that was not given.
    start = _as_integer(offset) or 0
    count = _as_integer(limit)
    if count is not None:
        if count < 0:
            raise range_not_satisfiable("Limit should be greater than or equal to zero.")
        last = min(last, start + count - 1) if last is not None else start + count - 1
    start = max(start, first)
    return RowRange(offset=start, limit=None if last is None else max(last - start + 1, 0))


def _read_range_header(header: str | None) -> tuple[int, int | None]:
    match = _RANGE_HEADER.fullmatch(header or "")
    if match is None:
        return 0, None
    first, last = int(match[1]), int(match[2]) if match[2] else None
    if last is not None and last < first:
        raise range_not_satisfiable(
            "The lower boundary must be lower than or equal to the upper boundary in the Range"
            " header."
        )
    return first, last


def _as_integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _unquoted(name: str) -> str:
    name = name.strip()
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        return re.sub(r"\\(.)", r"\1", name[1:-1], flags=re.DOTALL)
    return name


def _unparsed(what: str, text: str, position: int, expected: str) -> ApiError:
    found = f'unexpected "{text[position]}"' if position < len(text) else "unexpected end of input"
    return bad_query_string(what, text, position + 1, f"{found} expecting {expected}")
