"""Every page's code runs: Python and SQL against the real stack, commands against their parser.

The blocks of one page run in order and share their variables, as a reader types them. Before each
of them, `client`, `queue_service` and `dlq_service` are open, the guide's queue holds jobs, and its
dead letter queue dead letters. A block that cannot run says so: ```` ```{.python .not-run} ````.
"""

from __future__ import annotations

import logging
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import typer
from psycopg.types.json import Jsonb

import meshhook
from meshhook.cli.app import app
from meshhook.local import LocalStack
from meshhook.worker import drain
from tests.docs import sentry
from tests.docs.programs import run
from tests.docs.snippets import DOCS, ROOT, Snippet, all_snippets, pages, snippets
from tests.jobs import job_data

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

OUTSIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = pages()
LANGUAGES = {
    "python", "sql", "sh", "text", "ini", "yaml", "toml", "json", "dockerfile",
}  # fmt: skip
MAX_NOT_RUN = 20


def with_code(language: str) -> list[Path]:
    """Return the pages that have code of a language that runs."""
    return [path for path in PAGES if any(s.is_run for s in snippets(path, language))]


def in_sequence(path: Path) -> list[Snippet]:
    """Return the Python blocks of a page that are no programs of their own."""
    return [s for s in snippets(path) if s.is_run and not s.is_script]


def cases() -> list[Any]:
    """Return each page with each event loop that its code is for."""
    return [
        pytest.param(path, loop, id=f"{page_ids(path)}-{loop}")
        for path in with_code("python")
        if in_sequence(path)
        for loop in ("asyncio", "trio")
        if loop == "asyncio" or not any("asyncio" in s.code for s in snippets(path))
    ]


def scripts() -> list[Any]:
    """Return each program."""
    found = [s for path in PAGES for s in snippets(path) if s.is_run and s.is_script]
    return [pytest.param(snippet, id=str(snippet)) for snippet in found]


def page_ids(path: Path) -> str:
    """Return what a page is called in the name of a test."""
    return str(path.relative_to(ROOT))


async def execute_workflow(message: meshhook.JobMessage) -> None:
    """Stand for the reader's own code."""
    assert message.run_id


