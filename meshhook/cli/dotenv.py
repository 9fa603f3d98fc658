"""Reading a file of settings, such as `.env`: NAME=VALUE, one after the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshhook.cli.exits import usage

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY = re.compile(
    r"""
    [ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*
    (?: "(?P<double>(?:[^"\\]|\\.)*)"
      | '(?P<single>[^']*)'
      | (?P<plain>[^\s"'#][^\n]*?)?
    )
    [ \t]*(?:(?<=\s)\#[^\n]*|(?<=["'=])\#[^\n]*)?(?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read(path: Path) -> dict[str, str]:
    r"""Read the settings of a file.

    A value stands as it is, up to a ``#`` after a space; in single quotes, where all stands as it
    is; or in double quotes, where ``\n``, ``\"`` and ``\\`` mean what they usually do. A quoted
    value may have several lines. ``$NAME`` is not replaced.

    Args:
        path: The file.

    Returns:
        The values by their names.

    Raises:
        CommandError: The file cannot be read, or a line is none of a setting. The error tells
            where, and nothing of what stands there: it may be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        message = f"the settings in {path} cannot be read: {reason}"
        raise usage(message) from error
    return _parse(path, text)


def _parse(path: Path, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    position = 0
    while position < len(text):
        if nothing := _NOTHING.match(text, position):
            position = nothing.end()
        elif entry := _ENTRY.match(text, position):
            values[entry["name"]] = _value(entry)
            position = entry.end()
        else:
            line = text.count("\n", 0, position) + 1
            raise usage(f"{path}:{line} is not of the form NAME=VALUE; put quotes around the value")
    return values


def _value(entry: re.Match[str]) -> str:
    if entry["double"] is not None:
        return re.sub(
            r"\\(.)",
            lambda escape: _ESCAPES.get(escape[1], escape[1]),
            entry["double"],
            flags=re.DOTALL,
        )
    return str(entry["single"] or entry["plain"] or "")
