"""Where settings come from, and that keys are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhook.cli import dotenv, settings
from meshhook.cli.exits import CommandError
from meshhook.cli.redaction import redact
from meshhook.local import LocalStack
from tests.cli.conftest import Shell, job_text


def parse(text: str, folder: Path) -> dict[str, str]:
    file = folder / "some.env"
    file.write_text(text, encoding="utf-8", newline="")
    return dotenv.read(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A=b\n", "b"),
        ("A=b\r\n", "b"),
        ("\ufeffA=b", "b"),
        ("  export A = b  \n", "b"),
        ("A=b # not c\n", "b"),
        ("A=b#c\n", "b#c"),
        ("A=\n", ""),
        ("A=   # nothing\n", ""),
        ("A=#nothing\n", ""),
        ("A=''\n", ""),
        ('A="b # c" # d\n', "b # c"),
        ("A='b # c'\n", "b # c"),
        ('A="b\\n\\"c\\" \\\\ $D"\n', 'b\n"c" \\ $D'),
        ("A='b\\n'\n", "b\\n"),
        ('A="b\nc"\nB=d\n', "b\nc"),
        ("A=https://x.supabase.co/?a=b&c=d\n", "https://x.supabase.co/?a=b&c=d"),
        ("# A=c\n\nA=b\n", "b"),
        ("A=c\nA=b\n", "b"),
        ("A=it's\n", "it's"),
    ],
)
def test_a_file_of_settings_is_read(text: str, value: str, tmp_path: Path) -> None:
    assert parse(text, tmp_path)["A"] == value


def test_several_settings_are_read_in_one_file(tmp_path: Path) -> None:
    text = "A=1\n\n# more\nB='2\n3'\nC=\nD=4\n"

    assert parse(text, tmp_path) == {"A": "1", "B": "2\n3", "C": "", "D": "4"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=b\nhello sb_secret_abc\n", 2),
        ("A='b\n", 1),
        ('A="b" sb_secret_abc\n', 1),
        ("=sb_secret_abc\n", 1),
        ("A B=sb_secret_abc\n", 1),
    ],
)
def test_what_is_no_setting_is_told_by_its_line_and_not_quoted(
    text: str, line: int, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=rf"some\.env:{line} is not of the form") as caught:
        parse(text, tmp_path)

    assert "abc" not in str(caught.value)


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_bytes(b"A=\xff\n")

    with pytest.raises(CommandError, match="not UTF-8"):
        dotenv.read(file)


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


@pytest.mark.parametrize("name", settings.KEY_VARIABLES)
def test_the_key_may_have_any_of_its_names(name: str) -> None:
    Path(".env").write_text(f"{name}=some-key\n")

    assert settings.find(None, None, None).key == "some-key"


def test_the_names_of_the_key_are_those_of_the_sdk() -> None:
    from meshhook import connection  # noqa: PLC0415 - for the comparison alone

    assert settings.KEY_VARIABLES == connection.KEY_VARIABLES


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


def test_a_broken_env_file_does_no_harm_where_it_is_not_needed(
    shell: Shell,
) -> None:
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
