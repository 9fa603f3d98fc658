"""Options that several commands share, and how a command gets what is made of them."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from meshhook.cli import complete, project

Command = Callable[..., Any]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
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


def with_options(**makers: Command) -> Callable[[Command], Command]:
    """Give a command the options of functions, and their results as its parameters.

    Typer reads a command's options from its signature. So that commands can share groups of
    options, each parameter named here is replaced in the signature by those of its function.
    Options stand where a keyword parameter stood, or last for a positional one.

    Args:
        makers: For a parameter of the command, the function that makes its value of options.

    Returns:
        A decorator of commands.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> Any:
            made = {
                name: maker(**{option: given.pop(option) for option in _parameters(maker)})
                for name, maker in makers.items()
            }
            return command(**made, **given)

        parameters = _expanded(command, makers)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _expanded(command: Command, makers: dict[str, Command]) -> list[inspect.Parameter]:
    shown: list[inspect.Parameter] = []
    last: list[inspect.Parameter] = []
    for name, parameter in _parameters(command).items():
        if name not in makers:
            shown.append(parameter)
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            shown += _parameters(makers[name]).values()
        else:
            last += _parameters(makers[name]).values()
    return shown + last


def _parameters(function: Command) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def _project(
    *, url: UrlOption = None, key: KeyOption = None, env_file: EnvFileOption = None
) -> project.Settings:
    return project.find(url, key, None, env_file)


def _project_and_queue(
    *,
    queue: QueueOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    env_file: EnvFileOption = None,
) -> project.Settings:
    return project.find(url, key, queue, env_file)


with_project = with_options(settings=_project)
"""Give a command the options of the project, as its parameter ``settings``."""

with_queue = with_options(settings=_project_and_queue)
"""Give a command the options of the project and the queue, as its parameter ``settings``."""
