"""Put the files of this folder together as the migration of this release.

The files are what is edited. A project gets one file for each release: there is one thing to apply,
in one transaction, over any older release.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
MIGRATIONS = ROOT / "supabase" / "migrations"
RELEASES = ROOT / "tests" / "upgrade" / "releases"
# A folder of migrations is applied in this order; each release is a second after the one before.
FIRST_VERSION = 20261124000000
LINE_LENGTH = 110
NOTICE = "-- Generated from the folder sql/ of MeshHook's repository; do not edit it here."


def main(arguments: list[str] | None = None) -> int:
    """Write the migration, or say that it is not as it would be written.

    Args:
        arguments: The command line; by default the process's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m sql.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare, for CI")
    is_check = parser.parse_args(arguments).check
    release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    try:
        text = generate(release, sorted(FOLDER.glob("*.sql")))
    except ValueError as error:
        return _fail(str(error))
    path = path_of(release, MIGRATIONS)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    if is_check:
        return _fail(f"{path.relative_to(ROOT)} is not what sql/ makes: run make sql")
    if (RELEASES / f"{release}.sha256").is_file():
        return _fail(
            f"{release} is released, and its migration does not change:"
            " raise the version in pyproject.toml"
        )
    path.write_text(text, encoding="utf-8")
    return 0


def generate(release: str, files: list[Path]) -> str:
    """Return the migration of a release.

    Args:
        release: Its version.
        files: What it is made of, in order.

    Returns:
        The text, with a first line that says which release it is.

    Raises:
        ValueError: A line is too long, or a file does not end with one.
    """
    texts = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > LINE_LENGTH:
                raise ValueError(
                    f"sql/{file.name}:{number} has {len(line)} characters; at most {LINE_LENGTH}"
                )
        texts.append(text)
    head = f"-- MeshHook {release}\n{NOTICE}\n\n"
    return head + "\n".join(texts)


def path_of(release: str, folder: Path) -> Path:
    """Return where the migration of a release goes.

    The name has underscores for dots: what is after a dot in a file's name is taken for its ending.

    Args:
        release: Its version.
        folder: The migrations of this and earlier releases.

    Returns:
        The file that is there, or a new one after all that are.
    """
    name = f"meshhook_{release.replace('.', '_')}"
    there = sorted(folder.glob("*_meshhook_*.sql"))
    for file in there:
        if file.stem.partition("_")[2] == name:
            return file
    version = int(there[-1].name.partition("_")[0]) + 1 if there else FIRST_VERSION
    return folder / f"{version}_{name}.sql"


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
