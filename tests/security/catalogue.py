"""What a database holds, and what each role may do with it, as its catalogue tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import psycopg


@attrs.frozen(order=True)
class Thing:
    """Something that a migration can create.

    Attributes:
        kind: What it is: schema, table, view, sequence, function, type, and what has no rights.
        name: Its name with its schema; of a function, with its arguments too.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


Catalogue = dict[Thing, int]
"""Each thing with its oid."""

_THINGS = """
  select 'schema', nspname::text, oid from pg_namespace where nspname !~ '^pg_(toast|temp)'
  union all
  select
    case relkind when 'r' then 'table' when 'v' then 'view' when 'S' then 'sequence'
      else 'relation of kind ' || relkind::text end,
    oid::regclass::text, oid
  from pg_class where relkind not in ('i', 't', 'I') and relnamespace::regnamespace::text !~ '^pg_'
  union all
  select
    case when t.typrelid <> 0 then 'row type' when e.typrelid <> 0 then 'array of rows'
      when t.typcategory = 'A' then 'array' else 'type' end,
    t.oid::regtype::text, t.oid
  from pg_type t left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
  where t.typnamespace::regnamespace::text !~ '^pg_'
  union all
  select 'function', oid::regprocedure::text, oid
  from pg_proc where pronamespace::regnamespace::text !~ '^pg_'
  union all
  select
    'default privileges',
    concat_ws(' ', defaclrole::regrole, defaclnamespace, defaclobjtype, defaclacl::text), oid
  from pg_default_acl
  union all select 'role', rolname::text, oid from pg_roles
  union all
  select 'membership', concat_ws(' to ', roleid::regrole, member::regrole), roleid
  from pg_auth_members
  union all
  select 'setting', concat_ws(' ', setdatabase, setrole::regrole, setconfig::text), setrole
  from pg_db_role_setting
  union all select 'extension', extname::text, oid from pg_extension
  union all select 'event trigger', evtname::text, oid from pg_event_trigger
  union all
  select 'trigger', concat_ws(' ', tgrelid::regclass, tgname), oid
  from pg_trigger where not tgisinternal
  union all select 'policy', concat_ws(' ', polrelid::regclass, polname), oid from pg_policy
  union all select 'publication', pubname::text, oid from pg_publication
  union all select 'operator', oid::regoperator::text, oid from pg_operator where oid >= 16384
  union all
  select 'cast', concat_ws(' as ', castsource::regtype, casttarget::regtype), oid
  from pg_cast where oid >= 16384
"""

_PRIVILEGES = {
    "schema": ("has_schema_privilege", ["CREATE", "USAGE"]),
    "table": (
        "has_table_privilege",
        ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"],
    ),
    "sequence": ("has_sequence_privilege", ["SELECT", "UPDATE", "USAGE"]),
    "function": ("has_function_privilege", ["EXECUTE"]),
}
_PRIVILEGES["view"] = _PRIVILEGES["table"]

WITH_RIGHTS = frozenset(_PRIVILEGES)
"""The kinds of things that one may have rights to."""


def read(connection: psycopg.Connection) -> Catalogue:
    """Return everything that the database holds and Postgres did not bring along."""
    with connection.transaction():
        # With an empty path, every name is written with its schema.
        connection.execute("set local search_path = ''")
        rows = connection.execute(_THINGS.encode()).fetchall()
    return {Thing(kind, name): oid for kind, name, oid in rows}


def rights(connection: psycopg.Connection, kind: str, oid: int, role: str) -> frozenset[str]:
    """Return what a role may do with a thing, by itself or through everybody's rights."""
    function, privileges = _PRIVILEGES[kind]
    rows = connection.execute(
        f"select p from unnest(%s::text[]) p where {function}(%s, %s::oid, p)".encode(),
        [privileges, role, oid],
    ).fetchall()
    return frozenset(privilege for (privilege,) in rows)


def executable(connection: psycopg.Connection, role: str) -> set[str]:
    """Return MeshHook's functions that a role may execute."""
    rows = connection.execute(
        "select proname from pg_proc where proname like 'meshhook%%'"
        " and has_function_privilege(%s, oid, 'execute')",
        [role],
    ).fetchall()
    return {name for (name,) in rows}
