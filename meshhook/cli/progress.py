"""A bar that shows on a terminal how far a long command has come, and nothing anywhere else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meshhook.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def bar(doing: str, total: float | None) -> Iterator[Callable[[float, str], None]]:
    """Show a bar below what else is written.

    Args:
        doing: What is being done, such as enqueueing.
        total: How much there is to do, None if nobody knows.

    Yields:
        What is called with how much has been done so far, and that as a text.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _text: None
        return
    from rich import progress  # noqa: PLC0415 - for terminals alone

    columns = (
        progress.TextColumn(doing),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[text]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    shown = progress.Progress(
        *columns, console=output.console(stderr=True), redirect_stdout=sys.stdout.isatty()
    )
    with shown:
        task = shown.add_task("", total=total, text="")
        yield lambda done, text: shown.update(task, completed=done, text=text)
