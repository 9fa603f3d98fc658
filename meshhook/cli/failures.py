"""What a call that failed says about the project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook import exceptions as errors
from meshhook.cli.diagnosis.database import LONGER_TIMEOUT
from meshhook.cli.findings import INSTALL, REPAIR, Finding, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[[str], Any]

_NOT_EXPOSED = "PGRST106"
# What a function of MeshHook meets where another part of MeshHook is gone.
_PARTS_ARE_GONE = frozenset({"3F000", "42P01", "42703", "42704", "42804"})
_SQLSTATE_LENGTH = 5

_RELOAD = "if they are there: notify pgrst, 'reload schema'"
_USAGE = "grant usage on schema public to service_role"


def failure(error: errors.MeshHookError, ask: Ask, patience_seconds: float) -> Finding:
    """Say what a call that failed says about the project.

    Args:
        error: The error of the call.
        ask: What calls another function of MeshHook that takes no arguments.
        patience_seconds: How long an answer was waited for at most.

    Returns:
        What is found.
    """
    code = getattr(error, "code", None) or ""
    function = getattr(error, "function", "meshhook_doctor")
    if code in _PARTS_ARE_GONE:
        message = f"a part of what the migrations create is gone: {_told(error)}"
        return problem("functions", message, REPAIR)
    if isinstance(error, errors.MissingFunctionsError):
        return _not_exposed() if code == _NOT_EXPOSED else _missing(ask)
    if isinstance(error, errors.AuthenticationError):
        fix = "take the secret key of the project that SUPABASE_URL names"
        return problem("key", str(error), fix)
    if isinstance(error, errors.PermissionDeniedError):
        return _forbidden(error, function)
    if isinstance(error, errors.StatementTimeoutError):
        message = f"{function} was cut off: the statement_timeout is too short"
        return problem("statement timeout", message, LONGER_TIMEOUT)
    return _connection(error, code, patience_seconds)


def _not_exposed() -> Finding:
    fix = "add public to the exposed schemas (dashboard: Project Settings > Data API)"
    return problem("connection", "the API does not expose the schema public", fix)


def _forbidden(error: errors.PermissionDeniedError, function: str) -> Finding:
    """Name the right that is missing: the key has been found to be service_role's."""
    grant = f"grant execute on function public.{function}() to service_role"
    if "schema public" in str(error):
        return problem("rights", "service_role has lost its right to the schema public", _USAGE)
    if f"function {function}" in str(error):
        message = f"service_role has lost its right to the function public.{function}()"
        return problem("rights", message, grant)
    message = f"service_role may not call {function}: {_told(error)}"
    return problem("rights", message, f"{_USAGE}; {grant}")


def _connection(error: errors.MeshHookError, code: str, patience_seconds: float) -> Finding:
    message = str(error)
    if isinstance(error, errors.RequestTimeoutError):
        message = f"no answer within {patience_seconds:g} s"
        fix = "check the host of SUPABASE_URL and what is between it and this machine: proxy, VPN"
    elif isinstance(error, errors.UnreachableError):
        fix = "check SUPABASE_URL and the network; locally, start supabase or meshhook dev"
    elif isinstance(error, errors.ServerUnavailableError):
        fix = "look at the project in the dashboard: it may be paused, restarting or out of memory"
    elif len(code) == _SQLSTATE_LENGTH:  # an error of Postgres proves that the URL is right
        fix = "look at the database's logs (dashboard: Logs > Postgres)"
    else:
        fix = "check that SUPABASE_URL is a Supabase project's: https://<project>.supabase.co"
    return problem("connection", message, fix)


def _told(error: errors.MeshHookError) -> str:
    """Return what the database said, without our advice after it."""
    text, end, _ = str(error).partition(").")
    return f"{text}{end}".removesuffix(".").partition(": ")[2]


def _missing(ask: Ask) -> Finding:
    """Tell SQL that was applied in part, or long ago, from none."""
    version = _answer(ask, "meshhook_version")
    if version is not None:
        schema = version.get("schema_version") if isinstance(version, dict) else None
        message = (
            f"those in this project are older (schema version {schema}), or meshhook_doctor was"
            " dropped"
        )
        return problem("functions", message, REPAIR)
    if _answer(ask, "meshhook_list_queues") is not None:
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


def _answer(ask: Ask, function: str) -> object:
    """Return what a function answers; None if it is not there, its error if it is and fails."""
    try:
        return ask(function) or "nothing"
    except errors.MissingFunctionsError:
        return None
    except errors.RequestError as error:
        return error if error.status is not None else None
