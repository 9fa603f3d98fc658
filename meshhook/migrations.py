"""MeshHook's SQL: where it lives, and how it gets into a project's `supabase/migrations/`.

A project's migrations are applied once, by their versions, and never change after that. So
MeshHook's files are copied under versions that follow the project's newest, and a later MeshHook
comes as new files: what is there is known by its content and its name, and never touched.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "sql"
_IN_CHECKOUT = _PACKAGE.parent / "supabase" / "migrations"

# What the Supabase CLI takes for a migration; other files in the folder are left alone.
FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")
_VERSION = "%Y%m%d%H%M%S"
_VERSION_DIGITS = 14


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
    """

    path: Path
    version: str
    name: str
    digest: str

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
        migration: MeshHook's, whose content it gets.
        path: Where it goes.
    """

    migration: Migration
    path: Path


def shipped() -> list[Migration]:
    """Return MeshHook's migrations in the order in which they apply.

    Returns:
        The migrations, oldest first.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has a folder of migrations.
    """
    return _migrations(migration_files())


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
        The migrations by version.
    """
    files = folder.iterdir() if folder.is_dir() else ()
    return _migrations(sorted(file for file in files if FILE_NAME.fullmatch(file.name)))


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
    """
    found = look(folder)
    first = _first_to_write(found)
    versions = _versions_after(
        [migration.version for migration in migrations_of(folder)],
        now or datetime.now(UTC),
        len(found) - first,
    )
    return [
        Step(migration=one.migration, path=folder / f"{version}_{one.migration.name}.sql")
        for one, version in zip(found[first:], versions, strict=True)
    ]


def install(steps: Iterable[Step]) -> list[Path]:
    """Write the files of a plan: all or none, and none over another.

    Args:
        steps: What `plan` says.

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
                file.write(step.migration.path.read_text(encoding="utf-8"))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def _migrations(files: Iterable[Path]) -> list[Migration]:
    return [_migration(file) for file in files]


def _migration(file: Path) -> Migration:
    version, _, name = file.stem.partition("_")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    text = "\n".join(line.rstrip() for line in lines).rstrip()
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Migration(path=file, version=version, name=name, digest=digest)


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


def _versions_after(versions: Sequence[str], now: datetime, count: int) -> list[str]:
    """Return versions that follow all others, whether these are compared as texts or as numbers."""
    digits = max([_VERSION_DIGITS, *map(len, versions)])
    newest = max((version.ljust(digits, "0") for version in versions), default="")
    present = now.strftime(_VERSION).ljust(digits, "0")
    version = present if present > newest else _next(newest)
    made: list[str] = []
    for _ in range(count):
        made.append(version)
        version = _next(version)
    return made


def _next(version: str) -> str:
    """Return the version a second later, or of the next number where it is no time."""
    try:
        time = datetime.strptime(version, _VERSION).replace(tzinfo=UTC)
    except ValueError:
        return str(int(version) + 1).rjust(len(version), "0")
    return (time + timedelta(seconds=1)).strftime(_VERSION)
