"""The functions that this MeshHook's migrations create, read from their text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_STATEMENT = re.compile(
    r"""
    ^create\ or\ replace\ function\ (?P<made>(?:public|meshhook)\.\w+)\(
      .*?^as\ (?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)
    | ^drop\ function\ (?:if\ exists\ )?(?P<dropped>(?:public|meshhook)\.\w+)
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def expected_functions(files: Iterable[Path]) -> dict[str, str]:
    """Return what the text of each function comes to, as the database computes it.

    Args:
        files: The migrations, in order; the last that creates a function counts.

    Returns:
        The digests by the functions' names, with their schemas.
    """
    found: dict[str, str] = {}
    for file in files:
        for statement in _STATEMENT.finditer(file.read_text(encoding="utf-8")):
            if statement["dropped"]:
                found.pop(statement["dropped"], None)
            else:
                body = statement["body"].encode()
                found[statement["made"]] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return found
