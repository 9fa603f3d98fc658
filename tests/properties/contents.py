"""All rows of MeshHook and PGMQ as one value, to see whether a call has changed any."""

from __future__ import annotations

import psycopg
from psycopg import sql


class Contents:
    """The contents of the schemas `meshhook` and `pgmq`.

    Args:
        connection: A superuser's.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def snapshot(self) -> dict[str, str]:
        """Return a digest of the rows of each table; the order of rows does not matter.

        Each row counts with where it lies, so that one that was written anew as it was shows too.
        """
        tables = self._connection.execute(
            "select n.nspname, c.relname"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname in ('meshhook', 'pgmq') and c.relkind = 'r' order by 1, 2"
        ).fetchall()
        digest = sql.SQL(
            "select {name}, (select md5(coalesce(string_agg(t.ctid::text || t.xmin, ' '"
            " order by t.ctid), '')) from {table} t)"
        )
        query = sql.SQL(" union all ").join(
            digest.format(name=sql.Literal(f"{schema}.{name}"), table=sql.Identifier(schema, name))
            for schema, name in tables
        )
        return dict(self._connection.execute(query).fetchall())
