"""The texts of errors, read from the code that raises them; what is filled in is written `…`."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.docs.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "meshhook"
SQL = ROOT / "sql"

# What has pages of its own: the command line's errors name the command, the stack's the file.
_ELSEWHERE = ("cli", "local", "testing")
_TEXT_NAMES = frozenset({"fix", "message"})
_ERRORS = frozenset({"ConfigurationError", "TypeError", "RuntimeError", "LookupError"})
_LITERAL = r"'(?:[^']|'')*'"
_CALL = re.compile(r"perform meshhook\.(_refuse|_turn_away)\((.*?)\);", re.DOTALL)
_POSITION = {"_refuse": 2, "_turn_away": 4}
_RAISE = re.compile(rf"errcode = '(MH\d+)',\s*message = (?:format\()?({_LITERAL})", re.DOTALL)


def sdk_messages() -> dict[str, str]:
    """Return each text that the SDK's own checks give, with where it stands."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in _ELSEWHERE:
            for line, text in _messages(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(text, f"{path.relative_to(ROOT)}:{line}")
    return found


def sql_messages() -> dict[str, str]:
    """Return each text that the SQL raises under a code of its own, with where it stands."""
    found: dict[str, str] = {}
    for path in sorted(SQL.glob("*.sql")):
        for text in _sql_messages(path):
            found.setdefault(text, path.name)
    return found


def sql_codes() -> set[str]:
    """Return the codes of MeshHook's own that the SQL raises."""
    texts = (path.read_text(encoding="utf-8") for path in SQL.glob("*.sql"))
    return {code for text in texts for code in re.findall(r"'(MH\d{3})'", text)}


def _messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for part in _texts(node):
            text = _written(part)
            if text is not None and re.search("[a-z]", text):
                yield part.lineno, text


def _texts(node: ast.AST) -> Iterator[ast.expr]:
    """Go through the expressions of a statement that are the text of an error."""
    match node:
        case ast.Call(func=ast.Name(id="Problem"), args=[_, what, fix]):
            yield what
            yield fix
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[text, *_]) if (
            name in _ERRORS
        ):
            yield text
        case ast.Dict(keys=[ast.Constant(value="error")], values=[text]):
            yield text
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _TEXT_NAMES:
            yield value
        case ast.FunctionDef(name=name) if name.endswith("_problem"):
            pairs = [part for part in ast.walk(node) if isinstance(part, ast.Tuple)]
            yield from (element for pair in pairs for element in pair.elts)


def _written(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_written(part) or "…" for part in parts)
        case _:
            return None


def _sql_messages(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    for function, call in _CALL.findall(text):
        if problem := _literal(_arguments(call)[_POSITION[function]]):
            yield problem
    for _, literal in _RAISE.findall(text):
        if (problem := _literal(literal)) and re.search("[a-z]", problem):
            yield problem


def _arguments(call: str) -> list[str]:
    """Return the arguments of a call, whose commas may stand in texts and inner calls."""
    parts, depth, part = [], 0, ""
    for token in re.findall(rf"{_LITERAL}|.", call, re.DOTALL):
        depth += token.count("(") - token.count(")") if len(token) == 1 else 0
        if token == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += token
    return [*parts, part.strip()]


def _literal(argument: str) -> str | None:
    found = re.search(_LITERAL, argument)
    if found is None:
        return None
    return re.sub(r"%[sIL]", "…", found.group()[1:-1].replace("''", "'"))
