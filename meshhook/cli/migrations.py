"""`meshhook migrations`: MeshHook's SQL, and how it gets into a project."""

from pathlib import Path
from typing import Annotated

import typer

from meshhook import migrations
from meshhook.cli import output
from meshhook.cli.exits import CommandError, ExitCode, usage
from meshhook.cli.options import DryRunOption, JsonOption

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
    for name, one in shipped.items():
        if not names or name in names:
            output.say(f"-- {name}\n\n{one.path.read_text(encoding='utf-8')}")


@app.command()
def install(
    *,
    folder: FolderOption = DEFAULT_FOLDER,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy what is missing, stamped after your newest migration; nothing there is changed."""
    if not folder.is_dir() and not folder.parent.is_dir():
        raise CommandError(
            f"there is no folder {folder.parent} here: go to the root of your project, run"
            " supabase init, or give --dir"
        )
    steps = migrations.plan(folder)
    if not dry_run:
        try:
            migrations.install(steps)
        except OSError as error:
            raise CommandError(f"nothing was installed: {error}") from error
    if as_json:
        files = [{"name": step.migration.name, "path": str(step.path)} for step in steps]
        output.show_json({"dry_run": dry_run, "files": files})
        return
    for step in steps:
        output.say(f"{'would write' if dry_run else 'wrote'} {step.path}")
    if not steps:
        output.say(f"All of MeshHook's migrations are in {folder}.")
    elif not dry_run:
        output.note("Apply them with: supabase db push (or supabase migration up, locally)")


@app.command()
def status(*, folder: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Tell what your folder has of them; exit code 1 if anything is to be installed."""
    found = migrations.look(folder)
    steps = migrations.plan(folder)
    if as_json:
        output.show_json(
            {
                "complete": not steps,
                "migrations": [
                    {
                        "name": one.migration.name,
                        "state": one.state,
                        "file": one.copy and one.copy.file_name,
                    }
                    for one in found
                ],
            }
        )
    else:
        output.show_table(
            ("name", "state", "file"),
            ((one.migration.name, one.state, one.copy and one.copy.file_name) for one in found),
            "",
        )
        if steps:
            files = output.counted(len(steps), "file", "are")
            output.note(f"{files} to be written: meshhook migrations install")
    if steps:
        raise typer.Exit(ExitCode.FAILED)
