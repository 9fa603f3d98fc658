"""Pieces of SQL that calls and reads share.

Every statement gives one row of five columns: the total number of rows or null, the number of rows
in the answer, the body, and what the function left in `response.headers` and `response.status`.
Names are quoted by psycopg, values are parameters, and the text depends on the names alone, so
that Postgres can keep its plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from psycopg import sql

from meshhook_local.gateway.request import OBJECT
from meshhook_local.gateway.schema_cache import Shape

if TYPE_CHECKING:
    from meshhook_local.gateway.query_string import Filter, Ordering, RowQuery

SOURCE = "pgrst_source"
SCALAR = "pgrst_scalar"

_RESPONSE_SETTINGS = (
    "nullif(current_setting('response.headers', true), ''),"
    " nullif(current_setting('response.status', true), '')"
)
_BODIES = {
    Shape.VOID: "''",
    # There is one row; `max` gives it without parsing the JSON again, as `json_agg(…) -> 0` would.
    Shape.SCALAR: f"coalesce(max(to_json(result.{SCALAR})::text), 'null')",
    Shape.ROW: "coalesce(max(row_to_json(result)::text), 'null')",
    Shape.SCALARS: f"coalesce(json_agg(result.{SCALAR})::text, '[]')",
    Shape.ROWS: "coalesce(json_agg(result)::text, '[]')",
}
_ONE_OBJECT = "coalesce((json_agg(result) -> 0)::text, 'null')"


@attrs.define
class Arguments:
    """The parameters of a statement, numbered as they come."""

    values: list[Any] = attrs.Factory(list)

    def add(self, value: Any) -> str:
        """Take a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def quoted(*names: str) -> str:
    """Quote an identifier, with its schema if given."""
    return sql.Identifier(*names).as_string()


def body_of(shape: Shape, media_type: str, *, is_head: bool) -> str:
    """Choose the expression that makes the body from the rows `result`."""
    if is_head:
        return "''"
    if media_type == OBJECT and shape in {Shape.ROWS, Shape.SCALARS}:
        return _ONE_OBJECT
    return _BODIES[shape]


def answer(source: str, rows: str, body: str, total: str) -> str:
    """Put a statement together.

    Args:
        source: The query behind the name `SOURCE`.
        rows: The query of the answer's rows.
        body: The expression of the body.
        total: The expression of the total number of rows.
    """
    return (
        f"with {SOURCE} as ({source})"
        f" select {total}::bigint, count(result), {body}, {_RESPONSE_SETTINGS}"
        f" from ({rows}) result"
    )


def select_rows(
    source: str, qualifier: str, query: RowQuery, arguments: Arguments, max_rows: int | None
) -> str:
    """Select the rows that are asked for.

    Args:
        source: What to select from, as it stands after `from`.
        qualifier: The name that columns are qualified with.
        query: What is asked for.
        arguments: Where values go.
        max_rows: The largest number of rows to give, or None.
    """
    columns = ", ".join(_column(qualifier, name) for name in query.columns)
    text = f"select {columns} from {source}{_where(qualifier, query, arguments)}"
    if query.order:
        text += " order by " + ", ".join(_order_term(qualifier, term) for term in query.order)
    rows = query.rows.at_most(max_rows)
    # As text: an integer's width would make another prepared statement of it.
    if rows.limit is not None:
        text += f" limit {arguments.add(str(rows.limit))}"
    if rows.offset:
        text += f" offset {arguments.add(str(rows.offset))}"
    return text


def count_rows(source: str, qualifier: str, query: RowQuery, arguments: Arguments) -> str:
    """Count the rows that the filters let pass, in any range."""
    return f"(select count(*) from {source}{_where(qualifier, query, arguments)})"


def _where(qualifier: str, query: RowQuery, arguments: Arguments) -> str:
    conditions = [_condition(qualifier, item, arguments) for item in query.filters]
    return " where " + " and ".join(conditions) if conditions else ""


def _condition(qualifier: str, item: Filter, arguments: Arguments) -> str:
    column = _column(qualifier, item.column)
    if item.operator == "is":
        text = f"{column} is {item.value}"
    elif item.operator == "any":
        text = f"{column} = any ({arguments.add(item.value)})"
    else:
        text = f"{column} {item.operator} {arguments.add(item.value)}"
    return f"not ({text})" if item.negated else text


def _column(qualifier: str, name: str) -> str:
    return f"{qualifier}.*" if name == "*" else f"{qualifier}.{quoted(name)}"


def _order_term(qualifier: str, term: Ordering) -> str:
    words = (_column(qualifier, term.column), term.direction, term.nulls)
    return " ".join(word for word in words if word)
