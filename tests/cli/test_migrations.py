"""`meshhook migrations`, and what stands behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from meshhook import migrations
from meshhook.local import LocalStack
from meshhook_local.migrate import apply_migrations, migrations_in
from tests.cli.conftest import Shell

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)
NAMES = [migration.name for migration in migrations.shipped()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a user's project."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def install(folder: Path, now: datetime = NOW) -> list[Path]:
    return migrations.install(migrations.plan(folder, now))


def release(monkeypatch: pytest.MonkeyPatch, folder: Path, **changed: str | None) -> Path:
    """Let MeshHook be of another version: with files changed, added or left out."""
    folder.mkdir()
    for one in migrations.shipped():
        text = changed.get(one.name, one.path.read_text())
        if text is not None:
            (folder / one.file_name).write_text(text)
    for name in changed.keys() - set(NAMES):
        (folder / f"20261124000018_{name}.sql").write_text(changed[name] or "")
    files = sorted(folder.iterdir())
    monkeypatch.setattr(migrations, "migration_files", lambda: files)
    return folder


def test_list_names_them_in_order(bare_shell: Shell) -> None:
    listed = bare_shell.run("migrations", "list", "--json").json

    assert [one["name"] for one in listed] == NAMES
    assert NAMES[0] == "meshhook_schema"
    assert NAMES[-1] == "meshhook_ready"
    assert bare_shell.run("migrations", "list").out.splitlines()[1].startswith("meshhook_schema")


def test_print_gives_the_sql(bare_shell: Shell) -> None:
    everything = bare_shell.run("migrations", "print").out
    one = bare_shell.run("migrations", "print", "meshhook_ready").out

    for migration in migrations.shipped():
        assert migration.path.read_text() in everything
    assert one == f"-- meshhook_ready\n\n{migrations.shipped()[-1].path.read_text()}\n"
    assert bare_shell.run("migrations", "print", "nothing").code == 2


def test_install_into_a_new_project(bare_shell: Shell, folder: Path) -> None:
    ended = bare_shell.run("migrations", "install")

    assert ended.code == 0
    assert "supabase db push" in ended.err
    written = names_in(folder)
    assert [name.partition("_")[2].removesuffix(".sql") for name in written] == NAMES
    for name, migration in zip(written, migrations.shipped(), strict=True):
        assert (folder / name).read_text() == migration.path.read_text()


def test_install_twice_changes_nothing(bare_shell: Shell, folder: Path) -> None:
    bare_shell.run("migrations", "install")
    before = names_in(folder)

    ended = bare_shell.run("migrations", "install")

    assert ended.out == "All of MeshHook's migrations are in supabase/migrations.\n"
    assert "meshhook migrations install --again, then supabase db push" in ended.err
    assert names_in(folder) == before


def test_a_dry_run_writes_nothing(bare_shell: Shell, folder: Path) -> None:
    ended = bare_shell.run("migrations", "install", "--dry-run", "--json")

    assert ended.json["dry_run"] is True
    assert [one["name"] for one in ended.json["files"]] == NAMES
    assert names_in(folder) == []
    assert "would write" in bare_shell.run("migrations", "install", "--dry-run").out


def test_the_folder_may_be_another(bare_shell: Shell, tmp_path: Path) -> None:
    assert bare_shell.run("migrations", "install", "--dir", "db").code == 0
    assert len(names_in(tmp_path / "db")) == len(NAMES)


def test_outside_of_a_project_nothing_is_made(bare_shell: Shell, tmp_path: Path) -> None:
    ended = bare_shell.run("migrations", "install")

    assert ended.code == 1
    assert "supabase init" in ended.err
    assert not (tmp_path / "supabase").exists()


def test_status_tells_what_is_there_and_what_is_not(bare_shell: Shell, folder: Path) -> None:
    empty = bare_shell.run("migrations", "status", "--json")
    assert (empty.code, empty.json["complete"]) == (1, False)
    assert {one["state"] for one in empty.json["migrations"]} == {"missing"}

    bare_shell.run("migrations", "install")
    (changed,) = folder.glob("*_meshhook_claim.sql")
    changed.write_text("select 1;")
    mixed = bare_shell.run("migrations", "status", "--json")
    states = {one["name"]: one["state"] for one in mixed.json["migrations"]}
    assert mixed.code == 1
    assert states["meshhook_claim"] == "other version"
    assert states["meshhook_schema"] == "installed"
    assert "meshhook migrations install" in bare_shell.run("migrations", "status").err

    bare_shell.run("migrations", "install")
    full = bare_shell.run("migrations", "status", "--json")
    assert (full.code, full.json["complete"]) == (0, True)


def test_versions_follow_the_projects_newest(folder: Path) -> None:
    (folder / "20280101000000_mine.sql").write_text("select 1;")

    written = install(folder)

    assert written[0].name == "20280101000001_meshhook_schema.sql"
    assert names_in(folder)[0] == "20280101000000_mine.sql"


def test_versions_are_of_now_where_the_projects_are_older(folder: Path) -> None:
    (folder / "20240101000000_mine.sql").write_text("select 1;")

    written = [path.name for path in install(folder)]

    assert written[0] == "20270301120000_meshhook_schema.sql"
    assert written[1] == "20270301120001_meshhook_arguments.sql"
    assert written == sorted(written)


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
def test_versions_follow_as_texts_and_as_numbers(folder: Path, mine: str) -> None:
    (folder / mine).write_text("select 1;")

    written = install(folder)

    own = [path.name.partition("_")[0] for path in written]
    assert own == sorted(own)
    assert own == sorted(own, key=int)
    assert min(own) > mine.partition("_")[0]
    assert min(map(int, own)) > int(mine.partition("_")[0])


def test_the_seconds_carry_over(folder: Path) -> None:
    (folder / "20281231235958_mine.sql").write_text("select 1;")

    written = [path.name.partition("_")[0] for path in install(folder)]

    assert written[:2] == ["20281231235959", "20290101000000"]


def test_files_of_other_names_count_for_nothing(folder: Path) -> None:
    (folder / "README.md").write_text("hello")
    (folder / "99999999999999.sql").write_text("select 1;")

    assert install(folder)[0].name == "20270301120000_meshhook_schema.sql"


def test_files_that_were_copied_by_hand_are_known(folder: Path) -> None:
    for one in migrations.shipped():
        (folder / one.file_name).write_text(one.path.read_text())

    assert migrations.plan(folder, NOW) == []


def test_files_are_known_by_their_content_under_another_name(folder: Path) -> None:
    for number, one in enumerate(migrations.shipped()):
        (folder / f"{number:04}_queue_part.sql").write_text(one.path.read_text())

    assert migrations.plan(folder, NOW) == []


def test_line_endings_do_not_make_another_content(folder: Path) -> None:
    for one in migrations.shipped():
        text = one.path.read_text().replace("\n", " \r\n")
        (folder / one.file_name).write_bytes(text.encode())

    assert migrations.plan(folder, NOW) == []


def test_an_upgrade_adds_files_from_the_first_that_changed_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder)
    before = {name: (folder / name).read_text() for name in names_in(folder)}
    release(
        monkeypatch,
        tmp_path / "newer",
        meshhook_claim="-- Claim, better.\n",
        meshhook_more="-- More.\n",
    )

    written = [path.name for path in install(folder, NOW.replace(year=2028))]

    position = NAMES.index("meshhook_claim")
    added = [name.partition("_")[2].removesuffix(".sql") for name in written]
    assert added == [*NAMES[position:-1], "meshhook_more", "meshhook_ready"]
    assert written[0] == "20280301120000_meshhook_claim.sql"
    assert {name: (folder / name).read_text() for name in before} == before
    assert migrations.plan(folder, NOW) == []


def test_an_upgrade_that_only_adds_a_file_closes_with_the_last_one_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last takes away the rights that Postgres gives to everybody on what is new."""
    install(folder)
    release(monkeypatch, tmp_path / "newer", meshhook_more="-- More.\n")

    written = [path.name.partition("_")[2] for path in install(folder, NOW.replace(year=2028))]

    assert written == ["meshhook_more.sql", "meshhook_ready.sql"]
    assert migrations.plan(folder, NOW) == []


