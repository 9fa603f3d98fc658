"""`meshhook migrations`, and what stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from meshhook import migrations
from meshhook.local import LocalStack
from meshhook_local.migrate import apply_migrations, migrations_in
from tests.cli.conftest import Shell

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
NAME = migrations.shipped().name
BETTER = "select jsonb_build_object('schema_version', 1);\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a user's project."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def text() -> str:
    return migrations.migration_file().read_text()


def install(folder: Path, now: datetime = NOW) -> Path:
    path = migrations.target(folder, now)
    migrations.install(path)
    return path


def state_of(folder: Path) -> str:
    return migrations.look(folder).state


def release(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str, text: str) -> None:
    """Let MeshHook be another release, with another text."""
    folder.mkdir(exist_ok=True)
    path = folder / f"20261124000001_meshhook_{version.replace('.', '_')}.sql"
    path.write_text(f"-- MeshHook {version}\n{text}")
    monkeypatch.setattr(migrations, "migration_file", lambda: path)


def test_print_gives_the_sql(bare_shell: Shell) -> None:
    assert bare_shell.run("migrations", "print").out == text()


def test_install_into_a_new_project(bare_shell: Shell, folder: Path) -> None:
    ended = bare_shell.run("migrations", "install")

    assert ended.code == 0
    assert "supabase db push" in ended.err
    (written,) = folder.iterdir()
    assert ended.out == f"wrote supabase/migrations/{written.name}\n"
    assert written.name.partition("_")[2] == f"{NAME}.sql"
    assert written.read_text() == text()


def test_install_twice_changes_nothing(bare_shell: Shell, folder: Path) -> None:
    bare_shell.run("migrations", "install")
    before = names_in(folder)

    ended = bare_shell.run("migrations", "install")

    assert ended.out == "MeshHook's SQL is in supabase/migrations.\n"
    assert "meshhook migrations install --again, then supabase db push" in ended.err
    assert bare_shell.run("migrations", "install", "--json").json["file"] is None
    assert names_in(folder) == before


def test_a_dry_run_writes_nothing(bare_shell: Shell, folder: Path) -> None:
    ended = bare_shell.run("migrations", "install", "--dry-run", "--json")

    assert ended.json["dry_run"] is True
    assert ended.json["file"].endswith(f"_{NAME}.sql")
    assert names_in(folder) == []
    assert "would write" in bare_shell.run("migrations", "install", "--dry-run").out


def test_the_folder_may_be_another(bare_shell: Shell, tmp_path: Path) -> None:
    assert bare_shell.run("migrations", "install", "--dir", "db").code == 0
    assert len(names_in(tmp_path / "db")) == 1


def test_outside_of_a_project_nothing_is_made(bare_shell: Shell, tmp_path: Path) -> None:
    ended = bare_shell.run("migrations", "install")

    assert ended.code == 1
    assert "supabase init" in ended.err
    assert not (tmp_path / "supabase").exists()


def test_status_tells_what_is_there_and_what_is_not(bare_shell: Shell, folder: Path) -> None:
    empty = bare_shell.run("migrations", "status", "--json")
    assert (empty.code, empty.json["complete"]) == (1, False)
    assert (empty.json["name"], empty.json["state"], empty.json["file"]) == (NAME, "missing", None)
    told = bare_shell.run("migrations", "status")
    assert told.out == f"folder: {NAME} is missing\n"
    assert "meshhook migrations install" in told.err

    bare_shell.run("migrations", "install")
    (written,) = names_in(folder)
    full = bare_shell.run("migrations", "status", "--json")
    assert (full.code, full.json["complete"]) == (0, True)
    assert (full.json["state"], full.json["file"]) == ("installed", written)
    assert (
        bare_shell.run("migrations", "status").out == f"folder: {NAME} is installed ({written})\n"
    )


@pytest.mark.parametrize(
    ("mine", "version"),
    [
        pytest.param("20280101000000", "20280101000001", id="follows the newest"),
        pytest.param("20240101000000", "20270301120000", id="of now"),
        pytest.param("20281231235959", "20290101000000", id="seconds carry over"),
    ],
)
def test_the_version_is_of_now_or_follows_the_newest(folder: Path, mine: str, version: str) -> None:
    (folder / f"{mine}_mine.sql").write_text("select 1;")

    assert install(folder).name == f"{version}_{NAME}.sql"


@pytest.mark.parametrize(
    "mine",
    [
        "0001_mine.sql",
        "9999_mine.sql",
        "20281231235959_mine.sql",
        "20289999999999_mine.sql",
        "20280101000000123_mine.sql",
        "99999999_mine.sql",
    ],
)
def test_the_version_follows_as_text_and_as_number(folder: Path, mine: str) -> None:
    (folder / mine).write_text("select 1;")

    own = install(folder).name.partition("_")[0]

    assert own > mine.partition("_")[0]
    assert int(own) > int(mine.partition("_")[0])


def test_files_of_other_names_count_for_nothing(folder: Path) -> None:
    (folder / "README.md").write_text("hello")
    (folder / "99999999999999.sql").write_text(text())

    assert state_of(folder) == "missing"
    assert install(folder).name == f"20270301120000_{NAME}.sql"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: f"create table mine ();\n\n{text}\nselect 1;\n",
        lambda text: text.replace("\n", " \r\n"),
    ],
    ids=["another name", "more around it", "other line endings"],
)
def test_a_file_is_known_by_its_content(folder: Path, change: Callable[[str], str]) -> None:
    (folder / "0001_queues.sql").write_bytes(change(text()).encode())

    assert state_of(folder) == "installed"


def test_an_upgrade_adds_the_new_release_after_the_old_one(
    bare_shell: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = install(folder)
    before = old.read_text()
    release(monkeypatch, tmp_path / "newer", "9.10.0", BETTER)

    status = bare_shell.run("migrations", "status", "--json")
    told = bare_shell.run("migrations", "status")
    ended = bare_shell.run("migrations", "install")

    assert (status.code, status.json["state"]) == (1, "other release")
    assert status.json["file"] == old.name
    assert told.out == (
        f"folder: meshhook_9_10_0 is missing; there is the file of another release ({old.name})\n"
    )
    assert ended.code == 0
    first, second = names_in(folder)
    assert (first, second.partition("_")[2]) == (old.name, "meshhook_9_10_0.sql")
    assert (old.read_text(), (folder / second).read_text()) == (
        before,
        f"-- MeshHook 9.10.0\n{BETTER}",
    )
    assert bare_shell.run("migrations", "status").code == 0


def test_an_old_release_after_the_new_one_is_followed_by_the_new_one_again(folder: Path) -> None:
    """What was applied last is what the database has."""
    install(folder)
    later = folder / "20280101000000_meshhook_0_0_1.sql"
    later.write_text("-- MeshHook 0.0.1\n")

    assert state_of(folder) == "other release"
    assert install(folder).name > later.name
    assert state_of(folder) == "installed"


def test_nothing_is_written_over(folder: Path) -> None:
    path = migrations.target(folder, NOW)
    path.write_text("mine")

    with pytest.raises(FileExistsError):
        migrations.install(path)

    assert path.read_text() == "mine"


def test_a_failure_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = migrations.target(folder, NOW)
    no_utf8 = SimpleNamespace(read_text=lambda **_: "select 1;\n\ud800")
    monkeypatch.setattr(migrations, "migration_file", lambda: no_utf8)

    with pytest.raises(UnicodeEncodeError):
        migrations.install(path)

    assert names_in(folder) == []


@pytest.mark.usefixtures("folder")
def test_a_failure_to_write_is_one_line(bare_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        message = "disk full"
        raise OSError(message)

    monkeypatch.setattr(migrations, "install", fail)

    ended = bare_shell.run("migrations", "install")

    assert (ended.code, ended.err) == (
        1,
        "meshhook migrations install: nothing was installed: disk full\n",
    )


def test_what_was_installed_applies_to_a_database(folder: Path, bare_shell: Shell) -> None:
    (folder / "20260101000000_mine.sql").write_text("create table public.mine ();")
    bare_shell.run("migrations", "install")

    with LocalStack(migrations=folder, apply_meshhook=False) as stack:
        project = ("--url", stack.url, "--key", stack.secret_key)
        ended = bare_shell.run("doctor", "--json", "--sample-seconds", "0", *project)

    assert ended.code == 0
    (functions,) = [one for one in ended.json["findings"] if one["check"] == "functions"]
    assert functions["status"] == "ok"


def test_again_writes_it_once_more_and_may_be_repeated(bare_shell: Shell, folder: Path) -> None:
    bare_shell.run("migrations", "install")
    before = names_in(folder)

    ended = bare_shell.run("migrations", "install", "--again")
    once_more = bare_shell.run("migrations", "install", "--again", "--json").json

    assert "supabase db push" in ended.err
    first, second = [name for name in names_in(folder) if name not in before]
    assert max(before) < first < second
    assert first.endswith("_meshhook_repair.sql")
    assert Path(once_more["file"]).name == second
    assert (folder / first).read_text() == text()
    status = bare_shell.run("migrations", "status", "--json")
    assert (status.code, status.json["complete"], status.json["file"]) == (0, True, second)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_print_writes_into_a_file_is_known(
    bare_shell: Shell, folder: Path, line_end: str
) -> None:
    printed = bare_shell.run("migrations", "print").out.replace("\n", line_end)
    (folder / "20270101000000_queue.sql").write_bytes(printed.encode())

    status = bare_shell.run("migrations", "status", "--json")

    assert (status.json["state"], status.json["file"]) == ("installed", "20270101000000_queue.sql")


def test_an_upgrade_after_a_repair_adds_the_new_release(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.install(migrations.target(folder, NOW, again=True))
    release(monkeypatch, tmp_path / "newer", "9.10.0", BETTER)

    assert state_of(folder) == "other release"


def test_a_file_that_was_changed_is_named_with_what_happens_to_it(
    bare_shell: Shell, folder: Path
) -> None:
    mine = install(folder)
    mine.write_text(f"-- My comment.\n{mine.read_text().replace('select', 'SELECT', 1)}")

    status = bare_shell.run("migrations", "status")
    ended = bare_shell.run("migrations", "install")

    assert status.out == f"folder: {NAME} is changed by you ({mine.name})\n"
    assert f"{mine.name} was changed by you; it stays as it is" in ended.err
    assert mine.read_text().startswith("-- My comment.")
    assert state_of(folder) == "installed"


def test_an_older_meshhook_does_not_write_over_the_work_of_a_newer_one(
    bare_shell: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        raised = text().replace("'schema_version', 1,", "'schema_version', 2,")
        release(newer, tmp_path / "newer", "9.10.0", raised)
        install(folder)
    before = names_in(folder)

    status = bare_shell.run("migrations", "status", "--json")
    refused = [bare_shell.run("migrations", "install", *more) for more in ((), ("--again",))]

    assert (status.code, status.json["complete"]) == (1, False)
    assert [status.json["newer_file"]] == before
    for ended in refused:
        assert ended.code == 1
        assert "pip install --upgrade meshhook" in ended.err
        assert before[0] in ended.err
    assert "meshhook migrations install" not in bare_shell.run("migrations", "status").err
    assert names_in(folder) == before


@pytest.mark.parametrize("mine", ["99991231235959_mine.sql", "99999999999999_mine.sql"])
def test_where_no_version_is_left_the_file_is_named_with_the_fix(
    bare_shell: Shell, folder: Path, mine: str
) -> None:
    (folder / mine).write_text("select 1;")

    ended = bare_shell.run("migrations", "install")
    again = bare_shell.run("migrations", "install", "--again")

    for one in (ended, again):
        assert (one.code, one.err.count("\n")) == (2, 1)
        assert f"{mine} has the highest version" in one.err
        assert "rename it" in one.err
    assert bare_shell.run("migrations", "status").code == 1
    assert names_in(folder) == [mine]


def test_the_highest_version_is_in_nobodys_way_where_nothing_is_to_be_written(
    bare_shell: Shell, folder: Path
) -> None:
    bare_shell.run("migrations", "install")
    (folder / "99991231235959_mine.sql").write_text("select 1;")

    assert bare_shell.run("migrations", "install").code == 0


def test_status_compares_the_database_where_there_are_settings(
    shell: Shell, bare_shell: Shell, folder: Path
) -> None:
    install(folder)

    compared = shell.run("migrations", "status", "--json")
    told = shell.run("migrations", "status")
    folder_only = shell.run("migrations", "status", "--no-database", "--json")

    database = compared.json["database"]
    assert (compared.code, database["complete"], database["schema_version"]) == (0, True, 1)
    assert database["functions"] > 90
    assert database["missing"] == database["changed"] == database["unknown"] == []
    assert "database: schema version 1" in told.out
    assert folder_only.json["database"] is None
    assert "Only the folder was looked at" in bare_shell.run("migrations", "status").err
    assert bare_shell.run("migrations", "status", "--database").code == 2


def test_status_says_that_the_database_cannot_be_reached(
    bare_shell: Shell, folder: Path, stack: LocalStack
) -> None:
    install(folder)
    nowhere = ("--url", "http://127.0.0.1:1", "--key", stack.secret_key)

    ended = bare_shell.run("migrations", "status", "--json", *nowhere)

    assert ended.code == 3
    assert "no connection" in ended.json["database"]["problem"]


BROKEN_BY = {
    ("migrations", "status"): (
        "create or replace function meshhook._dlq_name(p_queue_name text) returns text"
        " language sql as 'select null::text'"
    ),
    ("drain", "tests.cli.test_migrations:ignore"): "drop function public.meshhook_dequeue",
    ("jobs", "list"): "revoke execute on function public.meshhook_list_jobs from service_role",
    ("stats",): "drop view public.job_statistics",
    ("queues", "list"): "alter function meshhook._queue_json rename to mine",
}


def test_what_was_broken_by_hand_is_repaired_by_the_advice_that_is_given(
    folder: Path, bare_shell: Shell
) -> None:
    bare_shell.run("migrations", "install")
    with (
        LocalStack(migrations=folder, apply_meshhook=False) as stack,
        psycopg.connect(stack.admin_database_url, autocommit=True) as admin,
    ):
        project = ("--url", stack.url, "--key", stack.secret_key)
        for statement in BROKEN_BY.values():
            admin.execute(statement.encode())
        stack.restart_gateway()

        for command in BROKEN_BY:
            ended = bare_shell.run(*command, *project)
            assert ended.code == 1, command
            assert "migrations install --again, then supabase db push" in ended.out + ended.err
        state = bare_shell.run("migrations", "status", "--json", *project).json["database"]
        assert state["missing"] == ["meshhook._queue_json", "public.meshhook_dequeue"]
        assert state["changed"] == ["meshhook._dlq_name"]
        assert state["unknown"] == ["meshhook.mine"]

        bare_shell.run("migrations", "install", "--again")
        assert len(apply_migrations(stack.database_url, migrations_in(folder))) == 1

        assert [bare_shell.run(*command, *project).code for command in BROKEN_BY] == [0] * 5


def ignore(_: object) -> None:
    """Handle a job."""
