"""The code of docs/how-to: that of the examples where it says so, and all of it works."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import time
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import httpx
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from fastapi import FastAPI

from meshhook import QueueService, SyncQueueService
from meshhook.local import LocalStack
from meshhook.serverless import kick_sql
from meshhook.testing import QueueClock, QueueUnderTest
from meshhook_local.waiting import wait_until
from tests.docs.snippets import ROOT, Snippet, all_snippets
from tests.jobs import job_data

HOW_TO = ROOT / "docs" / "how-to"
SECRET = "0123456789abcdef-drain"
TITLED = re.compile(
    r'^```(?P<info>[^\n]*title="(?P<title>[^"\n]+)"[^\n]*)\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


def titled(page: str) -> dict[str, str]:
    """Return the blocks of a page that are files, by the files' names."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return {match["title"]: match["code"] for match in TITLED.finditer(text)}


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    return [s.code for s in all_snippets(HOW_TO / page) if s.language == language]


def execute(code: str, **names: Any) -> dict[str, Any]:
    """Run the code of a block, and return its names."""
    namespace = {"__name__": "snippet", **names}
    exec(compile(code, "snippet", "exec"), namespace)
    return namespace


def copies() -> list[Any]:
    """Return the blocks that say that they are a file of the repository."""
    return [
        pytest.param(title, code, id=f"{path.name}-{title}")
        for path in sorted(HOW_TO.glob("*.md"))
        for title, code in titled(path.name).items()
        if title.startswith("examples/")
    ]


def python_blocks() -> list[Any]:
    found = [s for path in sorted(HOW_TO.glob("*.md")) for s in all_snippets(path)]
    return [pytest.param(s, id=str(s)) for s in found if s.language == "python"]


@pytest.mark.parametrize(("title", "code"), copies())
def test_a_page_shows_the_file_that_it_names(title: str, code: str) -> None:
    assert code == (ROOT / title).read_text(encoding="utf-8")


def test_every_example_is_shown() -> None:
    shown = {str(parameters.values[0]) for parameters in copies()}
    examples = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "examples").rglob("*")
        if path.is_file()
        and not path.name.startswith(("webhook_", "README"))
        and "__pycache__" not in path.parts
    }

    assert examples == shown


