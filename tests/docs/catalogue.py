"""What the database itself says about the functions and views that the SQL reference describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

ROLES = ("anon", "authenticated", "service_role")


def signatures(admin: psycopg.Connection) -> dict[str, str]:
    """Return each public function's signature, written as the reference writes it."""
    rows = admin.execute(
        "select p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)"
        " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'public' and starts_with(p.proname, 'meshhook_') order by p.proname"
    ).fetchall()
    return {name: _signature(name, arguments, result) for name, arguments, result in rows}


def rights(admin: psycopg.Connection) -> dict[str, set[str]]:
    """Return the API roles that may execute each public function."""
    rows = admin.execute(
        "select p.proname, r.rolname from pg_proc p"
        " join pg_namespace n on n.oid = p.pronamespace cross join pg_roles r"
        " where n.nspname = 'public' and starts_with(p.proname, 'meshhook_')"
        " and r.rolname = any (%s) and has_function_privilege(r.rolname, p.oid, 'execute')",
        [list(ROLES)],
    ).fetchall()
    granted: dict[str, set[str]] = {name: set() for name in signatures(admin)}
    for name, role in rows:
        granted[name].add(role)
    return granted


def views(admin: psycopg.Connection) -> dict[str, list[tuple[str, str]]]:
    """Return the columns of each public view, with their types."""
    rows = admin.execute(
        "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) from pg_class c"
        " join pg_namespace n on n.oid = c.relnamespace"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
        " where n.nspname = 'public' and c.relkind = 'v'"
        " and pg_get_viewdef(c.oid) like '%meshhook.\\_%' order by c.relname, a.attnum"
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for view, column, kind in rows:
        found.setdefault(view, []).append((column, kind))
    return found


def _signature(name: str, arguments: str, result: str) -> str:
    if not arguments:
        return f"{name}() returns {result}"
    lines = [_argument(part) for part in arguments.split(", ")]
    return f"{name}(\n  " + ",\n  ".join(lines) + f"\n) returns {result}"


def _argument(part: str) -> str:
    """Return an argument without the casts that Postgres writes beside defaults."""
    declared, _, default = part.partition(" DEFAULT ")
    if not default:
        return declared
    plain = default.partition("::")[0].lower()
    return f"{declared} default {plain}"
