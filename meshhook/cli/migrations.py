"""`meshhook migrations`: MeshHook's SQL, and how it gets into a project."""

from pathlib import Path
from typing import Annotated

import typer

from meshhook import migrations
from meshhook._http.advice import INSTALL_AGAIN
from meshhook.cli import installed, output
from meshhook.cli.exits import CommandError, ExitCode, exit_code, usage
from meshhook.cli.options import DryRunOption, JsonOption, with_project
from meshhook.cli.project import Settings
from meshhook.exceptions import MeshHookError

app = typer.Typer(help="MeshHook's SQL, and how it gets into your project.")

DEFAULT_FOLDER = Path("supabase/migrations")

FolderOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Your project's folder of migrations.")
]


@app.command("print")
def print_all() -> None:
    """Print the SQL, to be pasted into the dashboard's SQL editor, say."""
    output.say(migrations.migration_file().read_text(encoding="utf-8").removesuffix("\n"))


@app.command()
def install(
    *,
    folder: FolderOption = DEFAULT_FOLDER,
    again: Annotated[
        bool, typer.Option("--again", help="Write it once more, to repair the database.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the SQL, if it is missing, under a version after your newest; change nothing there."""
    if not folder.is_dir() and not folder.parent.is_dir():
        raise CommandError(
            f"there is no folder {folder.parent} here: go to the root of your project, run"
            " supabase init, or give --dir"
        )
    found = migrations.look(folder)
    _refuse_to_go_back(found)
    path = None if found.is_complete and not again else _target(folder, again=again)
    if path and not dry_run:
        _write(path)
    if as_json:
        output.show_json({"dry_run": dry_run, "file": path and str(path)})
    else:
        _show_written(found, folder, path, dry_run=dry_run)


def _refuse_to_go_back(found: migrations.Found) -> None:
    """Refuse to write an older file after a newer one, which would undo its changes."""
    if found.newer is not None:
        raise CommandError(
            f"{found.newer.file_name} is of a newer meshhook (schema version"
            f" {found.newer.schema_version}): this one's file after it would take the database"
            " back, so nothing was written. Upgrade this one: pip install --upgrade meshhook"
        )


def _target(folder: Path, *, again: bool) -> Path:
    try:
        return migrations.target(folder, again=again)
    except migrations.NoVersionLeftError as error:
        raise usage(str(error)) from error


def _write(path: Path) -> None:
    try:
        migrations.install(path)
    except OSError as error:
        raise CommandError(f"nothing was installed: {error}") from error


def _show_written(
    found: migrations.Found, folder: Path, path: Path | None, *, dry_run: bool
) -> None:
    if path is None:
        output.say(f"MeshHook's SQL is in {folder}.")
        output.note(f"If the database lacks something of it: {INSTALL_AGAIN}")
        return
    output.say(f"{'would write' if dry_run else 'wrote'} {path}")
    if found.copy and found.state == "changed":
        output.note(
            f"{found.copy.file_name} was changed by you; it stays as it is, and MeshHook's SQL"
            " comes after it"
        )
    if not dry_run:
        output.note("Apply it with: supabase db push (or supabase migration up, locally)")


@app.command()
@with_project
def status(
    settings: Settings,
    *,
    folder: FolderOption = DEFAULT_FOLDER,
    database: Annotated[
        bool | None,
        typer.Option(
            "--database/--no-database",
            help="Compare the database too (if there are a URL and a key).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what your folder and your database have of it; exit code 1 if something is to do."""
    found = migrations.look(folder)
    if not as_json:
        _show_folder(found)
    is_asked = bool(settings.url and settings.key) if database is None else database
    there, code = _ask(settings) if is_asked else (None, ExitCode.OK)
    if as_json:
        _show_as_json(found, there)
    else:
        _show_database(there)
    if not found.is_complete:
        code = ExitCode.FAILED
    if code:
        raise typer.Exit(code)


def _ask(settings: Settings) -> "tuple[installed.Installed, ExitCode]":
    try:
        there = installed.ask(settings)
    except MeshHookError as error:
        return installed.Installed(problem=str(error)), exit_code(error)
    return there, ExitCode.OK if there.is_complete else ExitCode.FAILED


def _show_folder(found: migrations.Found) -> None:
    file = f" ({found.copy.file_name})" if found.copy else ""
    output.say(f"folder: {found.shipped.name} is {_TOLD[found.state]}{file}")
    if found.newer:
        output.note(
            f"{found.newer.file_name} is of a newer meshhook (schema version"
            f" {found.newer.schema_version}): pip install --upgrade meshhook"
        )
    elif not found.is_complete:
        output.note("To write it: meshhook migrations install")


_TOLD = {
    "installed": "installed",
    "missing": "missing",
    "changed": "changed by you",
    "other release": "missing; there is the file of another release",
}


def _show_database(there: "installed.Installed | None") -> None:
    if there is None:
        output.note(
            "Only the folder was looked at. To compare the database too, set SUPABASE_URL and"
            " SUPABASE_KEY, or give --url and --key"
        )
        return
    if there.problem:
        output.say(f"database: {there.problem}")
        return
    output.say(
        f"database: schema version {there.schema_version}, {there.functions} functions as they"
        " should be"
    )
    parts = {"missing": there.missing, "changed by hand, or of another version": there.changed}
    for state, names in parts.items():
        for name in names:
            output.say(f"database: {name} is {state}")
    for name in there.unknown:
        output.say(f"database: {name} is not known to this version")
    if there.fix:
        output.note(f"fix: {there.fix}")


def _show_as_json(found: migrations.Found, there: "installed.Installed | None") -> None:
    output.show_json(
        {
            "complete": found.is_complete,
            "name": found.shipped.name,
            "state": found.state,
            "file": found.copy and found.copy.file_name,
            "newer_file": found.newer and found.newer.file_name,
            "database": there
            and {"complete": there.is_complete, **output.plain(there), "fix": there.fix},
        }
    )
