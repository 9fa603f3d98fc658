"""Where settings come from, and that keys are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhook._defaults import KEY_VARIABLES
from meshhook.cli import project as settings
from meshhook.cli.redaction import redact
from meshhook.local import LocalStack
from tests.cli.conftest import Shell, job_text


def test_an_option_comes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("SUPABASE_URL=file\nSUPABASE_KEY=file-key\nMESHHOOK_QUEUE=file\n")
    assert settings.find(None, None, None) == settings.Settings(
        url="file", key="file-key", queue="file"
    )

    monkeypatch.setenv("SUPABASE_URL", "environment")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "environment-key")
    monkeypatch.setenv("MESHHOOK_QUEUE", "environment")
    assert settings.find(None, None, None) == settings.Settings(
        url="environment", key="environment-key", queue="environment"
    )

    assert settings.find("option", "option-key", "option") == settings.Settings(
        url="option", key="option-key", queue="option"
    )


def test_without_any_setting_the_queue_is_that_of_the_original_system() -> None:
    found = settings.find(None, None, None)

    assert (found.url, found.key, found.queue_name) == (None, None, "workflow_jobs")


@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_the_key_may_have_any_of_its_names(name: str) -> None:
    Path(".env").write_text(f"{name}=some-key\n")

    assert settings.find(None, None, None).key == "some-key"


def test_a_command_works_with_nothing_but_an_env_file(
    bare_shell: Shell, stack: LocalStack, queue_name: str
) -> None:
    Path(".env").write_text(
        f"SUPABASE_URL={stack.url}\nSUPABASE_KEY='{stack.secret_key}'\nMESHHOOK_QUEUE={queue_name}\n"
    )

    assert bare_shell.run("enqueue", job_text()).out == "1\n"


def test_another_env_file_can_be_named(bare_shell: Shell, stack: LocalStack) -> None:
    Path(".env").write_text("SUPABASE_URL=http://127.0.0.1:9\nSUPABASE_KEY=sb_secret_no\n")
    Path("stack.env").write_text(f"SUPABASE_URL={stack.url}\nSUPABASE_KEY={stack.secret_key}\n")

    ended = bare_shell.run("queues", "list", "--env-file", "stack.env")

    assert (ended.code, ended.err) == (0, "")


def test_an_env_file_that_is_named_must_be_there(bare_shell: Shell) -> None:
    ended = bare_shell.run("queues", "list", "--env-file", "none.env")

    assert ended.code == 2
    assert ended.err == "meshhook queues list: --env-file none.env: there is no such file\n"


def test_the_file_that_a_variable_names_is_read_unless_an_option_names_another(
    bare_shell: Shell, stack: LocalStack
) -> None:
    Path("stack.env").write_text(f"SUPABASE_URL={stack.url}\nSUPABASE_KEY={stack.secret_key}\n")
    Path("other.env").write_text("SUPABASE_URL=http://127.0.0.1:9\nSUPABASE_KEY=sb_secret_no\n")

    bare_shell.env["MESHHOOK_ENV_FILE"] = "stack.env"
    assert bare_shell.run("queues", "list").code == 0
    bare_shell.env["MESHHOOK_ENV_FILE"] = "other.env"
    assert bare_shell.run("queues", "list", "--env-file", "stack.env").code == 0


def test_a_line_that_is_no_setting_is_wrong_usage(bare_shell: Shell) -> None:
    Path(".env").write_text("SUPABASE_URL=http://127.0.0.1:9\n\nSUPABASE_KEY sb_secret_abc\n")

    ended = bare_shell.run("queues", "list")

    assert ended.code == 2
    assert ended.err == (
        "meshhook queues list: .env:3 is not of the form NAME=VALUE. Put quotes around the value.\n"
    )


def test_a_broken_env_file_does_no_harm_where_it_is_not_needed(shell: Shell) -> None:
    Path(".env").write_text("this is no setting\n")

    assert shell.run("queues", "list").code == 0


def test_the_url_and_the_key_may_be_options(
    bare_shell: Shell, stack: LocalStack, queue_name: str
) -> None:
    project = ("--url", stack.url, "--key", stack.secret_key, "--queue", queue_name)

    assert bare_shell.run("jobs", "list", "--json", *project).json["jobs"] == []


def keys_of(stack: LocalStack) -> list[str]:
    return [stack.secret_key, stack.service_role_key, "sb_secret_wrong_but_still_a_secret"]


@pytest.mark.parametrize(
    "argv",
    [
        ("stats", "KEY"),
        ("stats", "--queue", "KEY"),
        ("jobs", "show", "KEY"),
        ("KEY",),
        ("stats", "--KEY"),
        ("queues", "list", "--key", "KEY"),
        ("queues", "list", "--key", "KEY", "--url", "http://127.0.0.1:9"),
        ("queues", "list", "--key", "KEY", "--url", "KEY"),
        ("queues", "list", "--key", "KEY\n"),
        ("queues", "list", "--key", "KEY", "--env-file", "KEY"),
        ("queues", "create", "KEY"),
        ("doctor", "--key", "KEY", "--sample-seconds", "0"),
        ("doctor", "--key", "KEY", "--url", "http://127.0.0.1:9", "--json"),
        ("jobs", "find", "KEY"),
        ("enqueue", '{"run_id": "KEY"}'),
        ("enqueue", "KEY"),
        ("worker", "KEY"),
        ("dlq", "list", "--dlq", "KEY"),
    ],
    ids=" ".join,
)
def test_no_key_is_ever_shown(argv: tuple[str, ...], shell: Shell, stack: LocalStack) -> None:
    for key in keys_of(stack):
        ended = shell.run(*(part.replace("KEY", key) for part in argv))

        assert key not in ended.out + ended.err
        assert ended.out + ended.err


def test_a_key_in_the_environment_alone_is_not_shown_with_what_a_job_holds(
    shell: Shell, stack: LocalStack
) -> None:
    shell.run("enqueue", job_text(metadata={"copied": stack.secret_key}))

    for argv in (("jobs", "show", "1"), ("jobs", "show", "1", "--json")):
        ended = shell.run(*argv)

        assert stack.secret_key not in ended.out
        assert "[key]" in ended.out


def test_what_looks_like_a_key_is_hidden_and_nothing_else(stack: LocalStack) -> None:
    token = stack.token("service_role")

    assert redact(f"a {token} b sb_secret_x-y_z, c") == "a [key] b [key], c"
    assert redact("eyJ is no token, sb_publishable_x is no secret") == (
        "eyJ is no token, sb_publishable_x is no secret"
    )


def test_settings_do_not_show_the_key_in_their_repr() -> None:
    assert "hidden" not in repr(settings.Settings(url="u", key="hidden", queue=None))
