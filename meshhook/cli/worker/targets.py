"""Importing what the command line names as `module:name`."""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshhook.cli.exits import usage
from meshhook.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshhook.cli.exits import CommandError


def load(target: str, folder: str | Path = ".") -> Any:
    """Import a module and return the object of a name in it.

    Args:
        target: ``module:name``; both may have dots.
        folder: The first folder to look for modules in.

    Returns:
        The object.

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


@contextmanager
def building(target: str) -> Iterator[None]:
    """Report the refusal of a target, or of a setting, as wrong usage.

    Only for checks and constructors: around a call of the user's code it would hide bugs.

    Args:
        target: The target, as ``module:name``.

    Raises:
        CommandError: It was refused.
    """
    try:
        yield
    except (TypeError, InvalidInputError) as error:
        raise usage(f"{target}: {error}") from error


def _imported(module_name: str, path: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            message = f"there is no module {error.name} in {path}; --app-dir names another folder"
            raise usage(message) from error
        raise _broken(module_name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(module_name, error) from error


def _broken(module_name: str, error: BaseException) -> CommandError:
    message = f"the module {module_name} cannot be imported: {type(error).__name__}: {error}"
    return usage(message, detail=_users_traceback(error))


def _users_traceback(error: BaseException) -> str:
    """Return the traceback of an import, without the frames of the import system."""
    shown = traceback.TracebackException.from_exception(error)
    todo = [shown]
    while todo:
        part = todo.pop()
        part.stack[:] = [frame for frame in part.stack if not _imports(frame.filename)]
        todo += filter(None, (part.__cause__, part.__context__, *(part.exceptions or ())))
    return "".join(shown.format()).rstrip()


def _imports(file_name: str) -> bool:
    return file_name in (__file__, importlib.__file__) or file_name.startswith("<frozen importlib")
