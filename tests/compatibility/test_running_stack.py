"""The suite on a stack that is already running: here the one that this run has started."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from meshhook.local import LocalStack
from tests.docs.snippets import ROOT
from tests.running_stack import PREFIX, RunningStack, from_environment
from tests.running_stack_limits import LIMITS

COMPLETE = {
    f"{PREFIX}URL": "http://127.0.0.1:54321/",
    f"{PREFIX}KEY": "sb_secret_any",
    f"{PREFIX}DATABASE_URL": "postgresql://127.0.0.1:54322/postgres",
}


def run(*tests: str, **settings: str) -> tuple[int, str]:
    """Run tests in a process of their own with these settings; return the exit code and output."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**ours, **settings},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def settings_of(stack: LocalStack, **more: str) -> dict[str, str]:
    return {
        f"{PREFIX}URL": stack.url,
        f"{PREFIX}KEY": stack.secret_key,
        f"{PREFIX}DATABASE_URL": stack.admin_database_url,
        **more,
    }


def test_nothing_named_is_an_embedded_stack() -> None:
    assert from_environment({"PATH": "/bin", f"{PREFIX}URL": ""}) is None


def test_all_three_name_a_stack() -> None:
    stack = from_environment(COMPLETE)

    assert stack is not None
    assert stack.rest_url == "http://127.0.0.1:54321/rest/v1"
    assert "sb_secret_any" not in repr(stack)


@pytest.mark.parametrize("missing", COMPLETE)
def test_a_stack_that_is_half_named_is_an_error(missing: str) -> None:
    rest = {name: value for name, value in COMPLETE.items() if name != missing}

    with pytest.raises(pytest.UsageError, match=f"{missing} is not set: set all of them"):
        from_environment(rest)


def test_tokens_alone_name_no_stack() -> None:
    with pytest.raises(pytest.UsageError, match="MESHHOOK_TEST_JWT_SECRET names a running stack"):
        from_environment({f"{PREFIX}JWT_SECRET": "s"})


def test_every_path_that_is_left_out_is_there() -> None:
    for path in (path for limit in LIMITS for path in limit.paths):
        file, _, test = path.partition("::")
        assert (ROOT / file).exists(), path
        assert not test or f"def {test}(" in (ROOT / file).read_text(), path


def test_a_limit_covers_its_paths_and_no_others() -> None:
    in_file = LIMITS[1]
    assert in_file.covers("tests/properties/test_lock_errors.py::test_any[asyncio]")
    assert not in_file.covers("tests/properties/test_lock_errors_too.py::test_any")
    assert not in_file.covers("tests/sql/test_monitoring.py::test_any")


def test_the_tests_run_on_the_stack_that_is_named(stack: LocalStack) -> None:
    """One of them asks nothing, one shares the stack, one needs what is not given."""
    code, said = run(
        "tests/unit/test_retry.py",
        "tests/services/test_sync_services.py",
        "tests/promises/test_p8_access.py",
        **settings_of(stack),
    )

    assert code == 0, said
    assert "tests that use no stack, or start one of their own" in said
    assert "tests that need MESHHOOK_TEST_ANON_KEY and MESHHOOK_TEST_JWT_SECRET" in said


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"KEY": "sb_secret_wrong"}, "MESHHOOK_TEST_KEY: "),
        ({"URL": "http://127.0.0.1:1"}, "MESHHOOK_TEST_URL: http://127.0.0.1:1 does not answer"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "MESHHOOK_TEST_DATABASE_URL does not"),
    ],
    ids=["key", "url", "database"],
)
def test_a_setting_that_is_wrong_is_named(
    stack: LocalStack, change: dict[str, Any], text: str
) -> None:
    wrong = {f"{PREFIX}{name}": value for name, value in change.items()}

    code, said = run("tests/services", **{**settings_of(stack), **wrong})

    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert text in said


def test_a_project_without_meshhook_is_refused() -> None:
    with LocalStack(apply_meshhook=False) as bare:
        code, said = run("tests/services", **settings_of(bare))

    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert "has no MeshHook" in said
    assert "`meshhook migrations install`" in said


def test_several_processes_would_meet_in_one_project(stack: LocalStack) -> None:
    code, said = run("tests/services", "-n", "2", **settings_of(stack))

    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert "run them in one process, with -n 0" in said


def test_the_running_stack_signs_what_the_stack_accepts(stack: LocalStack) -> None:
    running = RunningStack(
        url=stack.url,
        secret_key=stack.secret_key,
        admin_database_url=stack.admin_database_url,
        jwt_secret=stack.jwt_secret,
    )
    answer = httpx.post(
        f"{running.rest_url}/rpc/meshhook_version",
        headers={"apikey": stack.anon_key, "Authorization": f"Bearer {running.service_role_key}"},
    )

    assert answer.status_code == 200, answer.text
