"""The blocks of code in a Markdown file, ready to be run."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_LANGUAGE = re.compile(r"\{?\s*\.?(?P<language>[\w-]*)")
_TITLE = re.compile(r"\btitle=\"?(?P<name>[\w.-]+)")
_NOT_RUN = re.compile(r"\.not-run\b")
_OPERATORS = frozenset({"|", "||", "&&", ";", "&"})


@attrs.frozen
class Snippet:
    """A block of code.

    Attributes:
        path: The file that it stands in.
        line: The line in that file where it begins.
        language: What it is written in, empty if it does not say.
        code: The code.
        is_run: False where the block says ``.not-run``.
        title: The name of its file, empty if it has none.
    """

    path: Path
    line: int
    language: str
    code: str
    is_run: bool = True
    title: str = ""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def is_script(self) -> bool:
        """Whether it is a program of its own."""
        return self.language == "python" and "__main__" in self.code

    @property
    def runs_until_stopped(self) -> bool:
        """Whether it is a program that does not end by itself."""
        return self.is_script and "Worker(" in self.code

    async def run(self, names: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the code, which may await at its top level, and return its variables.

        Args:
            names: What the code may use beside what it defines; it is changed.
        """
        # Padding, so that a traceback shows the line in the Markdown file.
        padded = "\n" * (self.line - 1) + self.code
        namespace: dict[str, Any] = {} if names is None else names
        namespace["__name__"] = "snippet"
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        result = eval(compile(padded, str(self.path), "exec", flags), namespace)
        if inspect.isawaitable(result):
            await result
        return namespace

    def commands(self) -> Iterator[list[str]]:
        """Go through the commands of a block of shell, each as its words.

        A line that continues ends with a backslash; comments and what a prompt precedes are told
        apart as in a shell. In a block of a terminal, with prompts, the other lines are output.
        """
        lines = self.code.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            yield from _split(list(lexer))


def snippets(path: Path, language: str = "python") -> list[Snippet]:
    """Return the blocks of one language in a Markdown file, in order."""
    return [snippet for snippet in all_snippets(path) if snippet.language == language]


def all_snippets(path: Path) -> list[Snippet]:
    """Return every block of a Markdown file, in order."""
    text = path.read_text(encoding="utf-8")
    return [_snippet(path, text, match) for match in _BLOCK.finditer(text)]


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def _snippet(path: Path, text: str, match: re.Match[str]) -> Snippet:
    language = _LANGUAGE.match(match["info"].strip())
    return Snippet(
        path=path,
        line=text[: match.start("code")].count("\n") + 1,
        language="" if language is None else language["language"],
        code=textwrap.dedent(match["code"]),
        is_run=_NOT_RUN.search(match["info"]) is None,
        title=title["name"] if (title := _TITLE.search(match["info"])) else "",
    )


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            command.append(word)
        elif command:
            yield _plain(command)
            command = []


def _plain(words: list[str]) -> list[str]:
    """Return a command without the variables that are set for it and without its redirections."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    for position, word in enumerate(words):
        if word in {">", ">>", "<", "2", "2>"} and position:
            return words[:position]
    return words
