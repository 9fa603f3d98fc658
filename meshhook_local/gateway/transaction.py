"""One request, one transaction, one round trip to the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from meshhook_local.gateway.errors import from_postgres, not_single
from meshhook_local.gateway.plans import Plan, Result
from meshhook_local.gateway.statements import quoted

if TYPE_CHECKING:
    from meshhook_local.gateway.authentication import Identity
    from meshhook_local.gateway.pool import Connection, ConnectionPool
    from meshhook_local.gateway.request import ApiRequest
    from meshhook_local.gateway.schema_cache import SchemaCache
    from meshhook_local.gateway.settings import GatewaySettings

# One statement for any settings of a request, so that it is prepared once. They are made in
# the order of the keys: what the role sets for itself before the role is taken on.
_MAKE_SETTINGS = (
    "select count(set_config(setting.key, setting.value, true))"
    " from json_each_text($1::json) setting"
)
_ISOLATION_LEVELS = frozenset(
    {"read committed", "read uncommitted", "repeatable read", "serializable"}
)


class Database:
    """Runs plans.

    Args:
        pool: Where connections come from.
        settings: The exposed schema and the search path.
    """

    def __init__(self, pool: ConnectionPool, settings: GatewaySettings) -> None:
        self._pool = pool
        self._search_path = ", ".join(
            quoted(name) for name in (settings.schema, *settings.extra_search_path)
        )

    async def run(
        self, plan: Plan, identity: Identity, request: ApiRequest, cache: SchemaCache
    ) -> Result:
        """Run a plan as the given role, in a transaction of its own.

        Raises:
            ApiError: Whatever Postgres says, or that the database cannot be reached.
        """
        settings = json.dumps(
            {
                "search_path": self._search_path,
                **cache.settings_of(identity.role),
                "role": identity.role,
                "request.jwt.claims": identity.claims,
                **request.database_settings(),
                **plan.settings,
            }
        )
        begin = _begin(plan, cache.isolation_of(identity.role))
        async with self._pool.connection() as connection:
            try:
                return await _run(connection, begin, settings, plan)
            except psycopg.Error as error:
                raise from_postgres(error, anonymous=identity.is_anonymous) from error
            finally:
                await _leave(connection)


async def _run(connection: Connection, begin: str, settings: str, plan: Plan) -> Result:
    # In pipeline mode the four statements go out together; after one that fails, Postgres skips
    # the rest. Where rows must be counted before the commit, that one waits.
    async with connection.pipeline():
        await _execute(connection, begin)
        await _execute(connection, _MAKE_SETTINGS, settings, prepare=True)
        cursor = await _execute(connection, plan.sql, *plan.arguments, prepare=True)
        if not plan.wants_one:
            await _execute(connection, "commit")
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - every statement of ours gives one row
    result = Result(*row)
    if plan.wants_one:
        if result.count != 1:
            raise not_single(result.count)
        await _execute(connection, "commit")
    return result


async def _execute(
    connection: Connection, text: str, *arguments: Any, prepare: bool = False
) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    # Composed of quoted names; psycopg's types ask for literals.
    return await connection.execute(text, arguments or None, prepare=prepare or None)


async def _leave(connection: Connection) -> None:
    """End a transaction that is still open, so that the connection can serve another request."""
    if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
        try:
            await connection.rollback()
        except psycopg.OperationalError:
            await connection.close()


def _begin(plan: Plan, role_isolation: str | None) -> str:
    level = plan.isolation or role_isolation or ""
    isolation = f"isolation level {level} " if level in _ISOLATION_LEVELS else ""
    return f"begin {isolation}{'read only' if plan.is_read_only else 'read write'}"
