"""The migrations that were released, with their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from meshhook.migrations import migration_file
from sql.generate import MIGRATIONS

FOLDER = Path(__file__).parent


@attrs.frozen
class Release:
    """A released migration.

    Attributes:
        version: The release.
        file: The migration.
        digest: The SHA-256 that it had when it was released.
    """

    version: str
    file: Path
    digest: str


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def releases(folder: Path = FOLDER) -> list[Release]:
    """Return every release, oldest first."""
    found = []
    for path in folder.glob("*.sha256"):
        digest, name = path.read_text().split()
        found.append(Release(path.stem, MIGRATIONS / name, digest))
    return sorted(found, key=lambda release: [int(part) for part in release.version.split(".")])


def write(version: str, folder: Path = FOLDER) -> Path:
    """Write down the migration as it is now as that of a release.

    Args:
        version: The release.
        folder: Where to.

    Returns:
        The file.
    """
    path = folder / f"{version}.sha256"
    file = migration_file()
    path.write_text(f"{digest_of(file)}  {file.name}\n")
    return path
