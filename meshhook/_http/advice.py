"""What to do about a failed call, by its error class, code and message, and by the key's role.

Pure functions. The codes decide. A message is searched only for names, such as the name of a table,
because Postgres translates the rest.
"""

from __future__ import annotations

import base64
import json
import re

from meshhook import exceptions

INSTALL_AGAIN = "meshhook migrations install --again, then supabase db push"

NOT_FOR_THIS_KEY = (
    "Use the project's secret (service role) key; anon and publishable keys and users' tokens may "
    "not do this."
)
LOST_RIGHT = (
    "The key is the secret one, but its role service_role has lost its right to this: "
    f"{INSTALL_AGAIN}."
)
TABLE_OF_ANOTHER_ROLE = (
    "The key is the secret one, but the table belongs to another role than MeshHook's functions, "
    "which run as the role that applied the migrations (postgres, usually): as its owner, grant "
    "all on the table to that role."
)
NO_RIGHT_TO_WHAT_IS_NAMED = (
    "The key is the secret one: a right to what the message names is missing. Grant it, or look "
    "for a trigger or function of yours that uses it."
)
NO_GRANT = (
    "Let the owner of the database call meshhook.grant_enqueue() or meshhook.grant_work() for this "
    "role, or use the secret key."
)
USERS_ARE_NOT_ALLOWED = (
    "Send the access token of a signed-in user, and let the server call "
    "meshhook_allow_user_enqueue() for the queue."
)
SECRET_KEY_OR_LOST_RIGHT = (
    "Use the project's secret (service role) key. If it is that one, service_role has lost its "
    f"right: {INSTALL_AGAIN}."
)
TURNED_AWAY = (
    "Something before the database refused the call: check the key, and what stands between here "
    "and the API, such as the project's network restrictions."
)

RAISED_BY_CODE = (
    "Code in the database raised this, such as a trigger or function of yours: look there for the "
    "text."
)
NO_PGMQ = (
    "PGMQ, or a part of it, is missing: enable the extension pgmq (Integrations > Queues in the "
    f"dashboard), then {INSTALL_AGAIN}."
)
CODE_DOES_NOT_FIT = (
    "Code in the database names something that is not there: meshhook doctor compares MeshHook's "
    "own functions; if those are whole, look at triggers and functions of yours."
)
REFUSED_BY_THE_DATABASE = (
    "The database refused the call: the message says why, and the project's logs say more."
)
VIOLATES_A_CONSTRAINT = "A constraint of the database refused it: the message names it."
NOT_A_USABLE_VALUE = "A value is not usable: the message says which, and why."
TOO_LARGE = "Send less at once: smaller jobs, or fewer of them."
NOT_UNDERSTOOD = (
    "The API did not understand the call: upgrade meshhook and apply its migrations. If that does "
    "not help, please report it."
)

BY_CLASS: dict[type[exceptions.RequestError], str] = {
    exceptions.ExpiredKeyError: "Use a key or token that has not expired.",
    exceptions.InvalidKeyError: (
        "Check that SUPABASE_KEY is the secret (service role) key of the project at SUPABASE_URL."
    ),
    exceptions.MissingFunctionsError: (
        "Apply MeshHook's migrations: meshhook migrations install, then supabase db push. If they "
        "are newer than this meshhook, upgrade it: pip install --upgrade meshhook. If they were "
        "applied before, something was dropped or changed since, or the API has not noticed "
        f"it: {INSTALL_AGAIN}, which creates all of it again and reloads the API's schema cache "
        "(so does running what meshhook migrations print prints)."
    ),
    exceptions.PermissionDeniedError: SECRET_KEY_OR_LOST_RIGHT,
    exceptions.QueueNotFoundError: (
        "Call create_queue() once: it creates the queue, or what is missing of it."
    ),
    exceptions.RateLimitedError: "Send fewer requests, or larger batches.",
    exceptions.ServerUnavailableError: "Wait; if it lasts, look at the project's status and logs.",
    exceptions.StatementTimeoutError: (
        "Ask for less at once, or raise the statement_timeout of service_role."
    ),
    exceptions.UnexpectedAnswerError: (
        "Check that SUPABASE_URL is the URL of a Supabase project, without a path such as /rest/v1."
    ),
    exceptions.DatabaseError: REFUSED_BY_THE_DATABASE,
}

_QUEUE_TABLE = re.compile(r"\b[qa]_[a-z0-9_]")
_OWN = re.compile(r"\bmeshhook|\bqueue_monitoring\b|\bjob_statistics\b")
_NO_SUCH_PATH = frozenset({"PGRST125", "PGRST205"})


def advice(
    kind: type[exceptions.RequestError],
    function: str,
    status: int,
    code: str | None,
    message: str | None,
    role: str | None,
) -> str:
    """Return what to do about a failed call, or nothing.

    The role is the role of its key or token; None if it is unknown.
    """
    about = message or ""
    if kind is exceptions.PermissionDeniedError:
        return _about_permission(function, about, role) if code else TURNED_AWAY
    if kind is exceptions.DatabaseError:
        return _about_database(code or "", about)
    if kind is exceptions.RejectedError:
        return _about_rejection(status, code or "")
    if kind is exceptions.UnexpectedAnswerError and (code or "").startswith("PGRST"):
        return BY_CLASS[kind] if code in _NO_SUCH_PATH else NOT_UNDERSTOOD
    return BY_CLASS.get(kind, "")


def _about_permission(function: str, message: str, role: str | None) -> str:
    if function == "meshhook_user_enqueue" and role in {"anon", "authenticated"}:
        return USERS_ARE_NOT_ALLOWED
    if role in {"anon", "authenticated"}:
        return NOT_FOR_THIS_KEY
    if role is None:
        return SECRET_KEY_OR_LOST_RIGHT
    if role != "service_role":
        return NO_GRANT
    if _OWN.search(message):
        return LOST_RIGHT
    return TABLE_OF_ANOTHER_ROLE if _QUEUE_TABLE.search(message) else NO_RIGHT_TO_WHAT_IS_NAMED


def _about_database(code: str, message: str) -> str:
    if code[:2] in {"P0", "PT"}:
        return RAISED_BY_CODE
    if code[:2] in {"3F", "42"}:
        return NO_PGMQ if re.search(r"\bpgmq\b", message) else CODE_DOES_NOT_FIT
    return REFUSED_BY_THE_DATABASE


def _about_rejection(status: int, code: str) -> str:
    by_code_class = {
        "22": NOT_A_USABLE_VALUE,
        "23": VIOLATES_A_CONSTRAINT,
        "54": TOO_LARGE,
    }
    too_large = TOO_LARGE if status == 413 else ""  # noqa: PLR2004 - HTTP's
    return by_code_class.get(code[:2], too_large)


def is_about_own(message: str | None) -> bool:
    """Return whether a message names a function, table, view or schema of MeshHook's."""
    return _OWN.search(message or "") is not None


def is_about_a_queue(message: str | None) -> bool:
    """Return whether a message names the table or the archive of a queue."""
    return "pgmq." in (message or "") and _QUEUE_TABLE.search(message or "") is not None


def role_of(key: str) -> str | None:
    """Return the role of a key or token; None if it does not say."""
    if key.startswith("sb_publishable_"):
        return "anon"
    if key.startswith("sb_secret_"):
        return "service_role"
    try:
        payload = key.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["role"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
