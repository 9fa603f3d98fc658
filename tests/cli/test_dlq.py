"""`meshhook dlq`."""

from __future__ import annotations

import re
import signal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook import ReplaySummary, SyncDLQService, SyncQueueService, UnreachableError
from tests.cli.conftest import Ended, Shell, job_lines


@pytest.fixture
def errors(shell: Shell, service: SyncQueueService, dead_letters: SyncDLQService) -> list[str]:
    """Six dead letters, of two errors; their ids are 1 to 6."""
    errors = ["no such customer", "card declined: 51"] * 3
    shell.run("enqueue", stdin=job_lines(len(errors)))
    for error, job in zip(errors, service.dequeue_many(len(errors)), strict=True):
        assert dead_letters.move_to_dead_letter(job, error, "Traceback: line 7")
    return errors


def ids(ended: Ended) -> list[int]:
    return [letter["msg_id"] for letter in ended.json["dead_letters"]]


def left(shell: Shell) -> list[int]:
    return ids(shell.run("dlq", "list", "--json"))


def test_list_shows_the_oldest_first(shell: Shell, errors: list[str]) -> None:
    assert left(shell) == [1, 2, 3, 4, 5, 6]
    assert ids(shell.run("dlq", "list", "--json", "--limit", "2")) == [1, 2]

    head, *rows = shell.run("dlq", "list").out.splitlines()
    assert head.split()[0] == "msg_id"
    assert [row.split("  ")[-1].strip() for row in rows] == errors


@pytest.mark.usefixtures("errors")
def test_list_by_error(shell: Shell) -> None:
    assert ids(shell.run("dlq", "list", "--json", "--error", "declined")) == [2, 4, 6]
    assert ids(shell.run("dlq", "list", "--json", "--error", "declined", "--limit", "1")) == [2]


@pytest.mark.usefixtures("errors")
def test_show_has_the_message_the_error_and_the_stack(shell: Shell) -> None:
    shown = shell.run("dlq", "show", "2").out
    letter = shell.run("dlq", "show", "2", "--json").json

    assert "Traceback: line 7" in shown
    assert "card declined: 51" in shown
    assert letter["message"]["error_message"] == "card declined: 51"
    assert [attempt["outcome"] for attempt in letter["attempts"]] == ["dead_lettered"]
    *_, head, attempt = shown.splitlines()
    assert head.split() == ["attempt", "outcome", "failed", "after", "s", "worker", "error"]
    assert attempt.split()[:2] == ["1", "dead_lettered"]
    assert attempt.endswith("card declined: 51")


def test_what_others_wrote_is_shown_as_json(
    shell: Shell, admin: psycopg.Connection, queue_name: str
) -> None:
    message = {"run_id": ["it's"], "attempt": True, "error_message": {"code": None}}
    admin.execute("select pgmq.send(%s, %s)", [f"{queue_name}_dlq", Jsonb(message)])

    row = shell.run("dlq", "list").out.splitlines()[1]

    assert row.split()[:3] == ["1", '["it\'s"]', "true"]
    assert row.endswith('{"code": null}')


def test_show_of_an_unknown_one_fails(shell: Shell, queue_name: str) -> None:
    ended = shell.run("dlq", "show", "9")

    assert ended.code == 1
    assert ended.err == f"meshhook dlq show: there is no dead letter 9 in {queue_name}_dlq\n"


@pytest.mark.usefixtures("errors")
def test_errors_are_counted(shell: Shell) -> None:
    counts = shell.run("dlq", "errors", "--json").json

    assert (counts["total_jobs"], counts["total_errors"]) == (6, 2)
    assert [(one["error"], one["jobs"], one["msg_id"]) for one in counts["errors"]] == [
        ("card declined: 51", 3, 6),
        ("no such customer", 3, 5),
    ]
    shown = shell.run("dlq", "errors")
    assert "no such customer" in shown.out
    assert shown.err == ""


@pytest.mark.usefixtures("errors")
def test_errors_that_are_left_out_are_told(shell: Shell) -> None:
    shown = shell.run("dlq", "errors", "--limit", "1")

    assert "no such customer" not in shown.out
    assert shown.err == (
        "1 of 2 shown: give a larger --limit.\nDead letters with other errors: 3.\n"
    )


