"""The data of ephemeral stacks: made once, then copied.

Making the data (initdb, Supabase's roles, PGMQ, the migrations) is most of the work of a start, and
every stack of one version makes the same data. So the first of them keeps a copy
in the folder for temporary files, under a name that depends on all that goes into it.

A template only saves time. If it is missing, damaged or not ours, the data is made from nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sysconfig
import time
from typing import TYPE_CHECKING

import attrs

from meshhook_local.folders import short_parent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from meshhook_local.process import Account

_PREFIX = "meshhook-data-"
_UNUSED_SECONDS = 7 * 86_400


@attrs.frozen
class Template:
    """A data folder to copy, which may not be there yet.

    The data is inside a folder that only we can enter. So it stays ours even if Postgres runs as
    an account that other programs use too, and so may own the data itself.

    Attributes:
        path: The closed folder.
        program: The program `cp`.
    """

    path: Path
    program: str

    def is_wanted(self) -> bool:
        """Return whether nothing has the name of the template yet."""
        return not os.path.lexists(self.path)

    def exists(self) -> bool:
        """Return whether the template is there and made by us.

        Every user may make a folder of that name in the folder for temporary files.
        """
        try:
            return _is_ours(self.path.lstat())
        except OSError:
            return False

    def copy_to(self, folder: Path) -> bool:
        """Copy the data to a folder that does not exist yet.

        Returns:
            Whether the copy is complete; if not, the folder does not exist afterwards.
        """
        if not self.exists():
            return False
        # It fails if the disk is full, or another process has just removed the template.
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            os.utime(self.path)
            self._copy(self.path / "data", folder)
            if self._is_size_of(folder):
                return True
        shutil.rmtree(folder, ignore_errors=True)
        # A cleaner of temporary files goes by the age of each file, so it may have taken some.
        if not self._is_size_of(self.path / "data"):
            self.discard(folder.parent)
        return False

    def save(self, data: Path, scratch: Path) -> None:
        """Copy the data of a stopped server to where the next stacks look for it.

        Args:
            data: The data folder.
            scratch: A folder to make the copy in, which is removed if this process dies.
        """
        # If this fails, the next start is slower, and that is all. Of two stacks that race, the
        # first one wins: a folder cannot be renamed to one that holds something.
        copy = scratch / "template"
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            self._discard_unused(scratch)
            copy.mkdir(mode=0o700)
            self._copy(data, copy / "data")
            (copy / "size").write_text(_size_of(copy / "data"))
            copy.rename(self.path)
        shutil.rmtree(copy, ignore_errors=True)

    def discard(self, scratch: Path) -> None:
        """Remove the template if it is ours.

        Args:
            scratch: A folder on the same disk.
        """
        with contextlib.suppress(OSError):  # Another stack may be faster.
            if self.exists():
                _remove_at_once(self.path, scratch)

    def _is_size_of(self, data: Path) -> bool:
        try:
            return _size_of(data) == (self.path / "size").read_text()
        except OSError:
            return False

    def _discard_unused(self, scratch: Path) -> None:
        """Remove our templates that no stack has copied for a week, mostly of other versions."""
        long_ago = time.time() - _UNUSED_SECONDS
        for path in self.path.parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # Another stack may be faster.
                state = path.lstat()
                if _is_ours(state) and state.st_mtime < long_ago:
                    _remove_at_once(path, scratch)

    def _copy(self, source: Path, target: Path) -> None:
        # With its owners; and for a thousand files Python would need twice the time.
        subprocess.run(  # noqa: S603 - a found program and our own folders
            [self.program, "-Rp", source, target], check=True, capture_output=True
        )


def find_template(contents: Iterable[str], account: Account | None) -> Template | None:
    """Return the template with some contents, or None on a system without `cp`.

    Args:
        contents: All that the data depends on, apart from the system and the account.
        account: The account that Postgres runs as; None for our own.
    """
    program = shutil.which("cp")
    if program is None:
        return None
    digest = hashlib.sha256()
    # A folder for temporary files may be shared with a container of another architecture.
    for part in (sysconfig.get_platform(), str(account), *contents):
        digest.update(hashlib.sha256(part.encode()).digest())
    name = f"{_PREFIX}{os.geteuid()}-{digest.hexdigest()[:16]}"
    return Template(short_parent() / name, program)


def _is_ours(state: os.stat_result) -> bool:
    is_closed = stat.S_ISDIR(state.st_mode) and not state.st_mode & 0o077
    return is_closed and state.st_uid == os.geteuid()


def _size_of(folder: Path) -> str:
    """Return how many files there are and how many bytes, to see that none is missing or cut."""
    sizes = [path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()]
    return f"{len(sizes)} files, {sum(sizes)} bytes"


def _remove_at_once(path: Path, scratch: Path) -> None:
    """Rename, then remove: a stack that copies it at the same time fails, and misses no half."""
    aside = scratch / path.name
    path.rename(aside)
    shutil.rmtree(aside)
