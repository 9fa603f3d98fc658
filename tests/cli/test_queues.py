"""`meshhook queues`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from meshhook import SyncQueueService
from tests.cli.conftest import Shell, job_lines, job_text


@pytest.fixture
def new_name(admin: psycopg.Connection) -> Iterator[str]:
    """A name that no queue has; what the test creates is dropped."""
    name = f"n_{uuid.uuid4().hex[:12]}"
    yield name
    admin.execute("select public.meshhook_drop_queue(%s, drop_dlq => true)", [name])


def test_create_list_configure_and_drop(shell: Shell, new_name: str) -> None:
    created = shell.run("queues", "create", new_name, "--max-attempts", "3", "--json")
    assert created.json["queue_name"] == new_name
    assert created.json["dlq_name"] == f"{new_name}_dlq"
    assert created.json["max_attempts"] == 3

    configured = shell.run(
        "queues", "configure", new_name, "--visibility-timeout-seconds", "60", "--base-delay-ms",
        "500", "--max-delay-ms", "5000", "--no-history", "--no-dead-letters", "--retention-days",
        "7", "--json",
    )  # fmt: skip
    assert configured.json["vt_seconds"] == 60
    assert configured.json["max_attempts"] == 3

    listed = {queue["queue_name"]: queue for queue in shell.run("queues", "list", "--json").json}
    assert listed[new_name] == {**configured.json, "is_dlq": False}
    assert listed[new_name]["has_dead_letters"] is False
    assert listed[new_name]["keeps_history"] is False
    assert listed[new_name]["retention_days"] == 7
    assert listed[f"{new_name}_dlq"]["is_dlq"] is True

    assert (
        shell.run("queues", "drop", new_name, "--with-dlq", "--yes").out == f"Dropped {new_name}.\n"
    )
    left = {queue["queue_name"] for queue in shell.run("queues", "list", "--json").json}
    assert not {new_name, f"{new_name}_dlq"} & left


@pytest.mark.usefixtures("admin")
def test_a_dead_letter_queue_may_have_another_name(shell: Shell, new_name: str) -> None:
    created = shell.run("queues", "create", new_name, "--dlq", f"{new_name}_d", "--json")

    assert created.json["dlq_name"] == f"{new_name}_d"


def test_configure_without_options_shows_the_settings(shell: Shell, queue_name: str) -> None:
    ended = shell.run("queues", "configure", queue_name)

    assert ended.code == 0
    assert [line.split("  ")[0] for line in ended.out.splitlines()] == [
        "queue", "dead letters", "lease", "attempts", "backoff", "history", "retention",
    ]  # fmt: skip
    assert "1000 ms, doubled up to 300000 ms" in ended.out


def test_the_table_shows_what_people_want_to_know(shell: Shell, queue_name: str) -> None:
    shell.run("queues", "pause", queue_name)

    head, *rows = shell.run("queues", "list").out.splitlines()

    assert head.split() == [
        "queue", "state", "dead", "letters", "in", "lease", "attempts", "backoff", "ms", "history",
        "retention", "created",
    ]  # fmt: skip
    (row,) = [row.split() for row in rows if row.split()[0] == queue_name]
    assert row[:5] == [queue_name, "paused", f"{queue_name}_dlq", "30", "s"]


def test_a_setting_out_of_range_is_wrong_usage(shell: Shell, queue_name: str) -> None:
    ended = shell.run("queues", "configure", queue_name, "--max-attempts", "0")

    assert ended.code == 2
    assert ended.err.startswith("meshhook queues configure: max_attempts is 0")


def test_configuring_a_queue_that_is_not_there_creates_none(shell: Shell) -> None:
    ended = shell.run("queues", "configure", "nowhere", "--max-attempts", "2")

    assert ended.code == 1
    assert '"nowhere" does not exist' in ended.err


def test_pause_and_resume(shell: Shell, queue_name: str, service: SyncQueueService) -> None:
    shell.run("enqueue", job_text())

    assert shell.run("queues", "pause", queue_name).out == f"{queue_name} is paused.\n"
    assert service.dequeue() is None
    assert shell.run("queues", "pause", queue_name).out == f"{queue_name} was paused already.\n"
    assert shell.run("queues", "resume", queue_name).out == f"{queue_name} is resumed.\n"
    assert service.dequeue() is not None
    assert shell.run("queues", "resume", queue_name).out == f"{queue_name} was not paused.\n"


def test_purge_deletes_all_jobs_when_told_to(shell: Shell, queue_name: str) -> None:
    shell.run("enqueue", stdin=job_lines(3))

    assert shell.run("queues", "purge", queue_name, "--yes").out == (
        f"Deleted 3 jobs of {queue_name}.\n"
    )
    assert shell.run("jobs", "list", "--json").json["jobs"] == []


@pytest.mark.parametrize("verb", ["purge", "drop"])
def test_nothing_is_destroyed_where_nobody_can_be_asked(
    shell: Shell, queue_name: str, verb: str
) -> None:
    shell.run("enqueue", stdin=job_lines(2))

    ended = shell.run("queues", verb, queue_name)

    assert ended.code == 2
    assert "2" in ended.err
    assert "give --yes" in ended.err
    assert len(shell.run("jobs", "list", "--json").json["jobs"]) == 2


@pytest.mark.parametrize("verb", ["purge", "drop"])
@pytest.mark.parametrize(("typed", "is_done"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_somebody_at_a_terminal_is_asked(
    shell: Shell, queue_name: str, verb: str, typed: str, *, is_done: bool
) -> None:
    shell.run("enqueue", stdin=job_lines(2))

    ended = shell.run("queues", verb, queue_name, keyboard=typed)

    assert ended.code == (0 if is_done else 1)
    assert "with 2 jobs" in ended.err or "2 at the moment" in ended.err
    jobs = shell.run("jobs", "list", "--json")
    assert (jobs.code == 1 or jobs.json["jobs"] == []) == is_done


def test_dropping_a_queue_that_is_not_there_fails(shell: Shell) -> None:
    ended = shell.run("queues", "drop", "nowhere", "--yes")

    assert (ended.code, ended.err) == (1, "meshhook queues drop: there is no queue nowhere\n")


def test_a_queue_whose_table_is_gone_is_repaired_by_create_and_dropped_by_drop(
    shell: Shell, admin: psycopg.Connection, new_name: str
) -> None:
    """Neither sends the user to the other."""
    shell.run("queues", "create", new_name, "--max-attempts", "3")

    def lose_the_table() -> None:
        admin.execute(f"drop table pgmq.q_{new_name}".encode())

    lose_the_table()
    lost = shell.run("enqueue", "--queue", new_name, stdin=job_lines(1))
    assert f'The queue "{new_name}" has lost its table.' in lost.err
    assert shell.run("queues", "create", new_name, "--json").json["max_attempts"] == 3
    assert shell.run("enqueue", "--queue", new_name, stdin=job_lines(1)).code == 0

    lose_the_table()
    dropped = shell.run("queues", "drop", new_name, keyboard="y\n")
    assert "whose table is gone already" in dropped.err + dropped.out
    assert dropped.code == 0
    assert shell.run("queues", "drop", new_name, "--yes").code == 1
    assert shell.run("queues", "create", new_name).code == 0


def test_a_queue_that_is_not_there_is_told_with_the_one_that_was_meant(
    shell: Shell, new_name: str
) -> None:
    shell.run("queues", "create", new_name)

    ended = shell.run("queues", "pause", new_name[:-1])

    assert f'Did you mean "{new_name}"?' in ended.err