def test_a_file_that_somebody_removed_comes_again_with_all_after_it(folder: Path) -> None:
    install(folder)
    next(folder.glob("*_meshhook_queues.sql")).unlink()

    written = [path.name.partition("_")[2] for path in install(folder, NOW.replace(year=2028))]

    assert written[0] == "meshhook_queues.sql"
    assert written[-1] == "meshhook_ready.sql"
    assert migrations.plan(folder, NOW) == []


def test_nothing_is_written_over_and_a_failure_leaves_nothing_behind(folder: Path) -> None:
    steps = migrations.plan(folder, NOW)
    steps[3].path.write_text("mine")

    with pytest.raises(FileExistsError):
        migrations.install(steps)

    assert names_in(folder) == [steps[3].path.name]
    assert steps[3].path.read_text() == "mine"


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


def test_again_writes_one_file_with_all_of_them_and_may_be_repeated(
    bare_shell: Shell, folder: Path
) -> None:
    bare_shell.run("migrations", "install")
    before = names_in(folder)

    ended = bare_shell.run("migrations", "install", "--again")
    once_more = bare_shell.run("migrations", "install", "--again", "--json").json

    assert "supabase db push" in ended.err
    first, second = [name for name in names_in(folder) if name not in before]
    assert max(before) < first < second
    assert first.endswith("_meshhook_repair.sql")
    assert [Path(file["path"]).name for file in once_more["files"]] == [second]
    text = (folder / first).read_text()
    assert all(one.path.read_text() in text for one in migrations.shipped())
    status = bare_shell.run("migrations", "status", "--json")
    assert (status.code, status.json["complete"]) == (0, True)
    assert {one["file"] for one in status.json["migrations"]} == {second}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_print_writes_into_a_file_is_known(
    bare_shell: Shell, folder: Path, line_end: str
) -> None:
    printed = bare_shell.run("migrations", "print").out.replace("\n", line_end)
    (folder / "20270101000000_queue.sql").write_bytes(printed.encode())

    status = bare_shell.run("migrations", "status", "--json")

    assert status.json["complete"]
    assert {one["file"] for one in status.json["migrations"]} == {"20270101000000_queue.sql"}
    assert migrations.plan(folder, NOW) == []


