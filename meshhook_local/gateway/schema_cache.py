"""What the gateway knows of the database: functions, tables and views, settings of roles."""

from __future__ import annotations

import enum
import importlib.resources
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of a function's own settings, those that must hold for the whole transaction to have an effect.
_HOISTED = frozenset({"statement_timeout", "plan_filter.statement_cost_limit"})
_ISOLATION = "default_transaction_isolation"


class Shape(enum.Enum):
    """What a function returns."""

    VOID = enum.auto()
    SCALAR = enum.auto()
    SCALARS = enum.auto()
    ROW = enum.auto()
    ROWS = enum.auto()


@attrs.frozen
class Parameter:
    """A parameter of a function.

    Attributes:
        name: Its name, empty if it has none.
        type: Its type, as Postgres writes it.
        required: Whether it has no default.
        variadic: Whether it takes all further arguments.
    """

    name: str
    type: str
    required: bool
    variadic: bool

    @property
    def column_type(self) -> str:
        """The type without a length: `character` alone would mean one character."""
        return {"character": "bpchar", "bit": "bit varying"}.get(self.type, self.type)


@attrs.frozen(kw_only=True, cache_hash=True)
class Function:
    """A function that can be called.

    Attributes:
        schema: Its schema.
        name: Its name.
        parameters: Its input parameters.
        shape: What it returns.
        is_volatile: Whether it may write.
        settings: Its settings that are made for the whole transaction.
        isolation: The isolation level that it asks for, or None.
    """

    schema: str
    name: str
    parameters: tuple[Parameter, ...]
    shape: Shape
    is_volatile: bool
    settings: tuple[tuple[str, str], ...]
    isolation: str | None

    def takes(self, keys: frozenset[str]) -> bool:
        """Return whether the function can be called with arguments of exactly these names."""
        names = {parameter.name for parameter in self.parameters}
        required = {parameter.name for parameter in self.parameters if parameter.required}
        return required <= keys <= names


@attrs.frozen
class Relation:
    """A table or a view.

    Attributes:
        schema: Its schema.
        name: Its name.
        kind: What Postgres calls it, for example `view`.
    """

    schema: str
    name: str
    kind: str


@attrs.frozen(kw_only=True)
class SchemaCache:
    """The schema as of the last time that it was read.

    Attributes:
        functions: The functions by their name, those with fewer parameters first.
        relations: The tables and views by their name.
        role_settings: What each role sets, by its name.
    """

    functions: Mapping[str, tuple[Function, ...]]
    relations: Mapping[str, Relation]
    role_settings: Mapping[str, Mapping[str, str]]

    def settings_of(self, role: str) -> Mapping[str, str]:
        """Return what is set for a transaction of *role*, without its isolation level."""
        settings = self.role_settings.get(role, {})
        return {name: value for name, value in settings.items() if name != _ISOLATION}

    def isolation_of(self, role: str) -> str | None:
        """Return the isolation level that *role* asks for."""
        return self.role_settings.get(role, {}).get(_ISOLATION)


async def read_schema(connection: psycopg.AsyncConnection[Any], schema: str) -> SchemaCache:
    """Read what the gateway must know.

    Args:
        connection: A connection in autocommit mode.
        schema: The exposed schema.

    Raises:
        psycopg.errors.InvalidSchemaName: If the exposed schema does not exist.
    """
    # With an empty path, types outside pg_catalog are written with their schema.
    await connection.execute("set search_path = ''")
    if await _rows(connection, "missing_schemas", [schema]):
        raise psycopg.errors.InvalidSchemaName(f'schema "{schema}" does not exist')
    functions = await _rows(connection, "functions", [schema])
    relations = await _rows(connection, "relations", [schema])
    return SchemaCache(
        functions=_by_name(map(_function, functions)),
        relations={row["name"]: Relation(**row) for row in relations},
        role_settings=_by_role(await _rows(connection, "role_settings")),
    )


async def _rows(
    connection: psycopg.AsyncConnection[Any], query: str, *parameters: list[str]
) -> list[dict[str, Any]]:
    async with psycopg.AsyncRawCursor(connection, row_factory=dict_row) as cursor:
        await cursor.execute(_query_text(query), parameters or [[]][:0])
        return await cursor.fetchall()


def _query_text(name: str) -> str:
    folder = importlib.resources.files(__package__).joinpath("sql")
    return folder.joinpath(f"{name}.sql").read_text()


def _function(row: Mapping[str, Any]) -> Function:
    settings = dict(line.split("=", 1) for line in row["settings"])
    return Function(
        schema=row["schema"],
        name=row["name"],
        parameters=tuple(Parameter(**parameter) for parameter in row["parameters"]),
        shape=_shape(row),
        is_volatile=row["volatility"] == "v",
        settings=tuple((name, value) for name, value in settings.items() if name in _HOISTED),
        isolation=settings.get(_ISOLATION),
    )


def _shape(row: Mapping[str, Any]) -> Shape:
    if row["returns_void"] and not row["returns_set"]:
        return Shape.VOID
    if row["returns_row"]:
        return Shape.ROWS if row["returns_set"] else Shape.ROW
    return Shape.SCALARS if row["returns_set"] else Shape.SCALAR


def _by_name(functions: Iterable[Function]) -> dict[str, tuple[Function, ...]]:
    named: dict[str, list[Function]] = defaultdict(list)
    for function in functions:
        named[function.name].append(function)
    return {name: tuple(overloads) for name, overloads in named.items()}


def _by_role(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        settings[row["role"]][row["name"]] = row["value"]
    return dict(settings)
