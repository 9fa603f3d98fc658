"""Finding what `module:name` on the command line stands for."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from meshhook.cli.exits import usage
from meshhook.cli.output import note


def load(target: str, folder: str | Path = ".") -> Any:
    """Import a module and return what it has under a name.

    Args:
        target: ``module:name``; both may have dots.
        folder: Where modules are looked for first.

    Returns:
        What stands there.

    Raises:
        CommandError: The target has another form, or there is no such module or name.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise usage(f"{target!r} is not of the form module:name, such as tasks:handler")
    path = str(Path(folder).resolve())
    if path not in sys.path:
        sys.path.insert(0, path)
    found: Any = _imported(module_name, path)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise usage(f"{target}: the module {module_name} has no {name}") from error
    return found


def _imported(module_name: str, path: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            message = f"there is no module {error.name} in {path}; --app-dir names another folder"
            raise usage(message) from error
        raise _broken(module_name, error) from error
    except Exception as error:
        raise _broken(module_name, error) from error


def _broken(module_name: str, error: Exception) -> Exception:
    note("".join(traceback.format_exception(error)).rstrip())
    return usage(f"the module {module_name} cannot be imported: {type(error).__name__}: {error}")
