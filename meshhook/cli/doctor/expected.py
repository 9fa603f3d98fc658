"""What this MeshHook's migrations create, read from their text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import attrs

from meshhook.migrations import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_FUNCTION = re.compile(
    r"""
    ^create\ or\ replace\ function\ (?P<made>(?:public|meshhook)\.\w+)\(
      .*?^as\ (?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)
    | ^drop\ function\ (?:if\ exists\ )?(?P<dropped>(?:public|meshhook)\.\w+)
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
    | ^drop\ (?:table|index|view)\ (?:if\ exists\ )?(?P<dropped>(?:public|meshhook)\.\w+)
    """,
    re.MULTILINE | re.VERBOSE,
)


@attrs.frozen(kw_only=True)
class Expected:
    """What should be in a database.

    Attributes:
        functions: The MD5 of each function's body, as the database computes it.
        relations: The tables, indexes and views.
        makers: The migration that makes each of them.
    """

    functions: Mapping[str, str] = attrs.field(factory=dict)
    relations: frozenset[str] = frozenset()
    makers: Mapping[str, str] = attrs.field(factory=dict)


def expected(files: Iterable[Path]) -> Expected:
    """Return what migrations create together; a later file replaces what an earlier one made."""
    functions: dict[str, str] = {}
    relations: set[str] = set()
    makers: dict[str, str] = {}
    for file in files:
        text, name = file.read_text(encoding="utf-8"), _name(file)
        for made, digest in _functions(text):
            makers[made] = name
            if digest:
                functions[made] = digest
            else:
                functions.pop(made, None)
        for made, is_there in _relations(text):
            makers.setdefault(made, name)  # a later file may only say "if not exists" again
            (relations.add if is_there else relations.discard)(made)
    there = relations | functions.keys()
    return Expected(
        functions=functions,
        relations=frozenset(relations),
        makers={made: name for made, name in makers.items() if made in there},
    )


def _functions(text: str) -> Iterator[tuple[str, str]]:
    for statement in _FUNCTION.finditer(text):
        if statement["dropped"]:
            yield statement["dropped"], ""
        else:
            body = statement["body"].encode()
            yield statement["made"], hashlib.md5(body, usedforsecurity=False).hexdigest()


def _relations(text: str) -> Iterator[tuple[str, bool]]:
    for statement in _RELATION.finditer(text):
        index = statement["index"]
        made = statement["table"] or statement["view"] or (f"meshhook.{index}" if index else "")
        yield made or statement["dropped"], bool(made)


def _name(file: Path) -> str:
    """Return a migration's name without its version, under which it is in every project."""
    match = FILE_NAME.fullmatch(file.name)
    return match[2] if match else file.stem
