"""What this MeshHook's SQL creates, read from its text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FUNCTION = re.compile(
    r"""
    ^create\ or\ replace\ function\ (?P<name>(?:public|meshhook)\.\w+)\(
      .*?^as\ (?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_RELATION = re.compile(
    r"""
    ^create\ (?:
      table\ (?:if\ not\ exists\ )?(?P<table>meshhook\.\w+)
      | (?:unique\ )?index\ (?:if\ not\ exists\ )?(?P<index>\w+)\s+on\ meshhook\.
      | (?:or\ replace\ )?view\ (?P<view>public\.\w+)
    )
    """,
    re.MULTILINE | re.VERBOSE,
)


@attrs.frozen(kw_only=True)
class Differences:
    """How the functions of a database differ from the expected ones.

    Attributes:
        missing: Those that do not exist.
        changed: Those with another text: changed by hand, or of another version.
        unknown: Those that are not expected: of a newer version, or an older one.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unknown: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Expected:
    """What should be in a database.

    Attributes:
        functions: The MD5 of each function's body, as the database computes it.
        relations: The tables, indexes and views.
    """

    functions: Mapping[str, str] = attrs.field(factory=dict)
    relations: frozenset[str] = frozenset()

    def differences(self, there: Mapping[str, str]) -> Differences:
        """Compare the functions of a database, each with its MD5, with the expected ones."""
        known = self.functions.keys() & there.keys()
        return Differences(
            missing=tuple(sorted(self.functions.keys() - there.keys())),
            changed=tuple(sorted(name for name in known if there[name] != self.functions[name])),
            unknown=tuple(sorted(there.keys() - self.functions.keys())),
        )


def expected(file: Path) -> Expected:
    """Return what MeshHook's SQL creates.

    Args:
        file: The file with all of it.

    Returns:
        The functions and the relations.
    """
    text = file.read_text(encoding="utf-8")
    return Expected(functions=dict(_functions(text)), relations=frozenset(_relations(text)))


def _functions(text: str) -> Iterator[tuple[str, str]]:
    for statement in _FUNCTION.finditer(text):
        body = statement["body"].encode()
        yield statement["name"], hashlib.md5(body, usedforsecurity=False).hexdigest()


def _relations(text: str) -> Iterator[str]:
    for statement in _RELATION.finditer(text):
        index = statement["index"]
        yield f"meshhook.{index}" if index else statement["table"] or statement["view"]