@pytest.mark.usefixtures("errors")
def test_a_list_that_is_cut_says_so_and_goes_on(shell: Shell) -> None:
    cut = shell.run("dlq", "list", "--limit", "4")
    rest = shell.run("dlq", "list", "--limit", "4", "--after", "4")
    of_one_error = shell.run("dlq", "list", "--limit", "1", "--error", "declined")

    onward = "give a larger --limit, or --after"
    assert cut.err == f"4 of 6 shown: {onward} 4 to go on from here.\n"
    assert len(rest.out.splitlines()) == 3
    assert rest.err == ""
    assert of_one_error.err == f"1 shown, and there are more: {onward} 2 to go on from here.\n"
    as_json = shell.run("dlq", "list", "--limit", "4", "--json").json
    assert (as_json["total"], as_json["more"]) == (6, True)


def test_an_empty_queue_says_so(shell: Shell, queue_name: str) -> None:
    for verb in ("list", "errors"):
        ended = shell.run("dlq", verb)

        assert (ended.code, ended.out, ended.err) == (0, "", f"{queue_name}_dlq is empty.\n")


@pytest.mark.usefixtures("errors")
def test_replay_by_id(shell: Shell) -> None:
    ended = shell.run("dlq", "replay", "1", "3", "3")

    assert (ended.code, ended.out) == (0, "Replayed 2 of 2 dead letters.\n")
    assert left(shell) == [2, 4, 5, 6]
    assert len(shell.run("jobs", "list", "--json").json["jobs"]) == 2


@pytest.mark.usefixtures("errors")
def test_replay_by_error(shell: Shell) -> None:
    ended = shell.run("dlq", "replay", "--error", "no such", "--json")

    assert ended.json == {"replayed": 3, "errors": []}
    assert left(shell) == [2, 4, 6]


@pytest.mark.usefixtures("errors")
def test_replay_all_to_another_queue(shell: Shell, queue_name: str) -> None:
    shell.run("queues", "create", f"{queue_name}_2")
    try:
        ended = shell.run("dlq", "replay", "--all", "--to", f"{queue_name}_2")

        assert ended.out == "Replayed 6 of 6 dead letters.\n"
        assert len(shell.run("jobs", "list", "--json", "-q", f"{queue_name}_2").json["jobs"]) == 6
    finally:
        shell.run("queues", "drop", f"{queue_name}_2", "--with-dlq", "--yes")


