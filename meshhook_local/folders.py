"""Folders of a stack, and the locks that say whose they are.

Every stack has a run folder with a short path, because the path of a Unix socket is limited to
about a hundred characters. It is marked with a file on which this process, its guard and Postgres
hold a lock: the kernel lets go of it when the last of them is dead, so a later start can tell a
folder that was left behind from one in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import attrs

from meshhook_local.errors import DataFolderInUseError

_PREFIX = "meshhook-"
_MARKER = "owner.pid"
_DATA_LOCK = "meshhook.lock"
_OWN_NAMES = frozenset({"data", "data.new", "keys.json", "postgres.log", _DATA_LOCK})
# Leaves room for `/meshhook-xxxxxxxx/.s.PGSQL.65535` within the 103 characters of macOS.
_LONGEST_PARENT = 60


@attrs.frozen
class LockedFolder:
    """A folder that is ours as long as its lock is held.

    Attributes:
        path: The folder.
        lock: The descriptor that holds the lock; a child that inherits it holds it too.
    """

    path: Path
    lock: int

    def release(self) -> None:
        """Let go of the lock; children that inherited it still hold it."""
        os.close(self.lock)

    def remove(self) -> None:
        """Remove the folder with all it holds, and let go of the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()


def make_run_folder() -> LockedFolder:
    """Make a marked folder below the folder for temporary files.

    Folders that dead stacks of this user left behind are removed first.
    """
    parent = short_parent()
    _sweep(parent)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    path.chmod(0o711)  # Postgres may run as another account and must pass through.
    draft = path / f"{_MARKER}.new"
    lock = _lock(draft)
    if lock is None:  # pragma: no cover - nobody else knows the folder yet
        raise DataFolderInUseError(path, "another process")
    draft.rename(path / _MARKER)  # Only now, locked, may a sweep see it.
    return LockedFolder(path, lock)


def lock_data_folder(path: Path) -> LockedFolder:
    """Make a lasting data folder if it is not there yet, and lock it.

    Args:
        path: The folder that the user named.

    Returns:
        The folder, locked.

    Raises:
        DataFolderInUseError: If another live stack holds it.
    """
    path = path.absolute()
    path.mkdir(parents=True, exist_ok=True)
    lock = _lock(path / _DATA_LOCK)
    if lock is None:
        pid = (path / _DATA_LOCK).read_text().strip()
        raise DataFolderInUseError(path, f"process {pid}" if pid else "another process")
    _keep_out_of_git(path)
    return LockedFolder(path, lock)


def _keep_out_of_git(path: Path) -> None:
    """Have git ignore data and keys; what else is in the folder is the user's."""
    file = path / ".gitignore"
    if file.exists():
        return
    has_others = any(entry.name not in _OWN_NAMES for entry in path.iterdir())
    ignored = [f"/{name}" for name in sorted(_OWN_NAMES)] if has_others else ["*"]
    file.write_text("".join(f"{pattern}\n" for pattern in ignored))


def _lock(file: Path) -> int | None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _sweep(parent: Path) -> None:
    for marker in parent.glob(f"{_PREFIX}*/{_MARKER}"):
        with contextlib.suppress(OSError):  # Another stack's sweep may be faster.
            if marker.lstat().st_uid == os.geteuid():
                _remove_if_abandoned(marker)


def _remove_if_abandoned(marker: Path) -> None:
    descriptor = os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(marker.parent, ignore_errors=True)
    finally:
        os.close(descriptor)


def short_parent() -> Path:
    """Return the folder for temporary files, or a shorter one if paths of sockets need it."""
    usual = Path(tempfile.gettempdir())
    short = Path("/tmp")  # noqa: S108 - mkdtemp makes a fresh name in it
    return usual if len(str(usual)) <= _LONGEST_PARENT or not short.is_dir() else short
