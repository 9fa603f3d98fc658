"""A worker process of `meshhook worker --processes N` or `--reload`, started by the supervisor.

Its standard input is its link to the supervisor. The first line holds the options with the key,
which must not appear in the list of processes. The end of input means that the supervisor is gone,
even if it was killed, and the worker stops cleanly.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from meshhook.cli.exits import PERMANENT, CommandError, ExitCode, exit_code
from meshhook.cli.output import flat, note
from meshhook.cli.redaction import hide
from meshhook.cli.worker.options import WorkerOptions
from meshhook.cli.worker.run import work
from meshhook.exceptions import MeshHookError

_STDIN = 0
_PIECE = 65_536


def main() -> int:
    """Run a worker, and return the exit code."""
    reports_folder = None
    try:
        options = WorkerOptions.from_json(_first_line())
        reports_folder = options.reports_folder
        hide(options.key)
        threading.Thread(target=_stop_with_the_supervisor, daemon=True).start()
        work(options, on_terminal=False)
    except (MeshHookError, CommandError) as error:
        code = exit_code(error)
        _report(error, reports_folder if code in PERMANENT else None)
        return code
    except Exception as error:  # noqa: BLE001 - reported, and turned into an exit code
        note("".join(traceback.format_exception(error)).rstrip())
        return ExitCode.INTERNAL
    return ExitCode.OK


def _report(error: Exception, folder: str | None) -> None:
    """Print an error, unless a file in the folder shows that another process printed it."""
    detail = error.detail if isinstance(error, CommandError) else None
    text = "\n".join(filter(None, (detail, f"meshhook worker: {flat(str(error))}")))
    if folder:
        name = hashlib.sha256(text.encode()).hexdigest()
        try:
            Path(folder, name).touch(exist_ok=False)
        except FileExistsError:
            return
        except OSError:
            pass  # better twice than never
    note(text)


def _first_line() -> bytes:
    # os.read: a thread that waits in sys.stdin would hold its lock when the process ends.
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(_STDIN, _PIECE)
        if not piece:
            raise SystemExit(ExitCode.OK)
        line += piece
    return line


def _stop_with_the_supervisor() -> None:
    while os.read(_STDIN, _PIECE):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
