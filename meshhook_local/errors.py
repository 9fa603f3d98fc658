"""Errors of the embedded stack.

LocalStackError
├── StartError            a process of the stack did not come up
├── DataFolderInUseError  another stack holds the data folder
└── MigrationFailedError  a migration file did not apply
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LocalStackError(RuntimeError):
    """The embedded stack cannot do what was asked."""


class StartError(LocalStackError):
    """A process of the stack did not come up.

    Attributes:
        what: What did not happen.
        log_tail: The last lines that the process wrote, empty if it wrote none.
    """

    def __init__(self, what: str, log_tail: str = "") -> None:
        self.what = what
        self.log_tail = log_tail
        super().__init__(f"{what}\n{log_tail}" if log_tail else what)


class DataFolderInUseError(LocalStackError):
    """Another live stack holds the data folder.

    Attributes:
        folder: The folder that was asked for.
    """

    def __init__(self, folder: Path, holder: str) -> None:
        self.folder = folder
        super().__init__(f"the data folder {folder} is in use by {holder}; stop that stack first")


class MigrationFailedError(LocalStackError):
    """A migration file did not apply; the database is as it was before that file.

    Attributes:
        path: The file.
        line: The line that Postgres points at, if it points at one.
        reason: What Postgres says.
    """

    def __init__(self, path: Path, reason: str, line: int | None = None) -> None:
        self.path = path
        self.line = line
        self.reason = reason
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {reason}")
