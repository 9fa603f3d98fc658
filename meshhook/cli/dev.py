"""`meshhook dev`: run the embedded stack until told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from meshhook.local import LocalStack

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `dev`."""
    parser = subparsers.add_parser(
        "dev",
        help="run a local Supabase with PGMQ and MeshHook, without Docker",
        description=(
            "Run a local Supabase with PGMQ and MeshHook, without Docker, until Ctrl-C. Prints its"
            " settings on standard output, in the form of `supabase status -o env`."
        ),
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep data and keys here (default: nowhere)"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of the API (default: a free one)"
    )
    parser.add_argument(
        "--database-port",
        type=int,
        default=0,
        metavar="N",
        help="port of Postgres (default: a free one)",
    )
    parser.add_argument(
        "--migrations", type=Path, metavar="DIR", help="apply your migrations from here too"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the stack until SIGINT or SIGTERM.

    Returns:
        0 after a stop, 1 if the stack did not start.
    """
    try:
        from meshhook.local import LocalStack, LocalStackError  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        return _fail(error)
    stack = LocalStack(
        data_dir=arguments.data_dir,
        migrations=arguments.migrations,
        port=arguments.port,
        database_port=arguments.database_port,
    )
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        stack.start()
        _show(stack)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except LocalStackError as error:
        return _fail(error)
    finally:
        for number in _STOP_SIGNALS:  # A second Ctrl-C must not cut the stop short.
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
    return 0


def _show(stack: LocalStack) -> None:
    lines = [f'{name}="{value}"\n' for name, value in stack.env().items()]
    sys.stdout.write("".join(lines))
    sys.stdout.flush()
    sys.stderr.write(
        f"The local stack answers at {stack.url}; use SECRET_KEY in workers. Ctrl-C stops it.\n"
    )


def _fail(error: Exception) -> int:
    sys.stderr.write(f"meshhook dev: {' '.join(str(error).split())}\n")
    return 1