def test_an_upgrade_after_a_file_with_all_of_them_adds_what_has_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.install(migrations.plan_again(folder, NOW))
    release(monkeypatch, tmp_path / "newer", meshhook_control="-- Control, better.\n")

    written = [path.name.partition("_")[2] for path in install(folder, NOW.replace(year=2028))]

    position = NAMES.index("meshhook_control")
    assert written == [f"{name}.sql" for name in NAMES[position:]]


def test_a_file_that_was_changed_is_named_with_what_happens_to_it(
    bare_shell: Shell, folder: Path
) -> None:
    bare_shell.run("migrations", "install")
    (mine,) = folder.glob("*_meshhook_claim.sql")
    mine.write_text(f"-- My comment.\n{mine.read_text()}")

    status = bare_shell.run("migrations", "status")
    ended = bare_shell.run("migrations", "install")

    (row,) = [line for line in status.out.splitlines() if mine.name in line]
    assert "changed by you, or of another version" in row
    assert f"{mine.name} was changed by you, or is of another version" in ended.err
    assert "stays as it is" in ended.err
    assert mine.read_text().startswith("-- My comment.")


def test_an_older_meshhook_does_not_write_over_the_work_of_a_newer_one(
    bare_shell: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = migrations.shipped()[-1].path.read_text()
    with monkeypatch.context() as newer:
        raised = ready.replace("'schema_version', 1,", "'schema_version', 2,")
        release(newer, tmp_path / "newer", meshhook_ready=raised, meshhook_claim="-- Better.\n")
        install(folder)
    before = names_in(folder)

    status = bare_shell.run("migrations", "status", "--json")
    refused = [bare_shell.run("migrations", "install", *more) for more in ((), ("--again",))]

    assert (status.code, status.json["complete"]) == (1, False)
    assert status.json["newer_file"].endswith("_meshhook_ready.sql")
    for ended in refused:
        assert ended.code == 1
        assert "pip install --upgrade meshhook" in ended.err
        assert status.json["newer_file"] in ended.err
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
