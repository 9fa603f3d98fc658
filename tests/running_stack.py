"""Run the suite on a stack that is already running: `supabase start`, or a PostgREST of your own.

`MESHHOOK_TEST_URL`, `MESHHOOK_TEST_KEY` and `MESHHOOK_TEST_DATABASE_URL` name it. What is kept are
the tests that use the stack that all tests share; what those of them need that a running stack may
not give is listed in `tests/running_stack_limits.py`. Everything left out is counted at the end.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import httpx
import jwt
import psycopg
import pytest
from postgrest import APIError

from meshhook import connect_sync
from meshhook.exceptions import MeshHookError
from meshhook.migrations import shipped
from tests.running_stack_limits import LIMITS, Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "MESHHOOK_TEST_"
REQUIRED = ("URL", "KEY", "DATABASE_URL")
OPTIONAL = ("ANON_KEY", "JWT_SECRET")

_HOUR = 3600
_NO_SUCH_FUNCTION = "PGRST202"

RUNNING = "running"
"""The PGMQ of the running stack, as the parameter of a test."""


@attrs.frozen(kw_only=True)
class RunningStack:
    """A stack that this run has not started, with what tests use of a `LocalStack`.

    Attributes:
        url: The URL of the project.
        secret_key: The key of the role `service_role`.
        admin_database_url: The URL of the database, for the role that owns MeshHook's tables.
        anon_key: The key of the role `anon`; empty if it is not known.
        jwt_secret: What its tokens are signed with (HS256); empty if it is not known.
    """

    url: str
    secret_key: str = attrs.field(repr=False)
    admin_database_url: str = attrs.field(repr=False)
    anon_key: str = attrs.field(default="", repr=False)
    jwt_secret: str = attrs.field(default="", repr=False)

    @property
    def rest_url(self) -> str:
        """The URL of the Data API."""
        return f"{self.url}/rest/v1"

    @property
    def database_url(self) -> str:
        """The URL of the database; a running stack has one role for all."""
        return self.admin_database_url

    @property
    def service_role_key(self) -> str:
        """A token of the role `service_role`."""
        return self.token("service_role")

    @property
    def publishable_key(self) -> str:
        """The key that stands for the role `anon`."""
        return self.anon_key

    def env(self) -> dict[str, str]:
        """Give the settings under the names of `supabase status -o env`."""
        return {
            "API_URL": self.url,
            "DB_URL": self.database_url,
            "SECRET_KEY": self.secret_key,
            "SERVICE_ROLE_KEY": self.secret_key,
        }

    def token(self, role: str, **claims: object) -> str:
        """Sign a token that the stack accepts."""
        issued = int(time.time())
        usual = {"role": role, "iss": "supabase", "iat": issued, "exp": issued + _HOUR}
        return jwt.encode({**usual, **claims}, self.jwt_secret, algorithm="HS256")


def from_environment(environment: Mapping[str, str] = os.environ) -> RunningStack | None:
    """Return the stack that the environment names, or None if it names none.

    Raises:
        pytest.UsageError: Something of it is named, but not all that is needed.
    """
    given = {name: environment.get(PREFIX + name, "") for name in (*REQUIRED, *OPTIONAL)}
    if not any(given.values()):
        return None
    missing = [PREFIX + name for name in REQUIRED if not given[name]]
    if missing:
        known = ", ".join(PREFIX + name for name, value in given.items() if value)
        raise pytest.UsageError(
            f"{known} names a running stack, but {' and '.join(missing)} is not set: "
            "set all of them to test on that stack, or none to test on an embedded one"
        )
    return RunningStack(
        url=given["URL"].rstrip("/"),
        secret_key=given["KEY"],
        admin_database_url=given["DATABASE_URL"],
        anon_key=given["ANON_KEY"],
        jwt_secret=given["JWT_SECRET"],
    )


STACK = from_environment()
"""The stack of this run, None for an embedded one; read once, as tests delete the variables."""


@attrs.frozen(kw_only=True)
class Abilities:
    """What a running stack allows.

    Attributes:
        superuser: Whether the database's user is a superuser.
        tokens: Whether tests can act as anon and as users.
        closed_to_users: Whether users may not call what enqueues for them; a call of
            `meshhook_allow_user_enqueue` opens it, and dropping the queue does not close it.
    """

    superuser: bool
    tokens: bool
    closed_to_users: bool


def checked(stack: RunningStack) -> Abilities:
    """Check that a stack can be tested on, and return what it allows.

    Raises:
        pytest.UsageError: It does not answer, or does not have the SQL of this checkout.
    """
    _check_schema_version(stack, _schema_version(stack))
    try:
        with psycopg.connect(stack.admin_database_url, connect_timeout=10) as connection:
            is_superuser, is_open = _look(connection)
    except psycopg.Error as error:
        raise pytest.UsageError(f"{PREFIX}DATABASE_URL does not work: {error}") from error
    return Abilities(
        superuser=is_superuser,
        tokens=bool(stack.anon_key and stack.jwt_secret),
        closed_to_users=not is_open,
    )


def _schema_version(stack: RunningStack) -> int:
    try:
        with connect_sync(stack.url, stack.secret_key) as client:
            answer = client.rpc("meshhook_version", {}).execute()
    except APIError as error:
        if error.code == _NO_SUCH_FUNCTION:
            return 0
        raise pytest.UsageError(f"{PREFIX}KEY: {stack.url} refuses it: {error}") from error
    except (MeshHookError, httpx.HTTPError) as error:
        raise pytest.UsageError(f"{PREFIX}URL: {stack.url} does not answer: {error}") from error
    data = answer.data
    assert isinstance(data, dict)
    return int(str(data["schema_version"]))


def _check_schema_version(stack: RunningStack, found: int) -> None:
    wanted = shipped().schema_version
    if found == wanted:
        return
    has = f"version {found} of MeshHook's SQL" if found else "no MeshHook"
    raise pytest.UsageError(
        f"{stack.url} has {has}, and these tests are for version {wanted}. Nothing is installed"
        " by them: run `meshhook migrations install`, and then `supabase migration up`"
    )


def _look(connection: psycopg.Connection) -> tuple[bool, bool]:
    row = connection.execute(
        "select rolsuper, exists (select from pg_proc where proname = 'meshhook_user_enqueue'"
        " and has_function_privilege('authenticated', oid, 'execute'))"
        " from pg_roles where rolname = current_user"
    ).fetchone()
    assert row is not None
    return bool(row[0]), bool(row[1])


class LeftOut:
    """A pytest plugin that leaves out what a running stack cannot do, and counts it.

    Args:
        stack: The stack.
        abilities: What it allows.
    """

    def __init__(self, stack: RunningStack, abilities: Abilities) -> None:
        self._stack = stack
        self._abilities = abilities
        self._counts: Counter[str] = Counter()

    def pytest_report_header(self) -> str:
        """Say where the tests run."""
        user = "a superuser" if self._abilities.superuser else "no superuser"
        return f"running stack: {self._stack.url}, the database's user is {user}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep what can run here."""
        reasons = [(item, self._reason(item)) for item in items]
        self._counts.update(reason for _, reason in reasons if reason)
        config.hook.pytest_deselected(items=[item for item, reason in reasons if reason])
        items[:] = [item for item, reason in reasons if not reason]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was left out, and why."""
        for reason, count in self._counts.most_common():
            terminalreporter.write_line(f"left out: {count} tests {reason}")

    def _reason(self, item: pytest.Item) -> str | None:
        if not _shares_the_stack(item):
            return "that use no stack, or start one of their own"
        limit = next((one for one in LIMITS if one.covers(item.nodeid)), None)
        if limit is None or self._is_met(limit):
            return None
        return limit.reason

    def _is_met(self, limit: Limit) -> bool:
        return bool(limit.unless) and getattr(self._abilities, limit.unless) is True


def _shares_the_stack(item: pytest.Item) -> bool:
    """Return whether a test runs on the stack that all share, and not on one of its own."""
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "database" in parameters:
        return parameters["database"] == RUNNING
    stacks = item._fixtureinfo.name2fixturedefs.get("stack", ())
    return bool(stacks) and stacks[-1].baseid == "tests"


def register(config: pytest.Config) -> None:
    """Have this run use the running stack that the environment names, if it names one.

    Raises:
        pytest.UsageError: The stack cannot be used.
    """
    if STACK is None:
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError(
            "the tests share one project on a running stack: run them in one process, with -n 0"
        )
    config.pluginmanager.register(LeftOut(STACK, checked(STACK)), "meshhook-running-stack")
