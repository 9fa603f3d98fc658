"""The data of ephemeral stacks: made once, then copied.

Making the data (initdb, Supabase's roles, PGMQ, the migrations) is most of the work of a start, and
every stack of one version makes the same. So the first of them keeps a copy
in the folder for temporary files, under a name that depends on all that goes into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
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

    Attributes:
        path: Where it is.
        uid: The user who runs Postgres, and so owns all of it.
    """

    path: Path
    uid: int

    def exists(self) -> bool:
        """Return whether it is there and was made by the user who runs Postgres.

        Anyone may make a folder of that name where all keep their temporary files.
        """
        try:
            state = self.path.lstat()
        except OSError:
            return False
        is_closed = stat.S_ISDIR(state.st_mode) and not state.st_mode & 0o077
        return is_closed and state.st_uid == self.uid

    def copy_to(self, folder: Path) -> bool:
        """Copy it to a folder that is not there yet.

        Returns:
            Whether the copy is whole; nothing is there otherwise.
        """
        if not self.exists():
            return False
        try:
            os.utime(self.path)
            _copy(self.path, folder)
        except (
            OSError,
            subprocess.CalledProcessError,
        ):  # Another process removes it just now, or the disk is full.
            shutil.rmtree(folder, ignore_errors=True)
            return False
        return True

    def save(self, data: Path, draft: Path) -> None:
        """Copy the data of a stopped server to where the next stacks look for it.

        Args:
            data: The data folder.
            draft: A folder in which to make the copy, which is removed if this process dies.
        """
        # Without it a start is slower, and that is all. Where two stacks race, the first one wins.
        copy = draft / "template"
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            self._remove_unused(draft)
            _copy(data, copy)
            copy.rename(self.path)
        shutil.rmtree(copy, ignore_errors=True)

    def _remove_unused(self, draft: Path) -> None:
        """Remove what other versions left here and nobody has copied for a week."""
        long_ago = time.time() - _UNUSED_SECONDS
        for path in self.path.parent.glob(f"{_PREFIX}*"):
            state = path.lstat()
            if state.st_uid == self.uid and state.st_mtime < long_ago:
                # All at once: who copies it meanwhile must notice, and not miss half of it.
                path.rename(draft / path.name)
                shutil.rmtree(draft / path.name)


def find_template(contents: Iterable[str], account: Account | None) -> Template:
    """Say where the template with some contents is.

    Args:
        contents: All that the data depends on.
        account: Whom Postgres runs as; None means as ourselves.
    """
    digest = hashlib.sha256()
    for part in contents:
        digest.update(hashlib.sha256(part.encode()).digest())
    uid = account.uid if account else os.geteuid()
    return Template(short_parent() / f"{_PREFIX}{uid}-{digest.hexdigest()[:16]}", uid)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with its owners; for its thousand files Python would need twice the time."""
    subprocess.run(["/bin/cp", "-Rp", source, target], check=True, capture_output=True)  # noqa: S603