@pytest.mark.usefixtures("errors")
def test_replay_tells_which_are_missing(shell: Shell) -> None:
    ended = shell.run("dlq", "replay", "1", "77")

    assert ended.code == 1
    assert ended.out == "Replayed 1 of 2 dead letters.\n"
    assert ended.err.startswith("77: ")
    assert left(shell) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("argv", "replayed", "pauses"),
    [(("--all", "--rate", "2"), 6, [1, 1]), (("1", "2", "3", "--rate", "0.5"), 3, [2, 2])],
    ids=["two a second", "one in two seconds"],
)
@pytest.mark.usefixtures("errors")
def test_a_rate_spaces_the_replays(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    replayed: int,
    pauses: list[float],
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("meshhook.cli.bulk.time.monotonic", lambda: 100 + sum(slept))
    monkeypatch.setattr("meshhook.cli.bulk.time.sleep", slept.append)

    ended = shell.run("dlq", "replay", *argv)

    assert ended.out == f"Replayed {replayed} of {replayed} dead letters.\n"
    assert slept == pytest.approx([0, *pauses])


@pytest.mark.usefixtures("errors")
def test_an_outage_in_the_middle_tells_how_many_went(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SyncDLQService.replay_multiple_jobs

    def replay(service: SyncDLQService, msg_ids: list[int], target: str | None) -> ReplaySummary:
        if 4 in msg_ids:
            message = "meshhook_replay: no connection."
            raise UnreachableError(message, function="meshhook_replay")
        return real(service, msg_ids, target)

    monkeypatch.setattr(SyncDLQService, "replay_multiple_jobs", replay)
    monkeypatch.setattr("meshhook.cli.bulk.BATCH", 2)

    ended = shell.run("dlq", "replay", "--all")

    assert ended.code == 3
    assert ended.err.endswith(
        "2 of 6 dead letters had been replayed before (and perhaps 2 more);"
        " the same command goes on with the rest\n"
    )
    assert left(shell) == [3, 4, 5, 6]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("errors")
def test_a_replay_that_a_signal_ends_tells_how_many_went_and_how_to_go_on(
    shell: Shell, number: int, code: int
) -> None:
    argv = ("dlq", "replay", "1", "2", "3", "--rate")
    with shell.start(*argv, "0.01") as running:
        while left(shell) != [2, 3, 4, 5, 6]:
            pass
        running.send_signal(number)
        _, err = running.communicate()

    assert running.returncode == code
    # Whether the answer had been read by then is left open.
    assert re.fullmatch(
        r"meshhook dlq replay: interrupted\. (1 of 3 dead letters had been replayed before"
        r"|0 of 3 dead letters had been replayed before \(and perhaps 1 more\));"
        r" the same command goes on with the rest, and reports those that are done as"
        r" missing\n",
        err,
    )
    ended = shell.run(*argv, "100")
    assert ended.out == "Replayed 2 of 3 dead letters.\n"
    assert left(shell) == [4, 5, 6]


@pytest.mark.usefixtures("errors")
def test_a_deletion_that_ctrl_c_ends_tells_how_many_went(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SyncDLQService.delete_dead_letter_job

    def delete(service: SyncDLQService, msg_id: int) -> bool:
        if msg_id == 4:
            raise KeyboardInterrupt
        return real(service, msg_id)

    monkeypatch.setattr(SyncDLQService, "delete_dead_letter_job", delete)

    ended = shell.run("dlq", "delete", "--error", "declined", "--yes", is_terminal=True)

    assert ended.code == 130
    assert "deleting" in ended.err
    assert "1 of 3 dead letters had been deleted before (and perhaps 1 more)" in ended.err
    assert left(shell) == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("verb", ["replay", "delete"])
@pytest.mark.usefixtures("errors")
def test_a_dry_run_changes_nothing(shell: Shell, verb: str, queue_name: str) -> None:
    ended = shell.run("dlq", verb, "--error", "declined", "--dry-run")

    assert ended.code == 0
    assert ended.out == f"Would {verb} 3 dead letters of {queue_name}_dlq.\n2\n4\n6\n"
    assert shell.run("dlq", verb, "--error", "declined", "--dry-run", "--json").json == {
        "dry_run": True,
        "msg_ids": [2, 4, 6],
    }
    assert left(shell) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "argv",
    [
        ("replay",),
        ("replay", "1", "--all"),
        ("replay", "1", "--error", "x"),
        ("replay", "--error", "x", "--all"),
        ("delete",),
        ("delete", "1", "--error", "x"),
    ],
    ids=" ".join,
)
def test_which_must_be_said_in_one_way(shell: Shell, argv: tuple[str, ...]) -> None:
    ended = shell.run("dlq", *argv)

    assert ended.code == 2
    assert "say which dead letters" in ended.err


@pytest.mark.usefixtures("errors")
def test_delete_by_id_and_by_error(shell: Shell) -> None:
    assert shell.run("dlq", "delete", "1", "--yes").out == "Deleted 1 of 1 dead letter.\n"
    deleted = shell.run("dlq", "delete", "--error", "declined", "--yes", "--json")
    assert deleted.json == {"deleted": 3, "missing": []}
    assert left(shell) == [3, 5]


@pytest.mark.usefixtures("errors")
def test_delete_tells_which_are_missing(shell: Shell) -> None:
    ended = shell.run("dlq", "delete", "1", "77", "--yes")

    assert ended.code == 1
    assert ended.err == "77: there is no such dead letter\n"


@pytest.mark.usefixtures("errors")
def test_purge(shell: Shell, queue_name: str) -> None:
    dry = shell.run("dlq", "purge", "--dry-run")
    assert dry.out == f"Would delete all of {queue_name}_dlq: 6 dead letters.\n"
    assert len(left(shell)) == 6

    assert shell.run("dlq", "purge", "--yes", "--json").json == {"deleted": 6, "there": 6}
    assert left(shell) == []


@pytest.mark.parametrize("argv", [("delete", "1"), ("purge",)], ids=" ".join)
@pytest.mark.parametrize(
    ("keyboard", "code", "count"), [(None, 2, 6), ("n\n", 1, 6), ("y\n", 0, None)]
)
@pytest.mark.usefixtures("errors")
def test_what_destroys_asks_first(
    shell: Shell, argv: tuple[str, ...], keyboard: str | None, code: int, count: int | None
) -> None:
    ended = shell.run("dlq", *argv, keyboard=keyboard)

    assert ended.code == code
    assert len(left(shell)) == (count if count is not None else {"delete": 5, "purge": 0}[argv[0]])


def test_the_queue_of_a_dead_letter_queue_leads_to_it_whatever_it_is_called(
    shell: Shell, queue_name: str
) -> None:
    name = f"{queue_name}_x"
    shell.run("queues", "create", name, "--dlq", f"{queue_name}_y")
    try:
        assert shell.run("dlq", "list", "-q", name).err == f"{queue_name}_y is empty.\n"
        assert (
            shell.run("dlq", "list", "-q", f"{queue_name}_y").err == f"{queue_name}_y is empty.\n"
        )
        assert shell.run("dlq", "list", "--dlq", f"{queue_name}_y").code == 0
    finally:
        shell.run("queues", "drop", name, "--with-dlq", "--yes")
