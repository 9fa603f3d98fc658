"""Settings from the environment, and from the file for those that it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshhook import ConfigurationError, _environment, connect, connect_sync
from meshhook._defaults import KEY_VARIABLES
from meshhook._environment import FILE_VARIABLE, setting
from meshhook.serverless import asgi_app
from tests.security.leaks import leaks

KEY = "sb_secret_of_the_file"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory and an environment without any settings."""
    for name in (FILE_VARIABLE, "SUPABASE_URL", *KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(text: str, folder: Path) -> dict[str, str]:
    file = folder / "some.env"
    file.write_text(text, encoding="utf-8", newline="")
    return _environment.read(file)


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
    with pytest.raises(ConfigurationError, match=rf"some\.env:{line} is not of the form") as caught:
        parse(text, tmp_path)

    assert "abc" not in str(caught.value)


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_bytes(b"A=\xff\n")

    with pytest.raises(ConfigurationError, match="not UTF-8"):
        _environment.read(file)


def test_the_environment_comes_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("A=file\nB=file\n")
    monkeypatch.setenv("A", "environment")
    monkeypatch.setenv("B", " ")

    assert (setting("A"), setting("B"), setting("C")) == ("environment", "file", "")
    assert setting("B", "A") == "environment"


def test_another_file_can_be_named_and_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("A=usual\n")
    (folder / "other.env").write_text("A=other\n")

    monkeypatch.setenv(FILE_VARIABLE, "other.env")
    assert setting("A") == "other"
    monkeypatch.setenv(FILE_VARIABLE, "")
    assert setting("A") == ""
    monkeypatch.setenv(FILE_VARIABLE, "none.env")
    with pytest.raises(ConfigurationError, match=r"names the file none\.env, which is not there"):
        setting("A")


def test_a_folder_of_that_name_is_no_file_of_settings(folder: Path) -> None:
    (folder / ".env").mkdir()

    assert setting("A") == ""


def test_a_broken_file_does_no_harm_where_it_is_not_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("this is no setting\n")
    monkeypatch.setenv("A", "environment")

    assert setting("A") == "environment"
    with connect_sync("http://127.0.0.1:9", KEY) as client:
        assert client.supabase_key == KEY


async def test_clients_take_url_and_key_from_the_file(folder: Path) -> None:
    (folder / ".env").write_text(f"SUPABASE_URL=http://127.0.0.1:9\nSUPABASE_SECRET_KEY='{KEY}'\n")

    async with connect() as client:
        assert (str(client.supabase_url), client.supabase_key) == ("http://127.0.0.1:9/", KEY)
    with connect_sync(key="sb_secret_given") as sync_client:
        assert sync_client.supabase_key == "sb_secret_given"


def test_an_endpoint_takes_its_secret_from_the_file(folder: Path) -> None:
    (folder / ".env").write_text("MESHHOOK_DRAIN_SECRET=short\n")
    with pytest.raises(ConfigurationError, match="at least 16 characters"):
        asgi_app(lambda _: None)

    (folder / ".env").write_text("MESHHOOK_DRAIN_SECRET=0123456789abcdef\n")
    asgi_app(lambda _: None)


def test_nothing_of_a_broken_file_is_in_the_traceback_nor_its_variables(folder: Path) -> None:
    (folder / ".env").write_text(f"SUPABASE_URL=http://127.0.0.1:9\nSUPABASE_KEY={KEY}\n{KEY}\n")

    with (
        pytest.raises(ConfigurationError, match=r"\.env:3 is not of the form") as caught,
        connect_sync(),
    ):
        pass

    assert leaks(caught.value, KEY) == []
