"""`meshhook doctor`: whatever can be wrong, and what to do about it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshhook.cli import complete, output
from meshhook.cli.exits import ExitCode
from meshhook.cli.findings import INSTALL, Finding, ok, problem
from meshhook.cli.options import JsonOption, with_project
from meshhook.cli.settings import Settings

if TYPE_CHECKING:
    from supabase import Client

    from meshhook.exceptions import MeshHookError

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
    from meshhook.exceptions import ConfigurationError  # noqa: PLC0415 - heavy

    if not settings.url or not settings.key:
        missing = "SUPABASE_KEY" if settings.url else "SUPABASE_URL"
        fix = "put SUPABASE_URL and SUPABASE_KEY into the environment or into .env"
        yield problem("settings", f"{missing} is not set", fix)
        return
    yield ok("settings", f"the project at {settings.url}")
    key = examine_key(settings.key, settings.url, _now())
    yield key
    if key.status != "ok":
        return
    try:
        with settings.connect() as client:
            yield from _examine_project(client, queues, sample_seconds)
    except ConfigurationError as error:
        yield problem("settings", str(error), "mend SUPABASE_URL and SUPABASE_KEY")


def _examine_project(client: "Client", queues: list[str], sample: float) -> Iterator[Finding]:
    from meshhook.cli import diagnosis, views  # noqa: PLC0415 - heavy
    from meshhook.cli.expected_functions import expected_functions  # noqa: PLC0415 - heavy
    from meshhook.exceptions import MeshHookError  # noqa: PLC0415 - heavy
    from meshhook.migrations import migration_files  # noqa: PLC0415 - heavy

    begin, here = time.monotonic(), _now()
    try:
        facts = _ask(client, "meshhook_doctor")
        seconds = time.monotonic() - begin
        yield ok("connection", f"answered in {seconds * 1000:.0f} ms")
        yield diagnosis.clock(facts, here + timedelta(seconds=seconds / 2), seconds)
        expected = expected_functions(migration_files())
        yield from diagnosis.diagnose(facts, expected, views.workers(client), queues)
        if sample:
            time.sleep(sample)
            yield from diagnosis.growth(facts, _ask(client, "meshhook_doctor"), sample)
    except MeshHookError as error:
        yield _failure(client, error)


def _ask(client: "Client", function: str) -> dict[str, Any]:
    from meshhook import RepeatPolicy  # noqa: PLC0415 - heavy
    from meshhook._calls.base import Call, object_of  # noqa: PLC0415 - heavy
    from meshhook._transport import SyncTransport  # noqa: PLC0415 - heavy

    policy = RepeatPolicy(tries=2)
    return SyncTransport(client, policy).run(Call(function, {}, object_of))


def _failure(client: "Client", error: "MeshHookError") -> Finding:
    """Say what a call that failed says of the project."""
    from meshhook import exceptions as errors  # noqa: PLC0415 - heavy

    if isinstance(error, errors.MissingFunctionsError):
        return _missing_functions(client)
    if isinstance(error, errors.AuthenticationError):
        fix = "take the secret key of the project that SUPABASE_URL names"
        return problem("key", str(error), fix)
    if isinstance(error, errors.PermissionDeniedError):
        fix = f"give the functions back to service_role: {INSTALL}"
        return problem("rights", str(error), fix)
    if isinstance(error, errors.UnreachableError | errors.RequestTimeoutError):
        fix = "check SUPABASE_URL and the network; locally, start supabase or meshhook dev"
        return problem("connection", str(error), fix)
    if isinstance(error, errors.ServerUnavailableError):
        fix = "look at the project in the dashboard: it may be paused, restarting or out of memory"
        return problem("connection", str(error), fix)
    fix = "look at the project's logs; check that SUPABASE_URL is a Supabase project's"
    return problem("connection", str(error), fix)


def _missing_functions(client: "Client") -> Finding:
    from meshhook.exceptions import MeshHookError  # noqa: PLC0415 - heavy

    try:
        version = _ask(client, "meshhook_version")
    except MeshHookError:
        return problem(
            "functions",
            "MeshHook's functions are not in this project, or its API has not noticed them",
            f"{INSTALL}; if they are there: notify pgrst, 'reload schema'",
        )
    message = f"those in this project are older (schema version {version.get('schema_version')})"
    return problem("functions", message, INSTALL)


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
