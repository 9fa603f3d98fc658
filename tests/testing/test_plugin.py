"""The plugin, loaded by pytest in a process of its own as a user's pytest loads it."""

from __future__ import annotations

import inspect
import os
import re
import sys

import pytest

import pytest_meshhook
from meshhook.local import LocalStack

pytest_plugins = ["pytester"]

ENQUEUE = """
import uuid
import pytest
from meshhook import QueueService, SyncQueueService

def job_data(**metadata):
    ids = {name: str(uuid.uuid4()) for name in ("run_id", "workflow_id", "project_id")}
    return {**ids, "metadata": metadata}
"""

STRICT = ("-Werror", "-p", "no:cacheprovider")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests of the folder, with every resource that is left open an error."""
    return pytester.run(sys.executable, "-Xdev", "-mpytest", *STRICT, *arguments, timeout=100)


def test_nothing_of_meshhook_is_imported_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def imported():
            return {name.partition(".")[0] for name in sys.modules}

        def test_before():
            assert not imported() & {"meshhook", "supabase", "postgrest", "psycopg", "pgmq"}

        def test_after(meshhook_queue):
            assert imported() >= {"meshhook", "supabase", "psycopg"}
        """
    )

    run(pytester).assert_outcomes(passed=2)


def test_no_test_reaches_the_project_of_a_file_of_settings(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("SUPABASE_", "MESHHOOK_"))]:
        monkeypatch.delenv(name)
    (pytester.path / ".env").write_text("SUPABASE_URL=http://127.0.0.1:9\nSUPABASE_KEY=sb_secret_x")
    pytester.makepyfile(
        """
        import pytest
        from meshhook import ConfigurationError, connect_sync

        def test_it():
            with pytest.raises(ConfigurationError), connect_sync():
                pass
        """
    )

    run(pytester).assert_outcomes(passed=1)
    monkeypatch.setenv("MESHHOOK_ENV_FILE", ".env")
    run(pytester).assert_outcomes(failed=1)


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(meshhook_queue): ...")

    result = run(pytester, "-p", "no:meshhook")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'meshhook_queue' not found*"])


def test_every_fixture_says_what_it_gives(pytester: pytest.Pytester) -> None:
    shown = run(pytester, "--fixtures", "-q").stdout.str()

    names = [name for name in vars(pytest_meshhook) if name.startswith("meshhook_")]
    assert len(names) >= 14
    for name in names:
        assert re.search(rf"^{name}\b.*\n    \S", shown, re.MULTILINE), f"{name} has no docstring"


ASYNC = """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_all_async_fixtures(
    meshhook_queue, meshhook_queue_service, meshhook_dlq_service, meshhook_client, meshhook_clock
):
    await meshhook_queue_service.enqueue(job_data(source="webhook"), 60)
    meshhook_queue.assert_enqueued(metadata={"source": "webhook"}, delay_seconds=60)
    meshhook_clock.advance(60)
    result = await meshhook_queue.drain(lambda message: 1 / 0, retry_config={"max_attempts": 1})
    assert [type(job.error) for job in result.dead_lettered] == [ZeroDivisionError]
    assert (await meshhook_dlq_service.get_dlq_metrics()).total_jobs == 1
    assert len(await QueueService.list_queues(meshhook_client)) >= 2
"""

