"""The licences of what MeshHook needs at run time, as the installed packages state them.

``python -m tests.security.licences`` writes docs/licences.md anew.
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"
EXTRAS = ("", "cli", "local", "otel", "prometheus")
"""What can be installed with it; the first is MeshHook alone."""

PYTHONS = {f"3.{minor}": f"3.{minor}.0" for minor in range(11, 15)}
"""The supported versions of Python."""

PERMISSIVE = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0"),
        *("PSF-2.0", "Python-2.0", "PostgreSQL", "Unlicense", "Zlib"),
    }
)
"""Licences that ask for no more than their notice."""

EXPECTED = {
    # A file of certificates; whoever changes it has to pass on the change.
    "certifi": "MPL-2.0",
    # With the embedded stack alone, for development; the same.
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT)",
    # With the embedded stack alone; imported as a library, which its licence allows to any program.
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "psycopg-pool": "LGPL-3.0-only",
}
"""What asks for more than its notice, and why that is no hindrance."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PostgreSQL License": "PostgreSQL",
    "Python Software Foundation License": "PSF-2.0",
}
_TEXTS = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "mit": "MIT",
    "mit license": "MIT",
    "mpl-2.0": "MPL-2.0",
    "postgresql": "PostgreSQL",
    "postgresql license": "PostgreSQL",
}


@attrs.frozen
class Dependency:
    """A package that is installed with MeshHook.

    Attributes:
        name: Its name.
        licence: Its licence, as an SPDX expression; what it says itself where that is none.
        extra: With which extra it comes; empty for MeshHook alone.
    """

    name: str
    licence: str
    extra: str


def dependencies() -> list[Dependency]:
    """Return every installed package that MeshHook or one of its extras needs."""
    found: dict[str, Dependency] = {}
    for extra in EXTRAS:
        for name in sorted(needed("meshhook", extra)):
            with suppress(PackageNotFoundError):  # needed by another Python than this one
                found.setdefault(name, Dependency(name, licence_of(distribution(name)), extra))
    return list(found.values())


def needed(name: str, *extras: str) -> set[str]:
    """Return the names of all that a package needs with some extras, on any supported Python."""
    names: set[str] = set()
    waiting = [(name, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        for requirement in _requirements(*waiting.pop()):
            one = (canonicalize_name(requirement.name), frozenset(requirement.extras | {""}))
            names.add(one[0])
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return names - {name}


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({"extra": extra, "python_version": python, "python_full_version": full})
            for extra in extras
            for python, full in PYTHONS.items()
        ):
            yield requirement


def licence_of(package: Distribution) -> str:
    """Return the licence that a package states: as an expression, by classifier, or in words."""
    metadata = package.metadata.json
    if expression := metadata.get("license_expression"):
        return str(expression)
    named = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get("classifier", [])
        if classifier.startswith("License :: ") and not classifier.endswith("OSI Approved")
    ]
    if named:
        return " AND ".join(sorted(_CLASSIFIERS.get(name, name) for name in named))
    words = " ".join(str(metadata.get("license") or "").split())
    return _TEXTS.get(words.lower(), words[:60] or "not stated")


def parts_of(licence: str) -> set[str]:
    """Return the licences of an expression."""
    return {part.strip(" ()") for part in re.split(r"\b(?:AND|OR)\b", licence)}


def page() -> str:
    """Return the text of docs/licences.md."""
    titles = {"": "MeshHook alone", **{extra: f"With the extra `{extra}`" for extra in EXTRAS[1:]}}
    lines = [
        "# Licences",
        "",
        "MeshHook is under the MIT licence. These are the licences of the packages that come with",
        "it, as their own metadata states them. `python -m tests.security.licences` writes this",
        "page, and a test fails where a package is missing here or has a licence that nobody",
        "expected.",
        "",
    ]
    every = dependencies()
    for extra, title in titles.items():
        listed = sorted((d for d in every if d.extra == extra), key=lambda one: one.name)
        lines += [f"## {title}", ""]
        if listed:
            lines += ["| package | licence |", "|---|---|"]
            lines += [f"| {one.name} | {one.licence} |" for one in listed]
        else:
            lines += ["Nothing more."]
        lines += [""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
