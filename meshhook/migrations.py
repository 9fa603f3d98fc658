"""MeshHook's SQL: where it is, and how it gets into a project's `supabase/migrations/`.

Each release has one file with all of the SQL. It can be applied over any older release, so an
upgrade adds the new release's file after the project's newest and changes none that is there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE = Path(__file__).resolve().parent
_IN_WHEEL = _PACKAGE / "sql"
_IN_CHECKOUT = _PACKAGE.parent / "supabase" / "migrations"

# What the Supabase CLI takes for a migration; other files in the folder are left alone.
FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")
_VERSION = "%Y%m%d%H%M%S"
_VERSION_DIGITS = 14
# The first line of each release's file, by which a copy is known whatever its name is.
_MARK = re.compile(r"^-- MeshHook \d+(?:\.\w+)+$", re.MULTILINE)
_SCHEMA_VERSION = re.compile(r"'schema_version', (\d+)")

REPAIR = "meshhook_repair"
"""The name of a file that has all of the SQL once more."""


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


@attrs.frozen(kw_only=True)
class Migration:
    """A file with MeshHook's SQL.

    Attributes:
        path: Where it is.
        version: The digits that its name begins with.
        name: The rest of its name, without ``.sql``.
        text: Its content; line endings and spaces at the ends of lines do not count.
        schema_version: The version that it gives MeshHook's SQL, None if it gives none.
    """

    path: Path
    version: str
    name: str
    text: str = attrs.field(repr=False)
    schema_version: int | None = None

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return self.path.name


@attrs.frozen(kw_only=True)
class Found:
    """What a folder has of MeshHook's SQL.

    Attributes:
        shipped: This MeshHook's migration.
        copy: The newest file of the folder with MeshHook's SQL, None if there is none.
        newer: A file of a newer MeshHook, None if there is none.
    """

    shipped: Migration
    copy: Migration | None
    newer: Migration | None

    @property
    def state(self) -> str:
        """What the folder has: ``installed``, ``missing``, ``changed``, or an ``other release``."""
        if self.copy is None:
            return "missing"
        if self.shipped.text in self.copy.text:
            return "installed"
        return "changed" if self.copy.name == self.shipped.name else "other release"

    @property
    def is_complete(self) -> bool:
        """Whether nothing is to be done."""
        return self.state == "installed" and self.newer is None


def migration_file() -> Path:
    """Return the file with all of MeshHook's SQL.

    Returns:
        The newest of the folder: a checkout keeps those of earlier releases.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has one.
    """
    for folder in (_IN_WHEEL, _IN_CHECKOUT):
        if files := sorted(folder.glob("*.sql")):
            return files[-1]
    raise FileNotFoundError(
        f"MeshHook's SQL is missing: neither {_IN_WHEEL} nor {_IN_CHECKOUT} has it; "
        "install meshhook again"
    )


def shipped() -> Migration:
    """Return this MeshHook's migration.

    Returns:
        The migration.

    Raises:
        FileNotFoundError: If neither the wheel nor a checkout has one.
    """
    return _read(migration_file())


def look(folder: Path) -> Found:
    """Look up what a folder has of MeshHook's SQL.

    Args:
        folder: A project's `supabase/migrations`; it need not be there.

    Returns:
        What is there.
    """
    own, found = shipped(), _migrations(folder)
    ours = [one for one in found if _MARK.search(one.text) or one.name == own.name]
    newer = [one for one in found if (one.schema_version or 0) > (own.schema_version or 0)]
    return Found(
        shipped=own,
        copy=max(ours, key=lambda one: one.version, default=None),
        newer=max(newer, key=lambda one: one.schema_version or 0, default=None),
    )


def target(folder: Path, now: datetime | None = None, *, again: bool = False) -> Path:
    """Return the path of a new file, which comes after all others of a folder.

    Args:
        folder: A project's `supabase/migrations`.
        now: The time; now if None.
        again: Whether the file is a repair.

    Returns:
        Where MeshHook's SQL is to be written.

    Raises:
        NoVersionLeftError: The folder has a file that no other can follow.
    """
    return folder / f"{_new_version(folder, now)}_{REPAIR if again else shipped().name}.sql"


def install(path: Path) -> None:
    """Write MeshHook's SQL: all of it or nothing, and not over another file.

    Args:
        path: Where; `target` says it.

    Raises:
        OSError: The file cannot be written, or is there already.
    """
    text = migration_file().read_text(encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
        except BaseException:
            path.unlink()
            raise


def _migrations(folder: Path) -> list[Migration]:
    files: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    return [_read(file) for file in files if FILE_NAME.fullmatch(file.name)]


def _read(file: Path) -> Migration:
    version, _, name = file.stem.partition("_")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    text = "\n".join(line.rstrip() for line in lines)
    given = _SCHEMA_VERSION.search(text)
    return Migration(
        path=file,
        version=version,
        name=name,
        text=text,
        schema_version=int(given[1]) if given else None,
    )


def _new_version(folder: Path, now: datetime | None) -> str:
    """Return a version that follows all others, whether compared as texts or as numbers."""
    there = {one.version: one.file_name for one in _migrations(folder)}
    digits = max([_VERSION_DIGITS, *map(len, there)])
    newest = max(there, key=lambda version: version.ljust(digits, "0"), default="")
    before = newest.ljust(digits, "0") if newest else ""
    present = (now or datetime.now(UTC)).strftime(_VERSION).ljust(digits, "0")
    if present > before:
        return present
    try:
        return _next(before)
    except OverflowError as error:
        raise NoVersionLeftError(there[newest]) from error


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
