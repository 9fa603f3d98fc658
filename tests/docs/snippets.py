"""The Python code in a Markdown file, ready to be run."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```python(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Snippet:
    """A block of code.

    Attributes:
        path: The file that it stands in.
        line: The line in that file where it begins.
        code: The code.
    """

    path: Path
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def is_script(self) -> bool:
        """Whether it is a program of its own."""
        return "__main__" in self.code

    async def run(self) -> dict[str, Any]:
        """Run the code, which may await at its top level, and return its variables."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        # Padding, so that a traceback shows the line in the Markdown file.
        padded = "\n" * (self.line - 1) + self.code
        namespace: dict[str, Any] = {"__name__": "snippet"}
        result = eval(compile(padded, str(self.path), "exec", flags), namespace)
        if inspect.isawaitable(result):
            await result
        return namespace


def snippets(path: Path) -> list[Snippet]:
    """Return the blocks of Python in a Markdown file, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Snippet(path, text[: match.start("code")].count("\n") + 1, match["code"])
        for match in _BLOCK.finditer(text)
    ]
