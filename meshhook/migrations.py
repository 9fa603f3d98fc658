"""MeshHook's SQL: where it lives, and how it gets into a project's `supabase/migrations/`.

A project's migrations are applied once, by their versions, and never change after that. So
MeshHook's files are copied under versions that follow the project's newest, and a later MeshHook
comes as new files: what is there is known by its content and its name, and never touched. A file
may hold all of them, each under a line with its name, as `printed` writes them.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "sql"
_IN_CHECKOUT = _PACKAGE.parent / "supabase" / "migrations"

# What the Supabase CLI takes for a migration; other files in the folder are left alone.
FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")
_VERSION = "%Y%m%d%H%M%S"
_VERSION_DIGITS = 14
# The beginning of one of several migrations in a file.
_SECTION = re.compile(r"^-- (meshhook_\w+)\n\n", re.MULTILINE)
_SCHEMA_VERSION = re.compile(r"'schema_version', (\d+)")

REPAIR = "meshhook_repair"
"""The name of a file that has all of MeshHook's migrations once more."""


class NoVersionLeftError(ValueError):
    """No file can come after the newest one of a folder.

    Args:
        file_name: That file.
    """

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name
        super().__init__(
            f"{file_name} has the highest version that there is, so no file can come after it: "
            "rename it to the time at which it was made, such as 20270131120000 (and where it has "
            "been applied, tell the database: supabase migration repair)"
        )


def migration_files() -> list[Path]:
    """List MeshHook's migrations in the order in which they apply.

    Returns:
        The SQL files, oldest first. Empty if the folder has none yet.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has a folder of migrations.
    """
    for folder in (_IN_WHEEL, _IN_CHECKOUT):
        if folder.is_dir():
            return sorted(folder.glob("*.sql"))
    raise FileNotFoundError(
        f"MeshHook's migrations are missing: neither {_IN_WHEEL} nor {_IN_CHECKOUT} exists; "
        "install meshhook again"
    )


@attrs.frozen(kw_only=True)
class Migration:
    """A migration file.

    Attributes:
        path: Where it is.
        version: The digits that its name begins with.
        name: The rest of its name, without ``.sql``.
        digest: What its content comes to; line endings and spaces at their ends do not count.
        schema_version: The version that it gives MeshHook's SQL, None if it gives none.
    """

    path: Path
    version: str
    name: str
    digest: str
    schema_version: int | None = None

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return self.path.name


@attrs.frozen(kw_only=True)
class Found:
    """One of MeshHook's migrations, and what a folder has of it.

    Attributes:
        migration: MeshHook's.
        copy: The newest file of the folder with its name or its content, None if there is none.
    """

    migration: Migration
    copy: Migration | None

    @property
    def state(self) -> str:
        """What the folder has: it is ``installed``, of an ``other version``, or ``missing``."""
        if self.copy is None:
            return "missing"
        return "installed" if self.copy.digest == self.migration.digest else "other version"


@attrs.frozen(kw_only=True)
class Step:
    """A file to be written.

    Attributes:
        name: The name of the migration.
        path: Where it goes.
        text: Its content.
    """

    name: str
    path: Path
    text: str = attrs.field(repr=False)


def shipped() -> list[Migration]:
    """Return MeshHook's migrations in the order in which they apply.

    Returns:
        The migrations, oldest first.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has a folder of migrations.
    """
    return _migrations(migration_files())


def printed(wanted: Iterable[Migration]) -> str:
    """Return the SQL of migrations as one text, each under a line with its name.

    Args:
        wanted: The migrations.

    Returns:
        The text.
    """
    return "\n".join(f"-- {one.name}\n\n{_text_of(one)}" for one in wanted)


def look(folder: Path) -> list[Found]:
    """Look up what a folder has of MeshHook's migrations.

    Args:
        folder: A project's `supabase/migrations`.

    Returns:
        Each of MeshHook's migrations, in order, with the file that stands for it.
    """
    there = migrations_of(folder)
    return [
        Found(migration=migration, copy=_newest_copy(migration, there)) for migration in shipped()
    ]


def migrations_of(folder: Path) -> list[Migration]:
    """Return the migrations of a folder, in the order in which they apply.

    Args:
        folder: A project's `supabase/migrations`; it need not be there.

    Returns:
        The migrations by version; those of a file that has several follow it.
    """
    files = folder.iterdir() if folder.is_dir() else ()
    return _migrations(sorted(file for file in files if FILE_NAME.fullmatch(file.name)))


def newer_in(folder: Path) -> Migration | None:
    """Return the migration by which a folder shows that a newer MeshHook has been at work.

    Args:
        folder: A project's `supabase/migrations`.

    Returns:
        The newest that gives MeshHook's SQL a higher version than this MeshHook has; None if none
        does.
    """
    own = max((one.schema_version or 0 for one in shipped()), default=0)
    newer = [one for one in migrations_of(folder) if (one.schema_version or 0) > own]
    return max(newer, key=lambda one: one.schema_version or 0, default=None)


