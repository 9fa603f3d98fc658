"""Findings from a call that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook import exceptions
from meshhook._calls import inspect, queues
from meshhook.cli.doctor.database import LONGER_TIMEOUT
from meshhook.cli.doctor.findings import INSTALL, REPAIR, Finding, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook._calls.base import Call

    Ask = Callable[[Call[Any]], Any]

_NOT_EXPOSED = "PGRST106"
# The errors of MeshHook's functions if another part of MeshHook is gone.
_PARTS_ARE_GONE = frozenset({"3F000", "42P01", "42703", "42704", "42804"})
_SQLSTATE_LENGTH = 5

_RELOAD = "if they are there: notify pgrst, 'reload schema'"
_USAGE = "grant usage on schema public to service_role"


def failure(error: exceptions.MeshHookError, ask: Ask, patience_seconds: float) -> Finding:
    """Return the finding that explains why a call failed."""
    code = getattr(error, "code", None) or ""
    function = getattr(error, "function", "meshhook_doctor")
    if code in _PARTS_ARE_GONE:
        message = f"a part of what the migrations create is gone: {_database_message(error)}"
        return problem("functions", message, REPAIR)
    if isinstance(error, exceptions.MissingFunctionsError):
        return _not_exposed() if code == _NOT_EXPOSED else _missing(ask)
    if isinstance(error, exceptions.AuthenticationError):
        fix = "take the secret key of the project that SUPABASE_URL names"
        return problem("key", str(error), fix)
    if isinstance(error, exceptions.PermissionDeniedError):
        return _forbidden(error, function)
    if isinstance(error, exceptions.StatementTimeoutError):
        message = f"{function} was cut off: the statement_timeout is too short"
        return problem("statement timeout", message, LONGER_TIMEOUT)
    return _connection(error, code, patience_seconds)


def _not_exposed() -> Finding:
    fix = "add public to the exposed schemas (dashboard: Project Settings > Data API)"
    return problem("connection", "the API does not expose the schema public", fix)


def _forbidden(error: exceptions.PermissionDeniedError, function: str) -> Finding:
    """Name the missing right; the key was found to be that of service_role."""
    grant = f"grant execute on function public.{function}() to service_role"
    if "schema public" in str(error):
        return problem("rights", "service_role has lost its right to the schema public", _USAGE)
    if f"function {function}" in str(error):
        message = f"service_role has lost its right to the function public.{function}()"
        return problem("rights", message, grant)
    message = f"service_role may not call {function}: {_database_message(error)}"
    return problem("rights", message, f"{_USAGE}; {grant}")


def _connection(error: exceptions.MeshHookError, code: str, patience_seconds: float) -> Finding:
    message = str(error)
    if isinstance(error, exceptions.RequestTimeoutError):
        message = f"no answer within {patience_seconds:g} s"
        fix = "check the host of SUPABASE_URL and what is between it and this machine: proxy, VPN"
    elif isinstance(error, exceptions.UnreachableError):
        fix = "check SUPABASE_URL and the network; locally, start supabase or meshhook dev"
    elif isinstance(error, exceptions.ServerUnavailableError):
        fix = "look at the project in the dashboard: it may be paused, restarting or out of memory"
    elif len(code) == _SQLSTATE_LENGTH:  # an error of Postgres: the URL is right
        fix = "look at the database's logs (dashboard: Logs > Postgres)"
    else:
        fix = "check that SUPABASE_URL is a Supabase project's: https://<project>.supabase.co"
    return problem("connection", message, fix)


def _database_message(error: exceptions.MeshHookError) -> str:
    """Return the database's message, without our advice after it."""
    text, end, _ = str(error).partition(").")
    return f"{text}{end}".removesuffix(".").partition(": ")[2]


def _missing(ask: Ask) -> Finding:
    """Distinguish SQL that was applied in part, or long ago, from none."""
    version = _answer(ask, inspect.version())
    if version is not None:
        schema = version.get("schema_version") if isinstance(version, dict) else None
        message = (
            f"those in this project are older (schema version {schema}), or meshhook_doctor was"
            " dropped"
        )
        return problem("functions", message, REPAIR)
    if _answer(ask, queues.list_all()) is not None:
        message = (
            "MeshHook's SQL is there in part: meshhook_list_queues is, meshhook_doctor and"
            " meshhook_version are not"
        )
        return problem("functions", message, REPAIR)
    return problem(
        "functions",
        "MeshHook's functions are not in this project, or its API has not noticed them",
        f"{INSTALL}; {_RELOAD}",
    )


def _answer(ask: Ask, call: Call[Any]) -> object:
    """Return a function's answer; None if it does not exist, its error if it fails."""
    try:
        return ask(call) or "nothing"
    except exceptions.MissingFunctionsError:
        return None
    except exceptions.RequestError as error:
        return error if error.status is not None else None
