"""Writing the settings of a local stack into a file such as `.env`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshhook import _environment
from meshhook._defaults import KEY_VARIABLES, URL_VARIABLE
from meshhook.cli import output
from meshhook.cli.exits import CommandError, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dotenv.parser import Binding

KEY_VARIABLE = KEY_VARIABLES[0]
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def check_target(file: Path) -> None:
    """Check that a file may be written: it has no settings of a project that is not local.

    Args:
        file: The file, which need not be there.

    Raises:
        CommandError: It is no file, or has the URL of another project, or a key without a URL.
        ConfigurationError: It cannot be read.
    """
    if not file.exists():
        if not file.parent.is_dir():
            raise usage(f"--write-env {file}: there is no folder {file.parent}")
        return
    if not file.is_file():
        raise usage(f"--write-env {file} is not a file")
    values = _environment.read(file)
    found = [name for name in (URL_VARIABLE, KEY_VARIABLE) if values.get(name, "").strip()]
    if found and not _is_local(values.get(URL_VARIABLE, "")):
        # What stands there is not shown: either variable may hold a key.
        raise usage(
            f"--write-env {file}: {' and '.join(found)} there may belong to a project that is not"
            f" local, so nothing is written; name another file, or take them out of {file}"
        )


def _is_local(url: str) -> bool:
    try:
        return urlsplit(url.strip()).hostname in _LOCAL_HOSTS
    except ValueError:
        return False


def write_env(file: Path, url: str, key: str) -> None:
    """Write URL and key into a file; its other lines stay as they are. Says what was done.

    Args:
        file: The file; it is made, for its owner alone, if it is not there.
        url: The project's URL.
        key: Its secret key.

    Raises:
        CommandError: The file may not or cannot be written.
        ConfigurationError: It cannot be read.
    """
    check_target(file)
    values = {URL_VARIABLE: url, KEY_VARIABLE: key}
    try:
        before = file.read_bytes().decode() if file.exists() else ""
        _replace(file, updated(before, values))
    except OSError as error:
        raise CommandError(f"--write-env {file} cannot be written: {error.strerror}") from error
    output.note(f"Wrote {' and '.join(values)} to {file}.")
    if _is_open_to_git(file):
        output.note(f"git does not ignore {file}: add it to .gitignore, since it has a key.")


def updated(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a file of settings with some of them set.

    Args:
        text: The text; lines of other settings stay as they are.
        values: The values by their names. They are put in double quotes.

    Returns:
        The text.
    """
    parts = []
    missing = dict(values)
    for binding in _environment.bindings(text):
        name = binding.key or ""
        parts.append(_line(binding, values[name]) if name in values else binding.original.string)
        missing.pop(name, None)
    joined = "".join(parts)
    if missing and joined and not joined.endswith("\n"):
        joined += "\n"
    return joined + "".join(f'{name}="{value}"\n' for name, value in missing.items())


def _line(binding: Binding, value: str) -> str:
    original = binding.original.string
    begin = original.partition("=")[0]
    end = original[len(original.rstrip("\r\n")) :]
    return f'{begin}="{value}"{end}'


def _replace(file: Path, text: str) -> None:
    target = file.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    with tempfile.NamedTemporaryFile(
        "wb", dir=target.parent, prefix=f"{target.name}.", delete=False
    ) as draft:
        draft.write(text.encode())
        Path(draft.name).chmod(mode)
    Path(draft.name).replace(target)


def _is_open_to_git(file: Path) -> bool:
    """Tell whether a file is in a repository that does not ignore it."""
    try:
        asked = subprocess.run(  # noqa: S603 - no shell
            ["git", "check-ignore", "--quiet", file.name],  # noqa: S607 - the user's own git
            cwd=file.absolute().parent,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return asked.returncode == 1