PLAIN = """
import asyncio
import meshhook

def test_all_sync_fixtures(
    meshhook_queue, meshhook_sync_queue_service, meshhook_sync_dlq_service, meshhook_sync_client
):
    meshhook_sync_queue_service.enqueue(job_data())
    result = meshhook_queue.drain_sync(lambda message: 1 / 0, retry_config={"max_attempts": 1})
    assert len(result.dead_lettered) == 1
    assert meshhook_sync_dlq_service.get_dlq_metrics().total_jobs == 1
    assert len(SyncQueueService.list_queues(meshhook_sync_client)) >= 2

def test_one_client_serves_several_event_loops(meshhook_queue, meshhook_queue_service):
    for number in range(2):
        asyncio.run(meshhook_queue_service.enqueue(job_data(number=number)))
    meshhook_queue.assert_enqueued(count=2)

@pytest.mark.usefixtures("meshhook_environment")
def test_code_that_connects_by_itself_finds_the_stack(meshhook_queue):
    with meshhook.connect_sync() as client:
        SyncQueueService(client, meshhook_queue.name).enqueue(job_data())
    meshhook_queue.assert_enqueued(count=1)

seen = set()

@pytest.mark.parametrize("number", range(3))
def test_the_stack_is_shared_and_the_queue_is_not(
    number, meshhook_stack, meshhook_queue, meshhook_sync_queue_service
):
    meshhook_queue.refute_enqueued()
    meshhook_sync_queue_service.enqueue(job_data())
    seen.add((meshhook_stack.url, meshhook_queue.name))
    assert len({url for url, name in seen}) == 1
    assert len({name for url, name in seen}) == number + 1
"""


def test_async_and_plain_tests_have_everything_and_leave_nothing_open(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_async=ENQUEUE + ASYNC, test_plain=ENQUEUE + PLAIN)

    run(pytester).assert_outcomes(passed=8)


def test_each_process_of_xdist_has_a_stack_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ENQUEUE
        + """
from pathlib import Path

@pytest.fixture
def meshhook_queue_name():
    return "workflow_jobs"

@pytest.mark.parametrize("number", range(6))
def test_it(number, meshhook_stack, meshhook_queue, meshhook_sync_queue_service, worker_id):
    meshhook_queue.refute_enqueued()
    meshhook_sync_queue_service.enqueue(job_data())
    Path(f"{worker_id}.txt").write_text(meshhook_stack.url)
    meshhook_queue.assert_enqueued(count=1)
"""
    )

    run(pytester, "-n2", "--dist=each").assert_outcomes(passed=12)

    urls = {path.name: path.read_text() for path in pytester.path.glob("gw*.txt")}
    assert set(urls) == {"gw0.txt", "gw1.txt"}
    assert len(set(urls.values())) == 2


def test_a_folder_of_migrations_that_is_not_there_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmeshhook_migrations = nowhere")
    pytester.makepyfile("def test_it(meshhook_queue): ...")

    result = run(pytester)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*no folder of migrations at {pytester.path}/nowhere"])


def test_a_stack_that_runs_already_can_be_used(
    pytester: pytest.Pytester, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.env().items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(
        """
        import os
        import pytest
        from meshhook.testing import RunningStack

        @pytest.fixture(scope="session")
        def meshhook_stack():
            return RunningStack(
                url=os.environ["API_URL"],
                secret_key=os.environ["SECRET_KEY"],
                admin_database_url=os.environ["DB_URL"],
            )
        """
    )
    pytester.makepyfile(
        ENQUEUE
        + """
@pytest.fixture(params=[None, "test_a_fixed_name"])
def meshhook_queue_name(request):
    return request.param

def test_it(meshhook_stack, meshhook_queue, meshhook_sync_queue_service, meshhook_clock):
    meshhook_sync_queue_service.enqueue(job_data(), 60)
    meshhook_clock.advance(60)
    assert len(meshhook_queue.drain_sync(print)) == 1
    assert meshhook_stack.secret_key not in repr(meshhook_stack)
"""
    )

    run(pytester).assert_outcomes(passed=2)


def test_a_failed_check_shows_the_test_and_not_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(meshhook_queue): meshhook_queue.assert_enqueued(run_id='1')")

    result = run(pytester)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *should hold a job with run_id == '1'.", "E *It is empty."])
    result.stdout.no_fnmatch_line("*meshhook/testing/*")


def test_what_is_not_installed_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['pgmq'] = None")
    pytester.makepyfile("def test_it(meshhook_queue): ...")

    result = run(pytester)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs pgmq: pip install 'meshhook[[]local[]]'*"])


def test_the_plugin_imports_only_pytest_when_it_is_loaded() -> None:
    source = inspect.getsource(pytest_meshhook)

    eager = re.findall(r"^(?:from|import) (\S+)", source, re.MULTILINE)
    assert set(eager) == {"__future__", "os", "typing", "pytest"}
