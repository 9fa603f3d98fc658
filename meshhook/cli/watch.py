"""Noticing changed files by their times, which works on every file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

POLL_SECONDS = 0.5

# Large, and never the user's own code.
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "site-packages"})


class Watch:
    """Notices changed files in folders.

    Args:
        folders: The folders, with all that are in them.
        suffix: How the names of the files end.
        poll_seconds: How often they are looked at, in seconds.
    """

    def __init__(
        self, folders: Sequence[Path], suffix: str, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._folders = tuple(folders)
        self._suffix = suffix
        self._poll_seconds = poll_seconds
        self._seen = self._look()

    def changed(self) -> list[Path]:
        """Return the files that are new, changed or gone since the last look."""
        seen = self._look()
        before, self._seen = self._seen, seen
        return sorted(
            path for path in seen.keys() | before.keys() if seen.get(path) != before.get(path)
        )

    async def changes(self) -> AsyncIterator[Path]:
        """Wait for changes, without end.

        Yields:
            A file of each change.
        """
        while True:
            await anyio.sleep(self._poll_seconds)
            changed = await anyio.to_thread.run_sync(self.changed)
            if changed:
                yield changed[0]

    def _look(self) -> dict[Path, tuple[int, int]]:
        return dict(self._files())

    def _files(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for top in self._folders:
            for folder, folders, names in os.walk(top):
                folders[:] = [name for name in folders if _is_own(name)]
                for name in names:
                    if name.endswith(self._suffix):
                        yield from _stamp(Path(folder, name))


def _is_own(folder: str) -> bool:
    return folder not in _LEFT_OUT and not folder.startswith(".")


def _stamp(path: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return  # gone since its folder was read
    yield path, (status.st_mtime_ns, status.st_size)
