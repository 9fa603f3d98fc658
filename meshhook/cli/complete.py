"""Shell completion of arguments: quick, and silent if something fails."""

import ast
import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import typer

from meshhook.cli import project
from meshhook.sync_services import list_queues_sync

WAIT_SECONDS = 1.0
"""How long the project may take to answer; then nothing is offered."""


def queues(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the project's queues whose names begin so; none if it does not answer.

    Args:
        ctx: The command as far as it is typed, with the options that name the project.
        incomplete: The beginning.
    """
    found: list[str] = []
    given = [ctx.params.get(name) for name in ("url", "key", "env_file")]

    def ask() -> None:
        with contextlib.suppress(Exception):
            found.extend(_names(*given))

    # A thread, since no time limit of a connection covers all that it waits for.
    asking = threading.Thread(target=ask, daemon=True)
    with contextlib.redirect_stderr(io.StringIO()):
        asking.start()
        asking.join(WAIT_SECONDS)
    return [name for name in tuple(found) if name.startswith(incomplete)]


def _names(url: str | None, key: str | None, env_file: Path | None) -> list[str]:
    with project.find(url, key, None, env_file).connect() as client:
        return [queue.queue_name for queue in list_queues_sync(client)]


def handlers(incomplete: str) -> list[str]:
    """Return the functions of the modules in the working directory, as ``module:function``.

    The modules are read, not imported.

    Args:
        incomplete: The beginning.
    """
    return [name for name in _functions() if name.startswith(incomplete)]


def _functions() -> Iterator[str]:
    for path in sorted(Path().glob("*.py")):
        with contextlib.suppress(OSError, ValueError, SyntaxError, RecursionError):
            for node in ast.parse(path.read_bytes()).body:
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                if not node.name.startswith("_"):
                    yield f"{path.stem}:{node.name}"
