"""The command line in this process, with streams of its own; and as a process where it must be."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import attrs
import pytest

from meshhook import SyncDLQService, SyncQueueService, connect_sync
from meshhook.cli import main
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from meshhook.local import LocalStack

COMMAND = (sys.executable, "-m", "meshhook.cli")


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote on standard output, which must be one line of JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)


class _Stream(io.TextIOWrapper):
    def __init__(self, content: bytes = b"", *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


class Shell:
    """Runs commands: in this process, or as a process of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> None:
        self._monkeypatch = monkeypatch
        self.env = dict(env)

    def run(
        self,
        *argv: str,
        stdin: str | bytes = b"",
        keyboard: str | None = None,
        is_terminal: bool = False,
    ) -> Ended:
        """Run a command in this process.

        Args:
            argv: The arguments.
            stdin: What a pipe brings.
            keyboard: What a user types instead, on a terminal.
            is_terminal: Whether the output goes to a terminal.
        """
        given = keyboard if keyboard is not None else stdin
        content = given.encode() if isinstance(given, str) else given
        streams = (
            _Stream(content, is_terminal=keyboard is not None),
            _Stream(is_terminal=is_terminal),
            _Stream(is_terminal=is_terminal),
        )
        with self._monkeypatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            code = main(argv)
        _, out, err = streams
        return Ended(int(code), out.text(), err.text())

    @contextmanager
    def start(self, *argv: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Start a command as a separate process, which does not survive the block."""
        with subprocess.Popen(
            [*COMMAND, *argv],
            env={**os.environ, **self.env},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run_process(self, *argv: str, stdin: str = "", **options: Any) -> Ended:
        """Run a command as a separate process, to its end."""
        done = subprocess.run(
            [*COMMAND, *argv],
            env={**os.environ, **self.env},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A command whose output goes to a terminal; it does not survive the block."""

    def __init__(self, shell: Shell, *argv: str, **env: str) -> None:
        self._end, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [*COMMAND, *argv],
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **shell.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until a text has come so often; the test's own time limit bounds the waiting."""
        while self.seen.count(text) < times:
            assert self._read(), f"{text!r} never came; there was {self.seen!r}"

    def finish(self) -> int:
        """Read what is left, and return the exit code."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        try:
            piece = os.read(self._end, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            return False
        self.seen += piece
        return bool(piece)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but the test's own: neither of the environment nor of a `.env`."""
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "MESHHOOK_")) or name in {"NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def ctrl_c_works() -> None:
    """Let processes react to SIGINT: a shell that starts pytest in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put back what a command that ran in this process has set up, for the tests of other files."""
    loggers = [logging.getLogger(name) for name in (None, "meshhook", "httpx", "httpcore", "hpack")]
    root = loggers[0]
    levels = [logger.level for logger in loggers]
    handlers = root.handlers[:]
    filters = [handler.filters[:] for handler in handlers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    root.handlers[:] = handlers
    for handler, kept in zip(handlers, filters, strict=True):
        handler.filters[:] = kept


@pytest.fixture
def bare_shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell without any settings."""
    return Shell(monkeypatch, {})


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, stack: LocalStack, queue_name: str) -> Shell:
    """A shell whose environment names the stack and the test's queue."""
    settings = {
        "SUPABASE_URL": stack.url,
        "SUPABASE_KEY": stack.secret_key,
        "MESHHOOK_QUEUE": queue_name,
    }
    return Shell(monkeypatch, settings)


@pytest.fixture
def service(stack: LocalStack, queue_name: str) -> Iterator[SyncQueueService]:
    """The test's queue, to claim and settle by hand."""
    with connect_sync(stack.url, stack.secret_key) as client:
        yield SyncQueueService(client, queue_name)


@pytest.fixture
def dead_letters(stack: LocalStack, queue_name: str) -> Iterator[SyncDLQService]:
    """The test's dead letter queue."""
    with connect_sync(stack.url, stack.secret_key) as client:
        yield SyncDLQService(client, f"{queue_name}_dlq")


@pytest.fixture
def app_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder with a module of handlers, `tasks`, which the next test does not find imported."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS)
    yield folder
    sys.path[:] = [path for path in sys.path if path != str(folder)]
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


# A line is one write, so that those of several processes do not mix.
TASKS = """
import os
import anyio

class Refused(Exception):
    pass

def line(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def handle(message):
    line("handled", message.run_id, message.metadata.get("word", ""))

def plain(message):
    line("handled", message.run_id)

async def fail(message):
    raise ValueError("no such customer")

async def refuse(message):
    raise Refused("for good")

async def show_pid(message):
    line("pid", os.getpid())

async def hang(message):
    line("hanging", os.getpid())
    await anyio.sleep_forever()

def tell_setting(message):
    line("setting", os.environ.get("GREETING"), os.environ.get("SUPABASE_URL"))

async def log_event(event):
    line("event", event.kind)

def tell_error(error, job):
    line("error", type(error).__name__, job.attempt)

not_a_handler = 7

def takes_nothing():
    pass

def yields(message):
    yield message

class Mailer:
    def send(self, message):
        pass
"""


def job_text(**more: Any) -> str:
    """Return a job as JSON."""
    return json.dumps(job_data(**more))


def job_lines(count: int) -> str:
    """Return so many jobs as JSON Lines."""
    return "".join(f"{job_text(metadata={'number': number})}\n" for number in range(count))
