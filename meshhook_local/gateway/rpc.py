"""Calls of functions: the statement that calls one, with the arguments that the request brings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from meshhook_local.gateway.errors import rpc_method_not_allowed
from meshhook_local.gateway.payload import Payload, of_pairs, read_payload
from meshhook_local.gateway.plans import Plan
from meshhook_local.gateway.query_string import (
    ALL_ROWS,
    RowQuery,
    as_array,
    read_row_query,
    split_arguments,
)
from meshhook_local.gateway.request import JSON, ApiRequest
from meshhook_local.gateway.resolution import Wanted, resolve
from meshhook_local.gateway.schema_cache import Function, Parameter, Shape
from meshhook_local.gateway.statements import (
    SCALAR,
    SOURCE,
    Arguments,
    answer,
    body_of,
    count_rows,
    quoted,
    select_rows,
)

if TYPE_CHECKING:
    from meshhook_local.gateway.schema_cache import SchemaCache
    from meshhook_local.gateway.settings import GatewaySettings

_CACHED_CALLS = 1024


def plan_call(
    name: str, request: ApiRequest, cache: SchemaCache, settings: GatewaySettings
) -> Plan:
    """Plan the call that a request asks for.

    Args:
        name: The function's name.
        request: The request.
        cache: The functions that there are.
        settings: The exposed schema and the largest number of rows of a set.

    Raises:
        ApiError: If the request is malformed or no function fits it.
    """
    if request.method != "POST" and not request.is_read:
        raise rpc_method_not_allowed(request.method)
    headers = request.answer_headers(settings.schema)
    payload, query = _read(request)
    wanted = Wanted(
        schema=settings.schema, name=name, payload=payload, is_post=request.method == "POST"
    )
    function = resolve(wanted, cache)
    arguments = Arguments()
    source = _call(function, payload, arguments)
    return Plan(
        sql=_statement(function, source, query, request, arguments, settings.max_rows),
        arguments=arguments.values,
        is_read_only=request.is_read or not function.is_volatile,
        settings=dict(function.settings),
        isolation=function.isolation,
        media_type=request.media_type(),
        is_void=function.shape is Shape.VOID,
        is_head=request.method == "HEAD",
        rows=query.rows,
        headers=headers,
    )


def _read(request: ApiRequest) -> tuple[Payload, RowQuery]:
    if not request.is_read:
        query = read_row_query(request.query) if request.query else ALL_ROWS
        return read_payload(request), query
    arguments, rest = split_arguments(request.query)
    # A call by GET gives its arguments as a form does.
    return of_pairs("", arguments), read_row_query(rest, request.headers.get("range"))


def _statement(
    function: Function,
    source: str,
    query: RowQuery,
    request: ApiRequest,
    arguments: Arguments,
    max_rows: int | None,
) -> str:
    """Write the statement around the query that calls the function."""
    is_set = function.shape in {Shape.SCALARS, Shape.ROWS}
    body = body_of(function.shape, request.media_type(), is_head=request.method == "HEAD")
    if query == ALL_ROWS and not is_set:
        return answer(source, f"select * from {SOURCE}", body, "null")
    alias = quoted(function.name)
    result = f"{SOURCE} {alias}"
    rows = select_rows(result, alias, query, arguments, max_rows if is_set else None)
    counts = is_set and request.preferences().count
    total = count_rows(result, alias, query, arguments) if counts else "null"
    return answer(source, rows, body, total)


def _call(function: Function, payload: Payload, arguments: Arguments) -> str:
    """Write the query that calls the function, and put its arguments where it finds them."""
    if function.parameters and not function.parameters[0].name:
        placeholder = arguments.add(payload.text)
        return _query(function, "", f"{placeholder}::{function.parameters[0].type}")
    if payload.media_type != JSON:
        return _query(function, "", _from_pairs(function, payload, arguments))
    if payload.keys:
        arguments.add(payload.text)
        return _query_from_json(function, payload.keys, payload.is_array)
    return _query(function, "", "")


@functools.lru_cache(_CACHED_CALLS)
def _query_from_json(
    function: Function,
    keys: frozenset[str],
    is_array: bool,  # noqa: FBT001 - a cached function is called by position
) -> str:
    """Let Postgres convert the arguments, so that its own errors come out."""
    passed = [parameter for parameter in function.parameters if parameter.name in keys]
    columns = ", ".join(f"{quoted(p.name)} {p.column_type}" for p in passed)
    reader = "json_to_recordset" if is_array else "json_to_record"
    source = f"(select * from {reader}($1::json) as _({columns}) limit 1) pgrst_args, lateral "
    values = ", ".join(_named(p, f"pgrst_args.{quoted(p.name)}") for p in passed)
    return _query(function, source, values)


def _from_pairs(function: Function, payload: Payload, arguments: Arguments) -> str:
    """Write the arguments of a form or of a query string, each converted from its text."""
    values = []
    for parameter in function.parameters:
        given = [text for name, text in payload.pairs if name == parameter.name]
        if given:
            value = as_array(given) if parameter.variadic else given[-1]
            values.append(_named(parameter, f"{arguments.add(value)}::{parameter.column_type}"))
    return ", ".join(values)


def _named(parameter: Parameter, value: str) -> str:
    return f"{'variadic ' if parameter.variadic else ''}{quoted(parameter.name)} := {value}"


def _query(function: Function, source: str, values: str) -> str:
    call = f"{quoted(function.schema, function.name)}({values})"
    if function.shape in {Shape.ROW, Shape.ROWS}:
        return f"select pgrst_call.* from {source}{call} pgrst_call"
    return f"select pgrst_call.{SCALAR} from {source}(select {call} as {SCALAR}) pgrst_call"
