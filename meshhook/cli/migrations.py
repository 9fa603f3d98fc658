"""`meshhook migrations`: MeshHook's SQL, and how it gets into a project."""

from collections.abc import Iterable, Sequence
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


@app.command("list")
def list_all(*, as_json: JsonOption = False) -> None:
    """List the migrations that this version of MeshHook has."""
    shipped = migrations.shipped()
    if as_json:
        output.show_json(
            [{"name": one.name, "version": one.version, "digest": one.digest} for one in shipped]
        )
        return
    output.show_table(
        ("name", "lines:", "digest"),
        (
            (one.name, len(one.path.read_text(encoding="utf-8").splitlines()), one.digest[:12])
            for one in shipped
        ),
        "",
    )


@app.command("print")
def print_all(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which (all).")
    ] = None,
) -> None:
    """Print the SQL, to be pasted into the dashboard's SQL editor, say."""
    shipped = {one.name: one for one in migrations.shipped()}
    if unknown := [name for name in names or () if name not in shipped]:
        raise usage(f"there is no migration {unknown[0]}; meshhook migrations list names them")
    wanted = [one for name, one in shipped.items() if not names or name in names]
    output.say(migrations.printed(wanted))


@app.command()
def install(
    *,
    folder: FolderOption = DEFAULT_FOLDER,
    again: Annotated[
        bool,
        typer.Option("--again", help="Write all of it once more, as one file: a repair."),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy what is missing, stamped after your newest migration; nothing there is changed."""
    if not folder.is_dir() and not folder.parent.is_dir():
        raise CommandError(
            f"there is no folder {folder.parent} here: go to the root of your project, run"
            " supabase init, or give --dir"
        )
    _refuse_to_go_back(folder)
    found = migrations.look(folder)
    steps = _steps(folder, again=again)
    if not dry_run:
        try:
            migrations.install(steps)
        except OSError as error:
            raise CommandError(f"nothing was installed: {error}") from error
    if as_json:
        files = [{"name": step.name, "path": str(step.path)} for step in steps]
        output.show_json({"dry_run": dry_run, "files": files})
        return
    for step in steps:
        output.say(f"{'would write' if dry_run else 'wrote'} {step.path}")
    _tell_of_changed(found)
    if not steps:
        output.say(f"All of MeshHook's migrations are in {folder}.")
        output.note(f"If the database lacks something of them: {INSTALL_AGAIN}")
    elif not dry_run:
        output.note("Apply them with: supabase db push (or supabase migration up, locally)")


def _refuse_to_go_back(folder: Path) -> None:
    """Refuse to write older files after those of a newer MeshHook, which would undo its changes."""
    newer = migrations.newer_in(folder)
    if newer is not None:
        raise CommandError(
            f"{newer.file_name} is of a newer meshhook (schema version {newer.schema_version}):"
            " files of this one after it would take the database back, so nothing was written."
            " Upgrade this one: pip install --upgrade meshhook"
        )


def _steps(folder: Path, *, again: bool) -> list[migrations.Step]:
    try:
        return migrations.plan_again(folder) if again else migrations.plan(folder)
    except migrations.NoVersionLeftError as error:
        raise usage(str(error)) from error


def _tell_of_changed(found: Iterable[migrations.Found]) -> None:
    for one in found:
        if one.state == "other version" and one.copy is not None:
            output.note(
                f"{one.copy.file_name} was changed by you, or is of another version of meshhook; it"
                " stays as it is, and this version's SQL comes after it"
            )


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
    """Tell what your folder and your database have of them; exit code 1 if something is to do."""
    found = migrations.look(folder)
    newer = migrations.newer_in(folder)
    missing = () if newer else migrations.to_write(found)
    if not as_json:
        _show_folder(found, missing, newer)
    is_asked = bool(settings.url and settings.key) if database is None else database
    there, code = _ask(settings) if is_asked else (None, ExitCode.OK)
    if as_json:
        _show_as_json(found, missing, newer, there)
    else:
        _show_database(there)
    if missing or newer:
        code = ExitCode.FAILED
    if code:
        raise typer.Exit(code)


def _ask(settings: Settings) -> "tuple[installed.Installed, ExitCode]":
    try:
        there = installed.ask(settings)
    except MeshHookError as error:
        return installed.Installed(problem=str(error)), exit_code(error)
    return there, ExitCode.OK if there.is_complete else ExitCode.FAILED


def _show_folder(
    found: Sequence[migrations.Found],
    missing: Sequence[migrations.Found],
    newer: migrations.Migration | None,
) -> None:
    told = {"other version": "changed by you, or of another version"}
    output.show_table(
        ("name", "state", "file"),
        (
            (one.migration.name, told.get(one.state, one.state), one.copy and one.copy.file_name)
            for one in found
        ),
        "",
    )
    if newer:
        output.note(
            f"{newer.file_name} is of a newer meshhook (schema version {newer.schema_version}):"
            " pip install --upgrade meshhook"
        )
    elif missing:
        files = output.counted(len(missing), "file", "are")
        output.note(f"{files} to be written: meshhook migrations install")


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


def _show_as_json(
    found: Sequence[migrations.Found],
    missing: Sequence[migrations.Found],
    newer: migrations.Migration | None,
    there: "installed.Installed | None",
) -> None:
    output.show_json(
        {
            "complete": not (missing or newer),
            "newer_file": newer and newer.file_name,
            "migrations": [
                {
                    "name": one.migration.name,
                    "state": one.state,
                    "file": one.copy and one.copy.file_name,
                }
                for one in found
            ],
            "database": there
            and {"complete": there.is_complete, **output.plain(there), "fix": there.fix},
        }
    )