def to_write(found: Sequence[Found]) -> Sequence[Found]:
    """Return those that a folder lacks; see `plan`.

    Args:
        found: What `look` says.

    Returns:
        The first that is missing or of another version, and all after it.
    """
    return found[_first_to_write(found) :]


def plan(folder: Path, now: datetime | None = None) -> list[Step]:
    """Say which files a folder needs to have all of MeshHook's migrations.

    From the first that is missing or of another version, every later one is written too: a later
    file may replace what an earlier one creates, and the last one takes away the rights that
    Postgres gives to everybody on whatever is new. All of them can be applied again and again.

    Args:
        folder: A project's `supabase/migrations`.
        now: The time; now if None.

    Returns:
        The files to write, in order; an empty list if nothing is to be done.

    Raises:
        NoVersionLeftError: The folder has a file that no other can follow.
    """
    wanted = [one.migration for one in to_write(look(folder))]
    return [
        Step(name=one.name, path=folder / f"{version}_{one.name}.sql", text=_text_of(one))
        for one, version in zip(wanted, _new_versions(folder, now, len(wanted)), strict=True)
    ]


def plan_again(folder: Path, now: datetime | None = None) -> list[Step]:
    """Say which file a folder needs to have all of MeshHook's migrations applied once more.

    They can be applied again and again: what was dropped or changed is as it was, and so are the
    rights.

    Args:
        folder: A project's `supabase/migrations`.
        now: The time; now if None.

    Returns:
        The one file, which has all of them.

    Raises:
        NoVersionLeftError: The folder has a file that no other can follow.
    """
    (version,) = _new_versions(folder, now, 1)
    head = "-- All of MeshHook's SQL once more: meshhook migrations install --again.\n\n"
    path = folder / f"{version}_{REPAIR}.sql"
    return [Step(name=REPAIR, path=path, text=head + printed(shipped()))]


def install(steps: Iterable[Step]) -> list[Path]:
    """Write the files of a plan: all or none, and none over another.

    Args:
        steps: What `plan` or `plan_again` says.

    Returns:
        The files that were written.

    Raises:
        OSError: A file cannot be written, or is there already.
    """
    written: list[Path] = []
    try:
        for step in steps:
            step.path.parent.mkdir(parents=True, exist_ok=True)
            with step.path.open("x", encoding="utf-8") as file:
                written.append(step.path)
                file.write(step.text)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def _text_of(migration: Migration) -> str:
    return migration.path.read_text(encoding="utf-8")


def _migrations(files: Iterable[Path]) -> list[Migration]:
    return [migration for file in files for migration in _in_file(file)]


def _in_file(file: Path) -> Iterator[Migration]:
    """Go through a file as one migration, and through those that it has under their names."""
    version, _, name = file.stem.partition("_")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    text = "\n".join(line.rstrip() for line in lines)
    yield _migration(file, version, name, text)
    _, *sections = _SECTION.split(text)
    for inner, part in zip(sections[::2], sections[1::2], strict=True):
        yield _migration(file, version, inner, part)


def _migration(file: Path, version: str, name: str, text: str) -> Migration:
    digest = hashlib.sha256(text.rstrip().encode()).hexdigest()
    given = _SCHEMA_VERSION.search(text)
    return Migration(
        path=file,
        version=version,
        name=name,
        digest=digest,
        schema_version=int(given[1]) if given else None,
    )


def _newest_copy(migration: Migration, there: Sequence[Migration]) -> Migration | None:
    copies = (one for one in there if one.name == migration.name or one.digest == migration.digest)
    return max(copies, key=lambda one: one.version, default=None)


def _first_to_write(found: Sequence[Found]) -> int:
    """Return the position of the first that is not there, or not after the one before it."""
    before = ""
    for position, one in enumerate(found):
        if one.copy is None or one.state != "installed" or one.copy.version < before:
            return position
        before = one.copy.version
    return len(found)


def _new_versions(folder: Path, now: datetime | None, count: int) -> list[str]:
    """Return versions that follow all others, whether these are compared as texts or as numbers."""
    if not count:
        return []
    there = {one.version: one.file_name for one in migrations_of(folder)}
    digits = max([_VERSION_DIGITS, *map(len, there)])
    newest = max(there, key=lambda version: version.ljust(digits, "0"), default="")
    before = newest.ljust(digits, "0") if newest else ""
    present = (now or datetime.now(UTC)).strftime(_VERSION).ljust(digits, "0")
    try:
        made = [present if present > before else _next(before)]
        while len(made) < count:
            made.append(_next(made[-1]))
    except OverflowError as error:
        raise NoVersionLeftError(there[newest]) from error
    return made


def _next(version: str) -> str:
    """Return the version a second later, or of the next number where it is no time."""
    try:
        time = datetime.strptime(version, _VERSION).replace(tzinfo=UTC)
    except ValueError:
        following = str(int(version) + 1).rjust(len(version), "0")
        if len(following) > len(version):
            raise OverflowError(version) from None
        return following
    return (time + timedelta(seconds=1)).strftime(_VERSION)
