"""The whole command line, and how its errors are reported."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from meshhook.cli import dev, dlq, jobs, migrations, queues, stats
from meshhook.cli.doctor import command as doctor
from meshhook.cli.enqueue import command as enqueue
from meshhook.cli.exits import CommandError, ExitCode, exit_code
from meshhook.cli.output import flat, note, say
from meshhook.cli.worker import command as worker
from meshhook.cli.worker import drain

GROUPS = {"jobs": jobs, "queues": queues, "dlq": dlq, "migrations": migrations}

# What Typer raises for wrong usage; the class has had more than one name and home.
_USAGE_ERROR = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

app = typer.Typer(
    name="meshhook",
    help="Durable background jobs on Supabase.",
    pretty_exceptions_enable=False,  # a traceback of Typer's shows local variables: the key
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Settings: --url and --key, or SUPABASE_URL and SUPABASE_KEY in the environment or in .env."
        " Exit codes: 0 done, 1 failed or a problem found, 2 wrong usage or settings, 3 Supabase"
        " cannot be used at the moment, 130 and 143 ended by Ctrl-C or SIGTERM."
    ),
)
app.command("worker")(worker.worker)
app.command("drain")(drain.drain)
app.command("enqueue")(enqueue.enqueue)
for name, group in GROUPS.items():
    app.add_typer(group.app, name=name)
app.command("stats")(stats.stats)
app.command("doctor")(doctor.doctor)
app.command("dev")(dev.dev)


class _Command(TyperCommand):
    """A command whose help shows no type for a flag, which takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    """A group of commands; see `_Command`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


for typers in (app, *(group.app for group in GROUPS.values())):
    typers.info.cls = _Group
    for command in typers.registered_commands:
        command.cls = _Command


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Durable background jobs on Supabase."""
    if version:
        say(f"meshhook {metadata.version('meshhook')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every error becomes one line and an exit code.

    Args:
        arguments: The arguments, without the program's name.

    Returns:
        The exit code.
    """
    try:
        ended = app(args=list(arguments), prog_name="meshhook", standalone_mode=False)
    except BrokenPipeError:
        # The reader of the output is gone; Python must not try to flush it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except (KeyboardInterrupt, typer.Abort):
        note("")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - reported, and turned into an exit code
        return _report(arguments, error)
    return ended if isinstance(ended, int) else ExitCode.OK


def _report(arguments: Sequence[str], error: Exception) -> int:
    if isinstance(error, _USAGE_ERROR):
        wrong: Any = error
        path = wrong.ctx.command_path if wrong.ctx else "meshhook"
        note(f"{path}: {flat(wrong.format_message())} (see {path} --help)")
        return int(wrong.exit_code)
    code = exit_code(error)
    if code is ExitCode.INTERNAL:
        note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, CommandError) and error.detail:
        note(error.detail)
    note(f"{_path(arguments)}: {flat(str(error)) or type(error).__name__}")
    return code


def _path(arguments: Sequence[str]) -> str:
    words = [word for word in arguments[:2] if not word.startswith("-")]
    return " ".join(["meshhook", *words[: 2 if words and words[0] in GROUPS else 1]])
