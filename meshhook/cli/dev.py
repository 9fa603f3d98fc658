"""`meshhook dev`: run the embedded stack until stopped."""

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshhook.cli import env_writing, output
from meshhook.cli.exits import CommandError, usage
from meshhook.cli.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook.local import LocalStack

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

WATCH_SECONDS = 0.5
"""How often the folder of migrations is checked."""


def dev(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Keep data and keys here (nowhere)."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Port of the API; 0 for a free one.")
    ] = 0,
    database_port: Annotated[
        int,
        typer.Option(
            "--database-port", min=0, max=65_535, help="Port of Postgres; 0 for a free one."
        ),
    ] = 0,
    migrations: Annotated[
        Path | None,
        typer.Option("--migrations", metavar="DIR", help="Apply your migrations from here too."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Apply migrations that are added to --migrations.")
    ] = False,
    seed: Annotated[
        list[Path] | None,
        typer.Option(
            "--seed",
            metavar="FILE",
            help="SQL to run in a new database; may be given several times.",
        ),
    ] = None,
    write_env: Annotated[
        Path | None,
        typer.Option(
            "--write-env",
            metavar="FILE",
            help="Write SUPABASE_URL and SUPABASE_KEY into this file, such as .env.",
        ),
    ] = None,
) -> None:
    """Run a local Supabase with PGMQ and MeshHook, without Docker, until Ctrl-C.

    Prints its settings on standard output, in the form of `supabase status -o env`.
    """
    try:
        from meshhook.local import LocalStack, LocalStackError  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise usage(str(error)) from error
    if watch and migrations is None:
        raise usage("--watch needs --migrations DIR")
    if write_env is not None:
        env_writing.check_target(write_env)
    seeds = [_sql(file) for file in seed or ()]
    is_new = data_dir is None or not data_dir.is_dir() or not any(data_dir.iterdir())
    stack = LocalStack(
        data_dir=data_dir, migrations=migrations, port=port, database_port=database_port
    )
    # It reads the folder before the start, so that no later change is missed.
    apply_changes = _watcher(stack, migrations) if watch and migrations else None
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        stack.start()
        if is_new:
            _run_seeds(stack, seeds)
        _show(stack)
        if write_env is not None:
            env_writing.write_env(write_env, stack.url, stack.secret_key)
        _wait(apply_changes)
    except KeyboardInterrupt:
        pass
    except LocalStackError as error:
        raise CommandError(str(error)) from error
    finally:
        for number in _STOP_SIGNALS:  # A second Ctrl-C must not cut the stop short.
            signal.signal(number, signal.SIG_IGN)
        stack.stop()


def _sql(file: Path) -> tuple[Path, str]:
    try:
        return file, file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"--seed {file} cannot be read: {error}") from error


def _run_seeds(stack: "LocalStack", seeds: list[tuple[Path, str]]) -> None:
    import psycopg  # noqa: PLC0415 - an optional extra

    for file, text in seeds:
        try:
            with psycopg.connect(stack.database_url) as connection:
                connection.execute(text.encode())
        except psycopg.Error as error:
            raise CommandError(f"the seed {file} failed, and changed nothing: {error}") from error
        output.note(f"Ran the seed {file}.")


def _show(stack: "LocalStack") -> None:
    lines = [f'{name}="{value}"\n' for name, value in stack.env().items()]
    sys.stdout.write("".join(lines))
    sys.stdout.flush()
    output.note(f"The local stack answers at {stack.url}; Ctrl-C stops it. In another shell:")
    # Not by `note`, which would hide the key.
    sys.stderr.write(f"  export SUPABASE_URL={stack.url} SUPABASE_KEY={stack.secret_key}\n")
    sys.stderr.flush()


def _wait(apply_changes: "Callable[[], None] | None") -> None:
    """Wait for a signal, which raises KeyboardInterrupt."""
    forever = threading.Event()
    while apply_changes is not None:
        forever.wait(WATCH_SECONDS)
        apply_changes()
    forever.wait()


def _watcher(stack: "LocalStack", folder: Path) -> "Callable[[], None]":
    """Return a function that applies new migrations, and notes one that fails."""
    from meshhook.local import LocalStackError  # noqa: PLC0415 - an optional extra
    from meshhook_local.migrate import (  # noqa: PLC0415 - an optional extra
        apply_migrations,
        migrations_in,
    )

    files = Watch([folder], ".sql")

    def apply_changes() -> None:
        changed = files.changed()
        if not changed:
            return
        try:
            applied = apply_migrations(stack.database_url, migrations_in(folder))
        except LocalStackError as error:
            output.note(f"meshhook dev: {' '.join(str(error).split())}")
            return
        for path in applied:
            output.note(f"Applied {path.name}.")
        for path in changed:
            if path not in applied and path.exists():
                output.note(
                    f"{path.name} was applied before; a change of it is applied in a new stack."
                )

    return apply_changes