@pytest.fixture
def environment(
    stack: LocalStack, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[LocalStack]:
    """What the pages say to set, in an empty folder."""
    monkeypatch.setenv("SUPABASE_URL", stack.url)
    monkeypatch.setenv("SUPABASE_KEY", stack.secret_key)
    monkeypatch.setenv("MESHHOOK_DRAIN_SECRET", "a secret of the tests alone")
    monkeypatch.chdir(tmp_path)
    for name, module in sentry.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    httpx_level = logging.getLogger("httpx").level
    before = queues(admin)
    yield stack
    logging.getLogger("httpx").setLevel(httpx_level)
    # Whatever a page has created or changed must not meet the tests behind this one.
    for name in {"workflow_jobs", *(queues(admin) - before)}:
        admin.execute("select public.meshhook_drop_queue(%s, drop_dlq => true)", [name])
    admin.execute("select public.meshhook_create_queue('workflow_jobs')")


@pytest.fixture
async def names(environment: LocalStack) -> AsyncIterator[dict[str, Any]]:
    """What every block may use."""
    async with meshhook.connect(environment.url, environment.secret_key) as client:
        yield {
            "client": client,
            "queue_service": meshhook.QueueService(client),
            "dlq_service": meshhook.DLQService(client),
            "meshhook": meshhook,
            "execute_workflow": execute_workflow,
        }


def queues(admin: psycopg.Connection) -> set[str]:
    """Return the names of all queues."""
    return {name for (name,) in admin.execute("select queue_name from pgmq.meta").fetchall()}


def parse(words: list[str]) -> None:
    """Parse a command of ours without running it; what it does not know is an error."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", ()):
        command, words = command.commands[words[0]], words[1:]
    assert words[:1] == [] or not hasattr(command, "commands") or words[0].startswith("-"), words
    command.make_context(command.name, list(words))


def stock(admin: psycopg.Connection) -> None:
    """Put jobs into the guide's queue and dead letters into its dead letter queue."""
    for queue in ("workflow_jobs", "orders", "reports"):
        admin.execute("select public.meshhook_create_queue(%s)", [queue])
    for queue in ("workflow_jobs", "workflow_jobs_dlq"):
        admin.execute("select public.meshhook_purge(%s)", [queue])
    jobs = Jsonb([job_data() for _ in range(6)])
    admin.execute("select public.meshhook_enqueue('workflow_jobs', %s)", [jobs])
    admin.execute(
        "select public.meshhook_dead_letter('workflow_jobs',"
        " (select array_agg(msg_id) from (select msg_id from pgmq.q_workflow_jobs limit 3) m),"
        " error_message => 'TimeoutError: the mail server did not answer')"
    )


@pytest.mark.parametrize(("path", "anyio_backend"), cases(), indirect=["anyio_backend"])
async def test_the_python_of_a_page_runs(
    path: Path, admin: psycopg.Connection, names: dict[str, Any]
) -> None:
    namespace = dict(names)
    for snippet in in_sequence(path):
        stock(admin)
        namespace.update(names)  # a block before may have left others, which are closed
        await snippet.run(namespace)


def block(path: Path, text: str) -> Snippet:
    """Return the block of Python on a page that has a text in it."""
    (found,) = [snippet for snippet in snippets(path) if text in snippet.code]
    return found


async def test_the_recipe_for_sentry_sends_each_failure_once(
    admin: psycopg.Connection, names: dict[str, Any]
) -> None:
    stock(admin)

    await block(DOCS / "how-to" / "monitoring.md", "import sentry_sdk").run(names)

    assert [str(error) for error in sentry.captured] == ["the mail server is down"] * 3
    assert sentry.ignored == ["meshhook.worker"]


async def test_the_advice_quietens_httpx(
    names: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def polls_logged() -> int:
        caplog.clear()
        caplog.set_level(logging.INFO)
        await drain(names["client"], execute_workflow, max_jobs=1)
        return len([record for record in caplog.records if record.name == "httpx"])

    assert await polls_logged() > 0
    await block(DOCS / "how-to" / "monitoring.md", "basicConfig").run(names)
    assert await polls_logged() == 0


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("snippet", scripts())
def test_a_program_runs_and_ends_well(
    snippet: Snippet, admin: psycopg.Connection, tmp_path: Path
) -> None:
    stock(admin)
    ended = run(snippet, tmp_path)

    assert ended.output, "it printed nothing"
    assert ended.code == 0


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("path", with_code("sql"), ids=page_ids)
def test_the_sql_of_a_page_runs(path: Path, stack: LocalStack, admin: psycopg.Connection) -> None:
    stock(admin)
    with psycopg.connect(stack.database_url) as connection:
        for snippet in snippets(path, "sql"):
            if snippet.is_run:
                connection.execute(snippet.code.encode())
        connection.rollback()


@pytest.mark.parametrize("path", [*OUTSIDE, *with_code("sh")], ids=page_ids)
def test_the_commands_of_a_page_are_there(path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for snippet in snippets(path, "sh"):
        for command in snippet.commands() if snippet.is_run else ():
            match command:
                case ["meshhook", *words]:
                    parse(words)
                case ["make", *wanted]:
                    named = {word for word in wanted if "=" not in word}
                    assert named <= set(targets), f"{snippet}: {command}"
                case ["pip", "install", *packages]:
                    for name in re.findall(r"meshhook\[([\w,]+)\]", " ".join(packages)):
                        assert set(name.split(",")) <= set(extras), f"{snippet}: {command}"


def test_every_block_names_a_language_and_few_do_not_run() -> None:
    blocks = [snippet for path in PAGES for snippet in all_snippets(path)]

    assert {str(s): s.language for s in blocks if s.language not in LANGUAGES} == {}
    not_run = [str(s) for s in blocks if not s.is_run]
    assert len(not_run) <= MAX_NOT_RUN, not_run
