"""No key in a repr, a log, an error, a traceback with locals, a pickle, a file or a process list.

The keys that must not show are the project's real ones where a call succeeds, and canaries where it
must fail.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import psycopg
import pytest
from rich.pretty import pretty_repr
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

import meshhook
from meshhook import (
    ConfigurationError,
    DLQService,
    MeshHookError,
    QueueService,
    RepeatPolicy,
    SyncDLQService,
    SyncQueueService,
    Worker,
)
from meshhook.local import LocalStack
from meshhook.user_queue import SyncUserQueue, UserQueue
from meshhook.worker import drain
from tests.security.leaks import leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supabase import AsyncClient

    from meshhook import JobMessage
    from tests.security.http import Http

ROOT = Path(__file__).parents[2]
CANARY = "sb_secret_canaryCANARYcanaryCANARY"
# Three parts, and a payload that says "service_role": as the legacy keys are made.
CANARY_TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0"
    ".canaryCANARYcanaryCANARYcanaryCANARYcanary"
)
SIGNATURE = CANARY_TOKEN.rpartition(".")[2]
ONCE = RepeatPolicy(tries=1)


def job() -> dict[str, str]:
    return {name: str(uuid.uuid4()) for name in ("run_id", "workflow_id", "project_id")}


@pytest.fixture
def queue_name(http: Http) -> Iterator[str]:
    """A queue of the test's own."""
    name = f"s_{uuid.uuid4().hex[:10]}"
    http.serve("meshhook_create_queue", queue_name=name)
    yield name
    http.serve("meshhook_drop_queue", queue_name=name, drop_dlq=True)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(params=["opaque", "token"])
def canary(request: pytest.FixtureRequest) -> str:
    """A key that no project has, of either kind."""
    return CANARY if request.param == "opaque" else CANARY_TOKEN


async def use(client: AsyncClient, queue_name: str) -> None:
    """Go along every kind of path that the SDK has."""
    queue = QueueService(client, queue_name, repeat_policy=ONCE)
    await queue.enqueue(job())
    claimed = await queue.dequeue()
    assert claimed is not None
    await queue.retry(claimed, 0, "boom")
    await queue.enqueue_many([job(), {**job(), "max_attempts": 1}])
    await queue.get_queue_metrics()
    await meshhook.list_queues(client)
    await DLQService(client, f"{queue_name}_dlq").list_dead_letter_jobs()

    async def fail(message: JobMessage) -> None:
        raise ValueError(message.run_id)

    await drain(client, fail, queue_name=queue_name, deadline_seconds=10)


TROUBLES: dict[str, Callable[[LocalStack, str, str], tuple[str, str]]] = {
    "wrong key": lambda stack, _, key: (stack.url, key),
    "nobody there": lambda *args: ("http://127.0.0.1:9", args[2]),
    "no answer": lambda *args: (args[1], args[2]),
    "no url": lambda *args: ("not a url", args[2]),
    "half a url": lambda *args: ("http://", args[2]),
    "the key as the url": lambda *args: (args[2], args[2]),
    "no ASCII": lambda stack, _, key: (stack.url, f"{key}ü"),
    "a line in it": lambda stack, _, key: (stack.url, f"{key[:12]}\n{key}"),
    "a NUL in it": lambda stack, _, key: (stack.url, f"{key}\0"),
}


@pytest.fixture(params=TROUBLES)
def trouble(
    request: pytest.FixtureRequest, hosted: LocalStack, silent: str, canary: str
) -> tuple[str, str]:
    """A URL and a key with which nothing works."""
    return TROUBLES[request.param](hosted, silent, canary)


