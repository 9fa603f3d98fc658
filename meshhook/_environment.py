"""Settings from the environment, or else from the file `.env`.

The environment is never changed. Crash reports contain the local variables of every frame that an
error passes, so no frame here that can raise has a value of the file in a local variable.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from meshhook.exceptions import ConfigurationError

if TYPE_CHECKING:
    from dotenv.parser import Binding

FILE_VARIABLE = "MESHHOOK_ENV_FILE"
DEFAULT_FILE = ".env"


@attrs.frozen
class _Content:
    """The settings of a file, or why it cannot be read, or the number of its first bad line."""

    values: dict[str, str] = attrs.field(repr=False, factory=dict)
    reason: str | None = None
    bad_line: int | None = None


@attrs.define
class EnvFile:
    """A file of settings, which is read when the first setting is looked up.

    Attributes:
        path: The file, None for no file.
        loaded: Its settings by their names; empty until it is read.
    """

    path: Path | None
    loaded: dict[str, str] = attrs.field(init=False, repr=False, factory=dict)
    _is_read: bool = attrs.field(init=False, repr=False, default=False)

    def values(self) -> dict[str, str]:
        """Return the settings by their names.

        Raises:
            ConfigurationError: The file does not exist or cannot be read, or a line is no setting.
        """
        if self.path is not None and not self._is_read:
            if not self.path.is_file():
                raise ConfigurationError(
                    f"{FILE_VARIABLE} names the file {self.path}, which is not there. Name another,"
                    " or set it to nothing for no file."
                )
            self.loaded, self._is_read = read(self.path), True
        return self.loaded


def env_file() -> EnvFile:
    """Return the file that ``MESHHOOK_ENV_FILE`` names, or `.env` in the working directory."""
    named = os.environ.get(FILE_VARIABLE)
    if named is None:
        usual = Path(DEFAULT_FILE)
        return EnvFile(usual if usual.is_file() else None)
    return EnvFile(Path(named) if named else None)


def setting(*names: str, file: EnvFile | None = None) -> str:
    """Return a setting from the environment, or else from the file; empty if there is none.

    The first of the names with a value counts. Without *file*, it is the file of `env_file`.

    Raises:
        ConfigurationError: The environment has no value, and the file cannot be read.
    """
    return _first(names, os.environ) or _first(names, (file or env_file()).values())


def _first(names: tuple[str, ...], values: os._Environ[str] | dict[str, str]) -> str:
    return next(filter(None, (values.get(name, "").strip() for name in names)), "")


def read(path: Path) -> dict[str, str]:
    r"""Read the settings of a file.

    A value without quotes ends at a ``#`` after a space. In double quotes, ``\n``, ``\"`` and
    ``\\`` are escapes; in single quotes, nothing is. A quoted value may have several lines.
    ``$NAME`` is not replaced.

    Args:
        path: The file.

    Returns:
        The values by their names.

    Raises:
        ConfigurationError: The file cannot be read, or a line is no setting. The error gives the
            number of the line and not its text, which may be a secret.
    """
    content = _content(path)
    if content.reason is not None:
        raise ConfigurationError(f"The settings in {path} cannot be read: {content.reason}.")
    if content.bad_line is not None:
        raise ConfigurationError(
            f"{path}:{content.bad_line} is not of the form NAME=VALUE. Put quotes around the value."
        )
    return content.values


def _content(path: Path) -> _Content:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return _Content(reason=error.strerror)
    except UnicodeDecodeError:
        return _Content(reason="it is not UTF-8")
    values: dict[str, str] = {}
    for binding in bindings(text):
        if binding.error or (binding.key is not None and binding.value is None):
            return _Content(bad_line=_line(binding))
        if binding.key is not None:
            values[binding.key] = _value(binding)
    return _Content(values)


def bindings(text: str) -> list[Binding]:
    """Return the parts of a file of settings; together, their originals are the text."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 - not before there is a file

    return list(parse_stream(io.StringIO(text)))


def _line(binding: Binding) -> int:
    original = binding.original
    blank = original.string[: len(original.string) - len(original.string.lstrip())]
    return original.line + blank.count("\n")


def _value(binding: Binding) -> str:
    # Older versions of the parser return a comment after the equals sign as the value.
    after = binding.original.string.partition("=")[2].lstrip(" \t")
    return "" if after.startswith("#") else binding.value or ""