def test_the_readme_of_the_examples_names_each_file() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")

    named = set(re.findall(r"`([\w/]+[.-][\w.-]+|deploy/Dockerfile)`", text))
    there = {
        str(path.relative_to(ROOT / "examples"))
        for path in (ROOT / "examples").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there - named == {"README.md", "deploy/requirements.txt"}


@pytest.mark.parametrize("snippet", python_blocks())
def test_the_python_can_be_compiled(snippet: Snippet) -> None:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    compile(snippet.code, str(snippet), "exec", flags)


def test_settings_in_yaml_and_json_can_be_read() -> None:
    read = 0
    for path in HOW_TO.glob("*.md"):
        for code in blocks(path.name, "yaml"):
            assert yaml.safe_load(code)
            read += 1
        for code in blocks(path.name, "json"):
            assert json.loads(code)
            read += 1
    assert read >= 6


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\(([a-z-]+\.md)\)", (HOW_TO / "index.md").read_text("utf-8")))

    assert linked == {path.name for path in HOW_TO.glob("*.md")} - {"index.md"}


def test_every_metric_of_an_alert_is_served() -> None:
    served = (ROOT / "meshhook" / "monitoring.py").read_text(encoding="utf-8")
    named = set(re.findall(r"meshhook_\w+", "".join(blocks("monitoring.md", "yaml"))))
    named |= set(re.findall(r"meshhook_\w+", "".join(blocks("kubernetes.md", "yaml"))))

    assert len(named) >= 4
    for metric in named:
        name = metric.removeprefix("meshhook_").removesuffix("_total").removeprefix("jobs_")
        assert name in served, metric


def test_the_kick_is_what_the_function_returns() -> None:
    _, kick = blocks("cron-kick.md", "sql")

    assert kick == kick_sql("https://shop.example.com/api/drain", schedule="10 seconds")


def run_sql(stack: LocalStack, code: str) -> None:
    """Run SQL as the dashboard's SQL editor does."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(code.encode())


@pytest.fixture
def orders(stack: LocalStack, admin: psycopg.Connection) -> Iterator[LocalStack]:
    """Whatever the pages create is gone afterwards."""
    yield stack
    admin.execute("drop table if exists public.orders, public.receipts cascade")
    admin.execute(
        "drop function if exists public.enqueue_receipt, public.enqueue_receipts,"
        " public.record_receipt"
    )


def test_triggers_enqueue_in_the_transaction_of_the_insert(
    orders: LocalStack, meshhook_queue: QueueUnderTest
) -> None:
    by_row, by_statement, by_hand, at_nine, in_transaction = blocks("enqueue-from-sql.md", "sql")
    run_sql(orders, by_row)
    run_sql(orders, "grant insert, select on public.orders to authenticated")

    insert = "insert into public.orders (email) values ('ada@example.com')"
    run_sql(orders, f"set role authenticated; {insert}")
    job = meshhook_queue.assert_enqueued(
        metadata={"order": {"number": 1, "email": "ada@example.com"}}, count=1
    )
    assert job.message is not None
    run_sql(orders, f"begin; {insert}; rollback")
    meshhook_queue.assert_enqueued(count=1)

    run_sql(orders, by_statement)
    run_sql(orders, "insert into public.orders (email) select 'bob' from generate_series(1, 3)")
    meshhook_queue.assert_enqueued(metadata={"order": {"email": "bob"}}, count=3)
    run_sql(orders, "insert into public.orders (email) select 'bob' where false")

    run_sql(orders, by_hand)
    meshhook_queue.assert_enqueued(delay_seconds=3600, count=1)
    run_sql(orders, at_nine)
    meshhook_queue.assert_enqueued(count=6)
    run_id = "1c1f5f0e-3a0b-4a38-8b7d-0f6f0f2a7d10"
    (due,) = [job.vt for job in meshhook_queue.jobs() if job.run_id == run_id]
    assert due is not None
    assert due.astimezone(ZoneInfo("Europe/Berlin")).time() == time(9)
    run_sql(orders, in_transaction)
    meshhook_queue.assert_enqueued(count=8)
    assert len(meshhook_queue.drain_sync(lambda _: None).succeeded) == 6


def test_the_queue_of_the_local_stack_s_page_is_made(
    stack: LocalStack, admin: psycopg.Connection
) -> None:
    (create,) = blocks("supabase-start.md", "sql")

    run_sql(stack, create)

    row = admin.execute("select max_attempts from meshhook.queues where queue_name = 'reports'")
    assert row.fetchone() == (3,)
    admin.execute("select public.meshhook_drop_queue('reports', drop_dlq => true)")


def wait_for_function(stack: LocalStack, call: str) -> None:
    """Wait until the API knows a function; a GET of one that writes is refused, calling nothing."""
    headers = {"apikey": stack.secret_key}

    def is_known() -> bool:
        return httpx.get(f"{stack.rest_url}/rpc/{call}", headers=headers).status_code != 404

    assert wait_until(is_known, timeout_seconds=20)


async def test_a_handler_that_marks_its_work_does_it_once(
    orders: LocalStack,
    admin: psycopg.Connection,
    capsys: pytest.CaptureFixture[str],
    meshhook_client: Any,
    meshhook_queue: QueueUnderTest,
    meshhook_queue_service: QueueService,
    meshhook_clock: QueueClock,
) -> None:
    (create,) = blocks("idempotent-handlers.md", "sql")
    run_sql(orders, create)
    _, work, test = blocks("idempotent-handlers.md", "python")
    handle = execute(work, client=meshhook_client)["handle"]
    data = job_data(metadata={"order": {"number": 17}})

    run_twice = execute(test, handle=handle, job_data=data)["test_it_can_run_twice"]
    wait_for_function(orders, "record_receipt?run_id=&order_number=")
    await run_twice(meshhook_queue, meshhook_queue_service, meshhook_clock)

    rows = admin.execute("select run_id::text, order_number from public.receipts").fetchall()
    assert rows == [(data["run_id"], 17)]
    assert capsys.readouterr().out.count(data["run_id"]) == 1


@pytest.mark.usefixtures("environment")
async def test_the_test_of_the_fastapi_page_passes(
    load: Callable[[str], ModuleType],
    meshhook_queue: QueueUnderTest,
    meshhook_queue_service: QueueService,
) -> None:
    module = load("web_fastapi")
    test = blocks("fastapi.md", "python")[-1]

    names = execute(test, app=module.app, queue_service=module.queue_service)
    await names["test_an_order_is_enqueued"](meshhook_queue, meshhook_queue_service)


@pytest.mark.usefixtures("environment")
def test_the_test_of_the_flask_page_passes(
    load: Callable[[str], ModuleType],
    meshhook_queue: QueueUnderTest,
    meshhook_sync_queue_service: SyncQueueService,
) -> None:
    names = execute(blocks("flask.md", "python")[-1], create_app=load("web_flask").create_app)

    names["test_an_order_is_enqueued"](meshhook_queue, meshhook_sync_queue_service)


@pytest.mark.usefixtures("environment")
def test_the_test_of_the_lambda_page_passes(
    meshhook_queue: QueueUnderTest, meshhook_sync_queue_service: SyncQueueService
) -> None:
    names = execute(blocks("aws-lambda.md", "python")[-1], job_data=job_data())

    names["test_it_works_off_the_queue"](None, meshhook_queue, meshhook_sync_queue_service)


def test_what_the_lambda_page_says_is_returned_is() -> None:
    from meshhook.serverless import DrainReport  # noqa: PLC0415 - of this test alone

    (shown,) = blocks("aws-lambda.md", "json")
    fields = list(inspect.signature(DrainReport).parameters)

    assert list(json.loads(shown)) == fields


@pytest.mark.usefixtures("environment")
async def test_the_worker_within_the_web_server_works_while_it_runs(
    meshhook_queue: QueueUnderTest, meshhook_queue_service: QueueService
) -> None:
    names = execute(titled("fastapi.md")["lifespan.py"])
    handled = anyio.Event()

    async def handle(_: Any) -> None:
        handled.set()

    names["handle"] = handle
    await meshhook_queue_service.enqueue(job_data())
    app = FastAPI()
    with anyio.fail_after(50):
        async with names["lifespan"](app):
            await handled.wait()

    assert isinstance(app.state.queue_service, QueueService)
    meshhook_queue.refute_enqueued()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("page", "title", "path"),
    [
        ("vercel.md", "api/drain.py", "/api/drain"),
        ("cloud-run.md", "main.py", "/"),
        ("fastapi.md", "drain.py", "/drain"),
        ("flask.md", "wsgi.py", "/drain"),
    ],
)
def test_a_drain_endpoint_works_off_the_queue(
    page: str,
    title: str,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    meshhook_queue: QueueUnderTest,
    meshhook_sync_queue_service: SyncQueueService,
) -> None:
    monkeypatch.setenv("MESHHOOK_DRAIN_SECRET", SECRET)
    app = execute(titled(page)[title])["app"]
    meshhook_sync_queue_service.enqueue_many([job_data(), job_data()])

    refused = post(app, path, {})
    answer = post(app, path, {"Authorization": f"Bearer {SECRET}"})

    assert refused.status_code == 401
    assert (answer.status_code, answer.json()["succeeded"]) == (200, 2)
    meshhook_queue.refute_enqueued()


def post(app: Any, path: str, headers: dict[str, str]) -> httpx.Response:
    """Send a POST to an app, whichever kind it is."""
    if hasattr(app, "wsgi_app"):
        with httpx.Client(transport=httpx.WSGITransport(app)) as http:
            return http.post(f"http://shop{path}", headers=headers)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
            return await http.post(f"http://shop{path}", headers=headers, follow_redirects=True)

    return anyio.run(ask)


def test_the_options_in_a_vercel_file_name_the_file_of_the_page() -> None:
    files = titled("vercel.md")

    settings = json.loads(files["vercel.json"])["functions"]
    (name,) = settings
    assert name in files
    deadline = re.search(r"deadline_seconds=(\d+)", files[name])
    assert deadline is not None
    assert int(deadline[1]) < settings[name]["maxDuration"]


def test_the_app_in_the_docker_file_of_cloud_run_is_there() -> None:
    (dockerfile,) = blocks("cloud-run.md", "dockerfile")

    copied = re.findall(r"^COPY (\S+) ", dockerfile, re.MULTILINE)
    assert copied == ["main.py"]
    assert set(copied) <= set(titled("cloud-run.md"))
    assert "main:app" in dockerfile
    assert Path(copied[0]).stem == "main"
