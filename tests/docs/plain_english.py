"""Words that a reader would have to translate, and the prose that they are looked for in."""

from __future__ import annotations

import io
import re
import tokenize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A phrase, as a pattern in which a space is any white space, and what to write instead.
INSTEAD = {
    r"mend(s|ed|ing)?": "fix, repair, or temporary",
    r"whoever": "any caller, code that …, or the person",
    r"anew": "again",
    r"beside": "next to, besides, along with",
    r"for ever": "until stopped, without end",
    r"(is|are|be|been|was|were) told": "gets, receives, is notified, is reported",
    r"tells? whether": "return whether, show whether",
    r"what(ever)? ((be)?comes?|(be)?came) of": "the outcome of, what happens to",
    r"at the most(?! recent)": "at most",
    r"at the latest(?! (version|release))": "no later than, at most … later",
    r"hurr(y|ies|ied)": "stop now",
    r"minds signals": "handles signals",
    r"bur(y|ies|ied|ying)": "dead-letter",
    r"gone through": "processed, checked",
    r"somebody": "someone, another worker",
    r"meant for good": "permanent",
    r"otherwise than": "differently from",
    r"jobs? in hand": "in-flight job",
    r"lest|thereof|hitherto|hence|nought": "plain words",
}
_PHRASES = {
    phrase: re.compile(r"\b(?:" + phrase.replace(" ", r"\s+") + r")\b", re.IGNORECASE)
    for phrase in INSTEAD
}

# Code in Markdown: a fenced block, or what stands between backticks.
_MARKDOWN_CODE = re.compile(r"^( *)```.*?^\1```$|`[^`]+`", re.MULTILINE | re.DOTALL)
_SQL_PROSE = re.compile(r"--(?P<comment>[^\n]*)|'(?P<literal>(?:[^']|'')*)'")
_STRINGS = frozenset(
    getattr(tokenize, name) for name in ("STRING", "FSTRING_MIDDLE") if hasattr(tokenize, name)
)


def findings(path: Path) -> Iterator[str]:
    """Yield each forbidden phrase in a file, or in the files of a folder, with what to write."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix in _PROSE:
            prose = _PROSE[file.suffix](file.read_text(encoding="utf-8"))
            for phrase, pattern in _PHRASES.items():
                for match in pattern.finditer(prose):
                    line = prose.count("\n", 0, match.start()) + 1
                    words = " ".join(match.group().split())
                    yield f"{file}:{line}: {words!r}: write {INSTEAD[phrase]}"


# Each of these blanks what is not prose. The lines stay where they are, and a phrase that goes on
# in the next line, comment or literal is found.
def _of_markdown(text: str) -> str:
    return _MARKDOWN_CODE.sub(lambda match: re.sub(r"[^\n]", "-", match.group()), text)


def _of_python(text: str) -> str:
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    spans = [
        [starts[line - 1] + column for line, column in (token.start, token.end)]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT or (token.type in _STRINGS and " " in token.string)
    ]
    return re.sub(r"[\"'#]|\\n|\{[^{}\n]*\}", _spaces, _only(text, spans))


def _of_sql(text: str) -> str:
    spans = [
        list(match.span(match.lastgroup or 0))
        for match in _SQL_PROSE.finditer(text)
        if " " in match.group()
    ]
    return _only(text, spans)


def _only(text: str, spans: list[list[int]]) -> str:
    """Return a text in which everything outside the spans is blank."""
    parts, end = [], 0
    for start, stop in spans:
        parts += [_blank(text[end:start]), text[start:stop]]
        end = stop
    return "".join([*parts, _blank(text[end:])])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _spaces(match: re.Match[str]) -> str:
    return _blank(match.group())


_PROSE = {".md": _of_markdown, ".py": _of_python, ".sql": _of_sql}
