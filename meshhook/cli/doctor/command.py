"""`meshhook doctor`: find everything that can be wrong, and say what to do about it."""

from typing import Annotated

import typer
from rich.text import Text

from meshhook.cli import complete, output
from meshhook.cli.doctor.diagnosis import examine
from meshhook.cli.doctor.findings import Finding
from meshhook.cli.exits import ExitCode
from meshhook.cli.options import JsonOption, with_project
from meshhook.cli.project import Settings

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@with_project
def doctor(
    settings: Settings,
    *,
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            metavar="NAME",
            help="A queue that has to exist (workflow_jobs); may be given several times.",
            autocompletion=complete.queues,
        ),
    ] = None,
    sample_seconds: Annotated[
        float,
        typer.Option("--sample-seconds", min=0, help="How long backlogs are watched; 0 for not."),
    ] = 2.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 for warnings too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for everything that can be wrong, and how to fix it; exit code 1 if something is."""
    findings = []
    for finding in examine(settings, queues or [settings.queue_name], sample_seconds):
        findings.append(finding)
        if not as_json:
            _show(finding)
    bad = {"problem", "warning"} if strict else {"problem"}
    is_well = not any(finding.status in bad for finding in findings)
    if as_json:
        output.show_json({"ok": is_well, "findings": findings})
    if not is_well:
        raise typer.Exit(ExitCode.FAILED)


def _show(finding: Finding) -> None:
    line = Text(f"{finding.status:<8}", style=_STYLES[finding.status])
    line.append(f"{finding.check}: ", style="bold not red")
    line.append(output.printable(output.flat(finding.message)), style="not bold")
    console = output.console()
    console.print(line)
    if finding.fix:
        console.print(Text(f"{'':<8}fix: {output.printable(finding.fix)}"))
