"""MeshHook's SQL in a project's database, compared with what this MeshHook expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from meshhook import RepeatPolicy, migrations
from meshhook._calls import inspect
from meshhook._http.advice import INSTALL_AGAIN
from meshhook._http.transport import SyncTransport
from meshhook.cli.doctor.expected import expected
from meshhook.cli.doctor.facts import decode
from meshhook.exceptions import MissingFunctionsError

if TYPE_CHECKING:
    from meshhook.cli.project import Settings

_PUSH = f"supabase db push; if that finds nothing to apply: {INSTALL_AGAIN}"


@attrs.frozen(kw_only=True)
class Installed:
    """The state of MeshHook's SQL in a database.

    Attributes:
        schema_version: The version of MeshHook's SQL, None if the database does not have it.
        functions: How many functions are as they should be.
        missing: The functions that do not exist.
        changed: Those with another text: changed by hand, or of another version.
        unknown: Those that this MeshHook does not know: of a newer version, or an older one.
        is_newer: Whether the database's version is above this MeshHook's.
        problem: Why the database could not be compared, None if it was.
    """

    schema_version: int | None = None
    functions: int = 0
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    is_newer: bool = False
    problem: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing needs to be done."""
        return not (self.problem or self.missing or self.changed or self.is_newer)

    @property
    def fix(self) -> str:
        """What to do; empty if nothing, or if the problem says it."""
        if self.is_newer:
            return "the database is newer than this meshhook: pip install --upgrade meshhook"
        return _PUSH if self.missing or self.changed else ""


def ask(settings: Settings) -> Installed:
    """Compare the SQL in a project's database with what this MeshHook expects."""
    own = migrations.shipped()
    with settings.connect() as client:
        try:
            answer = SyncTransport(client, RepeatPolicy(tries=2)).call(inspect.doctor())
        except MissingFunctionsError as error:
            return Installed(problem=str(error))
    facts = decode(answer)
    if facts.is_strange:
        return Installed(problem=f"meshhook_doctor was changed by hand: {INSTALL_AGAIN}")
    wanted = expected(own.path)
    differences = wanted.differences(facts.functions)
    return Installed(
        schema_version=facts.schema_version,
        functions=len(wanted.functions) - len(differences.missing) - len(differences.changed),
        is_newer=(facts.schema_version or 0) > (own.schema_version or 0),
        **attrs.asdict(differences),
    )
