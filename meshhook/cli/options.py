"""Options that many commands have, and how a command gets its settings."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from meshhook.cli import complete, project

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many at the most.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The project's URL. \\[env var: SUPABASE_URL]"),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help=(
            "The project's secret key; better set SUPABASE_KEY, since other users of the machine"
            " can see arguments. \\[env var: SUPABASE_KEY]"
        ),
    ),
]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME",
        help="The queue (workflow_jobs). \\[env var: MESHHOOK_QUEUE]",
        autocompletion=complete.queues,
    ),
]
EnvFileOption = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Settings that the environment lacks (.env)."),
]

_PROJECT = {"url": UrlOption, "key": KeyOption, "env_file": EnvFileOption}
_PROJECT_AND_QUEUE = {"queue": QueueOption, **_PROJECT}


def with_project(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the project, and its parameter ``settings`` their values.

    Args:
        command: The command, with a parameter ``settings``.

    Returns:
        The command as Typer should see it.
    """
    return _with_settings(command, _PROJECT)


def with_queue(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the project and of the queue; see `with_project`."""
    return _with_settings(command, _PROJECT_AND_QUEUE)


def _with_settings(command: Callable[..., None], added: dict[str, Any]) -> Callable[..., None]:
    signature = inspect.signature(command)
    parameters = [
        *(parameter for name, parameter in signature.parameters.items() if name != "settings"),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in added.items()
        ),
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {name: given.pop(name) for name in added}
        command(settings=project.find(**{"queue": None, **values}), **given)

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters
        ]
    )
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
