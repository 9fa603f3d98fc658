"""The command `meshhook`: it parses, calls the SDK, and prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRA = frozenset({"typer", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; those of the process if None.

    Returns:
        The exit code; see `meshhook.cli.exits`.
    """
    try:
        from meshhook.cli.app import run  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            "meshhook: the command line needs the extra cli: pip install 'meshhook[cli]'\n"
        )
        return 2
    return run(sys.argv[1:] if argv is None else argv)
