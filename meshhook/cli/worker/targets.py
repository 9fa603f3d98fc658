"""Finding what `module:name` on the command line stands for."""

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


@contextmanager
def building(target: str) -> Iterator[None]:
    """Tell what refuses a target, or a setting, as wrong usage.

    It is meant for checks and constructors alone: around code of the user's or a call, it would
    hide faults.

    Args:
        target: What is built of, as ``module:name``.

    Yields:
        While that is so.

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
    """Return the traceback of an import, without the code that imports."""
    told = traceback.TracebackException.from_exception(error)
    todo = [told]
    while todo:
        part = todo.pop()
        part.stack[:] = [frame for frame in part.stack if not _imports(frame.filename)]
        todo += filter(None, (part.__cause__, part.__context__, *(part.exceptions or ())))
    return "".join(told.format()).rstrip()


def _imports(file_name: str) -> bool:
    return file_name in (__file__, importlib.__file__) or file_name.startswith("<frozen importlib")
