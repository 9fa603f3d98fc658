"""The gateway as its parent sees it: a child that gets its settings, serves, and is stopped."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import attrs

from meshhook_local.errors import StartError
from meshhook_local.process import tail_of
from meshhook_local.waiting import wait_until

if TYPE_CHECKING:
    from meshhook_local.gateway.settings import GatewaySettings

_MODULE = "meshhook_local.gateway"
_READY = b"ready\n"
_PACKAGE_PARENT = Path(__file__).resolve().parents[1]
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_REBIND_SECONDS = 5.0
_BACKLOG = 1024


class GatewayProcess:
    """A gateway in a process of its own.

    It is started in two steps, because its imports take longer than anything else and can go on
    while the database is made: `launch`, then `serve`.

    Args:
        log: The file that the process writes its complaints to.
        port: The port to listen on; 0 for a free one, kept over restarts.
    """

    def __init__(self, log: Path, port: int = 0) -> None:
        self._log = log
        self._log_start = 0
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._rebind_seconds = 0.0
        self.port = port

    def launch(self) -> None:
        """Bind the port and start the process, which then waits for its settings.

        Raises:
            StartError: If the port is taken.
        """
        self._socket = self._listen()
        self.port = int(self._socket.getsockname()[1])
        # After a restart, the socket of the gateway before may take a moment to go.
        self._rebind_seconds = _REBIND_SECONDS
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            # -P keeps the current folder off the import path: a file `jwt.py` there is not ours.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(self._socket.fileno(),),
                env=_environment(),
                start_new_session=True,
            )

    def serve(self, settings: GatewaySettings) -> None:
        """Tell the process its settings and wait until it answers requests.

        Args:
            settings: The settings; the descriptor of the listening socket is filled in here.

        Raises:
            StartError: If it does not come up; with the tail of its log.
        """
        if self._process is None or self._socket is None:
            raise StartError("the gateway was not launched")
        settings = attrs.evolve(settings, listen_fd=self._socket.fileno())
        ready = _tell(self._process, settings.to_json()) == _READY
        # The process has its own copy; without ours, a dead gateway refuses connections.
        self._socket.close()
        self._socket = None
        if not ready:
            self.stop()
            raise StartError("the gateway did not start", tail_of(self._log, self._log_start))

    def stop(self) -> None:
        """Stop the process: it finishes what it is answering, within a bounded time."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bind() -> bool:
            try:
                listener.bind(("127.0.0.1", self.port))
            except OSError:
                return False
            return True

        if not wait_until(bind, timeout_seconds=self._rebind_seconds):
            listener.close()
            raise StartError(f"port {self.port} of 127.0.0.1 is taken")
        listener.listen(_BACKLOG)
        return listener


def _tell(process: subprocess.Popen[bytes], settings: str) -> bytes:
    """Send the settings and read the process' first line; nothing if it says none in time."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    with contextlib.suppress(BrokenPipeError):  # Its log says more than the pipe.
        stdin.write(settings.encode() + b"\n")
        stdin.flush()
    readable, _, _ = select.select([stdout], [], [], _START_SECONDS)
    return stdout.readline() if readable else b""


def _environment() -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_PACKAGE_PARENT), *filter(None, [path])])
    }
