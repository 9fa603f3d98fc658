"""The command `meshhook`: parse, call, print; what is done lives elsewhere."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from meshhook.cli import dev

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each module adds its subcommand, with `run` set to a function of the parsed arguments.
_COMMANDS = (dev,)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; those of the process if None.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="meshhook", description="Durable background jobs on Supabase."
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.register(subparsers)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))
