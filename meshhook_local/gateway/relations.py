"""Reads of tables and views; writes are refused as Postgres would, or as not implemented."""

from __future__ import annotations

from meshhook_local.gateway import hints
from meshhook_local.gateway.errors import relation_not_found
from meshhook_local.gateway.plans import Plan
from meshhook_local.gateway.query_string import canonical, read_row_query
from meshhook_local.gateway.request import JSON, ApiRequest
from meshhook_local.gateway.schema_cache import Relation, SchemaCache, Shape
from meshhook_local.gateway.statements import (
    SOURCE,
    Arguments,
    answer,
    body_of,
    count_rows,
    quoted,
    select_rows,
)

# With more tables than that PostgREST looks for no similar name.
_MOST_TABLES_FOR_A_HINT = 500

WRITES = {"POST": "insert", "PUT": "insert", "PATCH": "update", "DELETE": "delete"}
"""The privilege that each writing method needs."""


def find_relation(name: str, schema: str, cache: SchemaCache) -> Relation:
    """Find a table or view.

    Raises:
        ApiError: If there is none of that name.
    """
    relation = cache.relations.get(name)
    if relation is None:
        guess = None
        if len(cache.relations) <= _MOST_TABLES_FOR_A_HINT:
            guess = hints.closest(name, cache.relations, hints.NAME_SCORE)
        raise relation_not_found(schema, name, guess)
    return relation


def plan_read(relation: Relation, request: ApiRequest, max_rows: int | None) -> Plan:
    """Plan the read that a request asks for.

    Args:
        relation: The table or view.
        request: A GET or HEAD.
        max_rows: The largest number of rows to give.

    Raises:
        ApiError: If the request is malformed.
    """
    followed = request.answer_headers(relation.schema)
    query = read_row_query(request.query, request.headers.get("range"))
    media_type = request.media_type()
    table = quoted(relation.schema, relation.name)
    arguments = Arguments()
    source = select_rows(table, table, query, arguments, max_rows)
    total = count_rows(table, table, query, arguments) if request.preferences().count else "null"
    body = body_of(Shape.ROWS, media_type, is_head=request.method == "HEAD")
    search = canonical(request.query)
    location = f"/{relation.name}" + (f"?{search}" if search else "")
    return Plan(
        sql=answer(source, f"select * from {SOURCE}", body, total),
        arguments=arguments.values,
        is_read_only=True,
        media_type=media_type,
        is_head=request.method == "HEAD",
        rows=query.rows,
        headers={"content-location": location, **followed},
    )


def plan_privilege_check(relation: Relation, request: ApiRequest) -> Plan:
    """Plan the question whether the role might write; its body is `true` or `false`."""
    request.answer_headers(relation.schema)
    request.media_type()  # It may be one that cannot be had.
    arguments = Arguments()
    table = arguments.add(quoted(relation.schema, relation.name))
    privilege = arguments.add(WRITES[request.method])
    return Plan(
        sql=f"select null::bigint, 0::bigint,"
        f" has_table_privilege({table}, {privilege})::text, null, null",
        arguments=arguments.values,
        is_read_only=True,
        media_type=JSON,
    )
