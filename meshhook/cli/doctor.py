"""`meshhook doctor`: whatever can be wrong, and what to do about it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from meshhook.cli import complete, output
from meshhook.cli.exits import ExitCode
from meshhook.cli.findings import Finding, ok, problem
from meshhook.cli.options import JsonOption, with_project
from meshhook.cli.settings import Settings

if TYPE_CHECKING:
    from supabase import Client

    from meshhook import RepeatPolicy

ANSWER_SECONDS = 10.0
"""How long an answer is waited for; longer than hosted Supabase lets a statement run (8 s)."""

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
            help="A queue that has to be there (workflow_jobs); may be given several times.",
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
    """Look for whatever can be wrong, and say what to do; exit code 1 if something is."""
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


def examine(settings: Settings, queues: list[str], sample_seconds: float) -> Iterator[Finding]:
    """Look at settings, key, connection and database, as far as one lets get to the next.

    Args:
        settings: Which project.
        queues: The queues that have to be there.
        sample_seconds: How long backlogs are watched, in seconds; 0 for not at all.

    Yields:
        What is found.
    """
    from meshhook.cli.examine_key import examine_key  # noqa: PLC0415 - heavy
    from meshhook.cli.examine_url import examine_url  # noqa: PLC0415 - heavy
    from meshhook.exceptions import ConfigurationError  # noqa: PLC0415 - heavy

    if not settings.url or not settings.key:
        missing = "SUPABASE_KEY" if settings.url else "SUPABASE_URL"
        fix = "put SUPABASE_URL and SUPABASE_KEY into the environment or into .env"
        yield problem("settings", f"{missing} is not set", fix)
        return
    for examined in (examine_url(settings.url), examine_key(settings.key, settings.url, _now())):
        yield examined
        if examined.status != "ok":
            return
    try:
        with settings.connect() as client:
            client.postgrest.session.timeout = ANSWER_SECONDS
            yield from _examine_project(client, queues, sample_seconds)
    except ConfigurationError as error:
        yield problem("settings", str(error), "correct SUPABASE_URL and SUPABASE_KEY")


def _examine_project(client: "Client", queues: list[str], sample: float) -> Iterator[Finding]:
    from meshhook.cli import diagnosis, views  # noqa: PLC0415 - heavy
    from meshhook.cli.expected import expected  # noqa: PLC0415 - heavy
    from meshhook.cli.failures import failure  # noqa: PLC0415 - heavy
    from meshhook.exceptions import MeshHookError  # noqa: PLC0415 - heavy
    from meshhook.migrations import migration_file  # noqa: PLC0415 - heavy

    def ask(function: str) -> object:
        return views.ask(client, function, _policy())

    begin, here = time.monotonic(), _now()
    told = set()
    try:
        facts = diagnosis.decode(ask("meshhook_doctor"))
        seconds = time.monotonic() - begin
        yield ok("connection", f"answered in {seconds * 1000:.0f} ms")
        if clock := diagnosis.clock(facts, here + timedelta(seconds=seconds / 2), seconds):
            yield clock
        served = _served(client)
        for finding in diagnosis.diagnose(facts, expected(migration_file()), served, queues):
            yield finding
            if finding.status != "ok":
                told.add(finding.check)
        if sample:
            time.sleep(sample)
            later = diagnosis.decode(ask("meshhook_doctor"))
            yield from diagnosis.growth(facts, later, sample, served, told)
    except MeshHookError as error:
        yield failure(error, ask, ANSWER_SECONDS)


def _served(client: "Client") -> set[str] | None:
    """Return the queues that have a worker; None where the database does not let that be seen.

    Why it does not is among its facts: a function that is missing or changed, or a lost right.
    """
    from meshhook.cli import views  # noqa: PLC0415 - heavy
    from meshhook.exceptions import RequestError  # noqa: PLC0415 - heavy

    try:
        workers = views.workers(client, _policy())
    except RequestError:
        return None
    return {name for worker in workers if worker.is_alive for name in worker.queue_names}


def _policy() -> "RepeatPolicy":
    """Repeat what failed at once, and nothing that was waited for."""
    from meshhook import RepeatPolicy  # noqa: PLC0415 - heavy

    return RepeatPolicy(tries=2, total_seconds=ANSWER_SECONDS / 2)


def _show(finding: Finding) -> None:
    from rich.text import Text  # noqa: PLC0415 - heavy

    line = Text(f"{finding.status:<8}", style=_STYLES[finding.status])
    line.append(f"{finding.check}: ", style="bold not red")
    line.append(output.printable(output.flat(finding.message)), style="not bold")
    console = output.console()
    console.print(line)
    if finding.fix:
        console.print(Text(f"{'':<8}fix: {output.printable(finding.fix)}"))


def _now() -> datetime:
    return datetime.now(UTC)
