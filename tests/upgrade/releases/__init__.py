"""The sets of migrations that were released, as lists of files with their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from meshhook.migrations import migration_files

FOLDER = Path(__file__).parent


@attrs.frozen
class Release:
    """A released set of migrations.

    Attributes:
        version: The release.
        digests: The SHA-256 of each file, by its name.
    """

    version: str
    digests: dict[str, str]


def digests(files: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file, by its name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def releases(folder: Path = FOLDER) -> list[Release]:
    """Return every released set, oldest first."""
    found = []
    for path in folder.glob("*.sha256"):
        rows = [line.split() for line in path.read_text().splitlines()]
        found.append(Release(path.stem, {name: digest for digest, name in rows}))
    return sorted(found, key=lambda release: [int(part) for part in release.version.split(".")])


def write(version: str, folder: Path = FOLDER) -> Path:
    """Write down the migrations as they are now as those of a release.

    Args:
        version: The release.
        folder: Where to.

    Returns:
        The file.
    """
    path = folder / f"{version}.sha256"
    lines = [f"{digest}  {name}\n" for name, digest in digests(migration_files()).items()]
    path.write_text("".join(lines))
    return path