async def test_no_error_of_a_connection_shows_the_key(
    trouble: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook._http.clients.TIMEOUT", httpx.Timeout(0.5))

    with pytest.raises(MeshHookError) as caught:
        async with meshhook.connect(*trouble) as client:
            await QueueService(client, "q", repeat_policy=ONCE).get_job(1)

    assert leaks(caught.value, CANARY, SIGNATURE) == []


def test_no_error_of_a_sync_connection_shows_the_key(
    trouble: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook._http.clients.TIMEOUT", httpx.Timeout(0.5))

    with pytest.raises(MeshHookError) as caught, meshhook.connect_sync(*trouble) as client:
        SyncQueueService(client, "q", repeat_policy=ONCE).get_job(1)

    assert leaks(caught.value, CANARY, SIGNATURE) == []


async def test_no_error_of_a_clients_own_shows_the_key(trouble: tuple[str, str]) -> None:
    """With a client that somebody else made, whose key nobody has looked at."""
    url, key = trouble
    if not url.startswith("http://") or url == "http://":
        return  # supabase itself refuses to make such a client
    async with httpx.AsyncClient(timeout=0.5) as client_http:
        client = await acreate_client(url, key, AsyncClientOptions(httpx_client=client_http))

        with pytest.raises(MeshHookError) as caught:
            await QueueService(client, "q", repeat_policy=ONCE).get_job(1)

    assert leaks(caught.value, CANARY, SIGNATURE) == []


@pytest.mark.parametrize("variable", ["SUPABASE_KEY", "SUPABASE_SERVICE_ROLE_KEY"])
async def test_no_error_of_the_environments_key_shows_it(
    monkeypatch: pytest.MonkeyPatch, canary: str, variable: str
) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, canary)

    with pytest.raises(ConfigurationError) as caught:
        async with meshhook.connect():
            pass

    assert leaks(caught.value, CANARY, SIGNATURE) == []


def secrets_of(stack: LocalStack) -> list[str]:
    """Return what must not be seen of a project: the signature alone for a token."""
    return [
        stack.secret_key,
        stack.service_role_key.rpartition(".")[2],
        stack.anon_key.rpartition(".")[2],
        stack.jwt_secret,
    ]


@pytest.mark.parametrize("kind", ["secret_key", "service_role_key"])
async def test_no_log_shows_the_key_at_any_level(
    hosted: LocalStack, queue_name: str, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.NOTSET)
    for name in ("httpx", "httpcore", "hpack", "h2", "meshhook", "supabase", "postgrest"):
        caplog.set_level(1, logger=name)

    async with meshhook.connect(hosted.url, getattr(hosted, kind)) as client:
        await use(client, queue_name)

    loggers = {record.name.partition(".")[0] for record in caplog.records}
    assert {"httpx", "httpcore", "meshhook"} <= loggers
    assert "hpack" not in loggers  # its log at DEBUG has every header, so HTTP/2 is not spoken
    told = caplog.text + "".join(pretty_repr(vars(record)) for record in caplog.records)
    assert [secret for secret in secrets_of(hosted) if secret in told] == []


async def test_no_log_of_a_failure_shows_the_key(
    trouble: tuple[str, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshhook._http.clients.TIMEOUT", httpx.Timeout(0.5))
    caplog.set_level(logging.NOTSET)

    try:
        async with meshhook.connect(*trouble) as client:
            worker = Worker(client, print, "q", poll_interval_ms=20)
            with anyio.move_on_after(1):
                await worker.run()
    except MeshHookError:
        logging.getLogger("tests").exception("as an application logs it")

    assert "as an application logs it" in caplog.text or "meshhook" in caplog.text
    assert CANARY not in caplog.text
    assert SIGNATURE not in caplog.text


@pytest.mark.parametrize("kind", ["secret_key", "service_role_key"])
async def test_no_object_shows_the_key(hosted: LocalStack, queue_name: str, kind: str) -> None:
    key = getattr(hosted, kind)
    events: list[Any] = []
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(meshhook.connect(hosted.url, key))
        sync = stack.enter_context(meshhook.connect_sync(hosted.url, key))
        await use(client, queue_name)
        worker = Worker(client, print, queue_name, poll_interval_ms=20, on_event=events.append)
        async with worker:
            stats = worker.get_stats()
        objects = [
            QueueService(client, queue_name),
            SyncQueueService(sync, queue_name),
            DLQService(client, f"{queue_name}_dlq"),
            SyncDLQService(sync, f"{queue_name}_dlq"),
            UserQueue(client, queue_name),
            SyncUserQueue(sync, queue_name),
            worker,
            stats,
            events,
        ]

        told = [f"{one!r} {one} {pretty_repr(one)}" for one in objects]
        # What a debugger shows of the objects inside.
        told += [repr(vars(one)) for one in objects if hasattr(one, "__dict__")]

    assert events
    assert [text for text in told if any(secret in text for secret in secrets_of(hosted))] == []


def test_no_error_of_ours_takes_the_key_along_when_it_is_pickled(hosted: LocalStack) -> None:
    """A process pool or a task queue sends errors so."""
    with httpx.Client() as client_http:
        client = create_client(hosted.url, CANARY, ClientOptions(httpx_client=client_http))
        with pytest.raises(MeshHookError) as caught:
            SyncQueueService(client, "q").get_job(1)

    pickled = pickle.dumps(caught.value)

    assert CANARY.encode() not in pickled
    assert str(pickle.loads(pickled)) == str(caught.value)


async def test_the_database_learns_no_key(
    hosted: LocalStack, queue_name: str, admin: psycopg.Connection
) -> None:
    async with meshhook.connect(hosted.url, hosted.secret_key) as client:
        await use(client, queue_name)

    tables = admin.execute(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname !~ '^(pg_|information_schema)'"
    ).fetchall()
    rows = [
        row
        for (table,) in tables
        for (row,) in admin.execute(f"select t::text from {table} t".encode()).fetchall()
    ]

    assert any(queue_name in row for row in rows)
    told = "\n".join(rows)
    assert [secret for secret in secrets_of(hosted) if secret in told] == []


def command_lines() -> list[bytes]:
    """Return the command lines of all processes."""
    return [
        (process / "cmdline").read_bytes()
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and (process / "cmdline").exists()
    ]


def files_of(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            yield file


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the database may pass through."""
    path = Path(tempfile.mkdtemp(prefix="secrets-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def test_the_embedded_stack_writes_its_keys_into_no_file_and_no_command_line(
    folder: Path,
) -> None:
    data = folder / "data"
    with LocalStack(data_dir=data) as stack:
        async with meshhook.connect(stack.url, stack.service_role_key) as client:
            await QueueService(client).enqueue(job())
            with pytest.raises(MeshHookError):
                await QueueService(client, "absent").enqueue(job())
        secrets = [secret.encode() for secret in secrets_of(stack)]
        assert not any(secret in repr(stack).encode() for secret in secrets)
        assert not any(secret in str(vars(stack)).encode() for secret in secrets)
        folders = {data, stack._postgres.run_folder}
        holding = {
            file.name
            for folder in folders
            for file in files_of(folder)
            if any(secret in file.read_bytes() for secret in secrets)
        }
        logs = [file for folder in folders for file in files_of(folder) if "log" in file.name]
        commands = command_lines()
        mode = (data / "keys.json").stat().st_mode & 0o777

    assert holding == {"keys.json"}  # which makes them last, and is its owner's alone
    assert mode == 0o600
    assert logs
    assert any(b"meshhook_local.gateway" in command for command in commands)
    assert not any(secret in command for command in commands for secret in secrets)


def command(*arguments: str, url: str, key: str, by_flag: bool = False) -> str:
    """Run the command line and return all that it printed."""
    clean = {name: value for name, value in os.environ.items() if "SUPABASE" not in name}
    given = {} if by_flag else {"SUPABASE_URL": url, "SUPABASE_KEY": key}
    flags = ["--url", url, "--key", key] if by_flag else []
    done = subprocess.run(
        [sys.executable, "-m", "meshhook.cli", *arguments, *flags],
        env={**clean, **given, "PYTHONFAULTHANDLER": "1", "COLUMNS": "300"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_doctor_tells_of_a_healthy_project_without_its_key(hosted: LocalStack) -> None:
    for key in (hosted.secret_key, hosted.service_role_key):
        printed = command("doctor", "--json", url=hosted.url, key=key)

        assert json.loads(printed)
        assert [secret for secret in secrets_of(hosted) if secret in printed] == []


COMMANDS = {
    "doctor --json": "wrong key",
    "doctor": "nobody there",
    "stats": "no url",
    "queues list": "wrong key",
    "dlq list workflow_jobs_dlq": "nobody there",
    "enqueue --queue workflow_jobs {}": "no ASCII",
}


@pytest.mark.parametrize("by_flag", [False, True], ids=["environment", "flags"])
@pytest.mark.parametrize("arguments", COMMANDS)
def test_no_command_that_fails_shows_the_key(
    hosted: LocalStack, arguments: str, *, by_flag: bool
) -> None:
    key = CANARY_TOKEN if by_flag else CANARY
    url, key = TROUBLES[COMMANDS[arguments]](hosted, "", key)

    printed = command(*arguments.split(" "), url=url, key=key, by_flag=by_flag)

    assert printed.strip()
    assert CANARY not in printed
    assert SIGNATURE not in printed


CRASHING_DEMO = """
import runpy, sys
import rich.traceback
import meshhook_local.keys as keys

rich.traceback.install(show_locals=True, locals_max_length=None, locals_max_string=None)
made = keys.make_keys()
print("KEYS", made.secret_key, made.service_role_key, made.jwt_secret, sep="\\n", file=sys.stderr)
import meshhook_local.stack as stack
stack.make_keys = lambda: made
import meshhook
async def crash(*args, **more):
    raise RuntimeError("the demo crashes here")
meshhook.QueueService.get_queue_metrics = crash
sys.path.insert(0, {examples!r})
runpy.run_path({demo!r}, run_name="__main__")
"""


def test_a_crash_of_the_demo_shows_no_key() -> None:
    """With the locals of every frame, as Rich prints them."""
    examples = ROOT / "examples"
    code = CRASHING_DEMO.format(examples=str(examples), demo=str(examples / "webhook_delivery.py"))

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "2000"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    marker, *keys = done.stderr.splitlines()[:4]
    shown = done.stdout + "\n".join(done.stderr.splitlines()[4:])
    assert marker == "KEYS"
    assert len(keys) == 3
    assert "the demo crashes here" in shown
    assert "locals" in shown
    hidden = [key.rpartition(".")[2] for key in keys]
    assert [key for key in hidden if key in shown] == []
