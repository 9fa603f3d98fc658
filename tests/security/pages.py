"""The code of the documentation, so that what it says is what is tested."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "security.md"

_BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def block(title: str) -> str:
    """Return the block of code of that title on the page about security."""
    (found,) = [code for _, name, code in _BLOCK.findall(PAGE.read_text()) if name == title]
    return str(found)
