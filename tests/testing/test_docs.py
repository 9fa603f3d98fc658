"""The code of docs/testing.md, run by pytest as a reader would run it."""

from __future__ import annotations

import re
import sys

import pytest

import pytest_meshhook
from meshhook.local import LocalStack
from tests.docs.snippets import ROOT

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(
    re.findall(r'^```[^\n]*title="([^"\n]+)"[^\n]*\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
)


def write(pytester: pytest.Pytester, *names: str) -> None:
    for name in names:
        (pytester.path / name).write_text(FILES[name], encoding="utf-8")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-mpytest", "-Werror", *arguments, timeout=100)


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    write(pytester, "signup.py", "test_signup.py", "test_signup_sync.py", "test_fixed_name.py")

    # Five of the six are async: anyio runs each of them on asyncio and on trio.
    run(pytester, "-n2").assert_outcomes(passed=11)


def test_the_migrations_that_the_ini_file_names_are_applied(pytester: pytest.Pytester) -> None:
    write(pytester, "pytest.ini")
    write_migration(
        pytester,
        """
        create table public.orders (id bigint primary key);
        create function public.order_placed() returns trigger language plpgsql as $$
        begin
          perform public.meshhook_enqueue('workflow_jobs', jsonb_build_array(to_jsonb(new)));
          return new;
        end $$;
        create trigger order_placed after insert on public.orders
          for each row execute function public.order_placed();
        """,
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def meshhook_queue_name():
            return "workflow_jobs"

        def test_it(meshhook_admin, meshhook_queue):
            meshhook_admin.execute("insert into public.orders values (17)")
            meshhook_queue.assert_enqueued(id=17, count=1)
        """
    )

    run(pytester).assert_outcomes(passed=1)


def test_the_fixture_for_migrations_comes_before_the_ini_file(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmeshhook_migrations = nowhere")
    write(pytester, "conftest.py")
    write_migration(pytester, "create table public.mine ()")
    pytester.makepyfile(
        'def test_it(meshhook_admin): meshhook_admin.execute("select from public.mine")'
    )

    run(pytester).assert_outcomes(passed=1)


def write_migration(pytester: pytest.Pytester, text: str) -> None:
    folder = pytester.path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20990101000000_mine.sql").write_text(text, encoding="utf-8")


def test_the_running_stack_of_the_page_is_used(
    pytester: pytest.Pytester, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.env().items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(FILES["conftest_supabase.py"])
    pytester.makepyfile(
        f'def test_it(meshhook_stack, meshhook_queue): assert meshhook_stack.url == "{stack.url}"'
    )

    run(pytester).assert_outcomes(passed=1)


def test_the_unittest_of_the_page_passes(pytester: pytest.Pytester) -> None:
    write(pytester, "test_with_unittest.py")

    done = pytester.run(sys.executable, "-Werror", "-m", "unittest", "-v", timeout=100)

    assert done.ret == 0
    done.stderr.fnmatch_lines(["Ran 1 test*", "OK"])


def test_every_file_of_the_page_is_used() -> None:
    assert set(FILES) == {
        *("signup.py", "test_signup.py", "test_signup_sync.py", "test_fixed_name.py"),
        "test_with_unittest.py",
        *("pytest.ini", "conftest.py", "conftest_supabase.py"),
    }


def test_the_page_names_every_fixture() -> None:
    fixtures = {name for name in vars(pytest_meshhook) if name.startswith("meshhook_")}

    table = re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"`(meshhook_\w+)`", " ".join(table)))
    assert named == fixtures
