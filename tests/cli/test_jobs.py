"""`meshhook jobs`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from meshhook import AttemptRecord, Job, SyncDLQService, SyncQueueService
from meshhook.cli.output import error_of
from tests.cli.conftest import Ended, Shell, job_lines, job_text

RUN = str(uuid.uuid4())


@pytest.fixture
def claimed(shell: Shell, service: SyncQueueService) -> Job:
    """A job that a worker has."""
    shell.run("enqueue", job_text())
    job = service.dequeue()
    assert job
    return job


def ids(ended: Ended) -> list[int]:
    return [job["msg_id"] for job in ended.json["jobs"]]


def test_list_shows_the_newest_first_and_pages(shell: Shell) -> None:
    shell.run("enqueue", stdin=job_lines(5))

    assert ids(shell.run("jobs", "list", "--json")) == [5, 4, 3, 2, 1]
    assert ids(shell.run("jobs", "list", "--json", "--limit", "2")) == [5, 4]
    assert ids(shell.run("jobs", "list", "--json", "--limit", "2", "--before", "4")) == [3, 2]


@pytest.mark.parametrize(
    ("argv", "onward"),
    [(("list",), ", or --before 4 to go on from here"), (("find", RUN), "")],
    ids=["list", "find"],
)
def test_a_list_that_is_cut_says_so(shell: Shell, argv: tuple[str, ...], onward: str) -> None:
    shell.run("enqueue", *[job_text(run_id=RUN)] * 5)

    cut = shell.run("jobs", *argv, "--limit", "2")

    assert len(cut.out.splitlines()) == 3
    assert cut.err == f"2 shown, and there are more: give a larger --limit{onward}.\n"
    assert shell.run("jobs", *argv, "--limit", "2", "--json").json["more"] is True
    assert shell.run("jobs", *argv, "--limit", "5").err == ""
    assert shell.run("jobs", *argv, "--limit", "5", "--json").json["more"] is False


def test_list_goes_on_beyond_one_call(shell: Shell) -> None:
    shell.run("enqueue", stdin=job_lines(1100))

    assert ids(shell.run("jobs", "list", "--json", "--limit", "1050")) == list(range(1100, 50, -1))


def test_list_by_state(shell: Shell, service: SyncQueueService) -> None:
    shell.run("enqueue", stdin=job_lines(3))
    shell.run("enqueue", job_text(), "--delay-seconds", "60")
    first, second = service.dequeue_many(2)
    service.acknowledge(first)

    assert ids(shell.run("jobs", "list", "--json", "--state", "available")) == [3]
    assert ids(shell.run("jobs", "list", "--json", "--state", "scheduled")) == [4]
    assert ids(shell.run("jobs", "list", "--json", "--state", "leased")) == [second.msg_id]
    assert ids(shell.run("jobs", "list", "--json", "--state", "completed")) == [first.msg_id]


def test_the_table_has_a_row_for_each_job(shell: Shell) -> None:
    run_id = str(uuid.uuid4())
    shell.run("enqueue", job_text(run_id=run_id))

    head, row = shell.run("jobs", "list").out.splitlines()

    assert head.split()[:4] == ["msg_id", "run_id", "state", "attempt"]
    assert row.split()[:4] == ["1", run_id, "available", "1"]


def test_an_empty_list_says_so_next_to_the_output(shell: Shell, queue_name: str) -> None:
    ended = shell.run("jobs", "list")

    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"There are no such jobs in {queue_name}.\n"


def test_a_state_that_there_is_not_is_wrong_usage(shell: Shell) -> None:
    assert shell.run("jobs", "list", "--state", "lost").code == 2


def test_show_tells_the_whole_life_of_a_job(shell: Shell, service: SyncQueueService) -> None:
    shell.run("enqueue", job_text(metadata={"word": "hello"}))
    job = service.dequeue()
    assert job
    service.retry(job, 0, "no such customer", "line 7")

    shown = shell.run("jobs", "show", "1").out
    record = shell.run("jobs", "show", "1", "--json").json

    assert '"word": "hello"' in shown
    assert "no such customer" in shown
    assert record["state"] == "available"
    assert record["attempt"] == 2
    assert record["attempts"][0]["error_message"] == "no such customer"
    assert record["message"]["metadata"] == {"word": "hello"}


def test_show_of_an_unknown_job_fails(shell: Shell, queue_name: str) -> None:
    ended = shell.run("jobs", "show", "99")

    assert ended.code == 1
    assert (
        ended.err == f"meshhook jobs show: there is no trace of job 99 in the queue {queue_name}\n"
    )


def test_find_by_run(shell: Shell) -> None:
    run_id = str(uuid.uuid4())
    shell.run("enqueue", job_text(run_id=run_id), job_text(), job_text(run_id=run_id))

    assert ids(shell.run("jobs", "find", run_id, "--json")) == [1, 3]
    assert shell.run("jobs", "find", run_id).out.count(run_id) == 2


def test_find_nothing_is_exit_code_1(shell: Shell) -> None:
    ended = shell.run("jobs", "find", str(uuid.uuid4()), "--json")

    assert (ended.code, ended.json) == (1, {"jobs": [], "more": False})


def test_cancel_a_waiting_job(shell: Shell, queue_name: str) -> None:
    shell.run("enqueue", job_text())

    assert shell.run("jobs", "cancel", "1").out == f"Cancelled job 1 in {queue_name}.\n"
    assert shell.run("jobs", "show", "1", "--json").json["state"] == "cancelled"

    again = shell.run("jobs", "cancel", "1")
    assert again.code == 1
    assert again.err.endswith("it is cancelled\n")


def test_cancel_takes_a_running_job_from_its_worker(
    shell: Shell, claimed: Job, service: SyncQueueService
) -> None:
    assert shell.run("jobs", "cancel", "1", "--json").json["cancelled"] is True
    assert service.extend(claimed) is False


def test_cancel_of_an_unknown_job_fails(shell: Shell) -> None:
    ended = shell.run("jobs", "cancel", "99")

    assert ended.code == 1
    assert ended.err.endswith("it is unknown\n")


def test_retry_makes_a_scheduled_job_due(shell: Shell, service: SyncQueueService) -> None:
    shell.run("enqueue", job_text(), "--delay-seconds", "600")
    assert service.dequeue() is None

    assert shell.run("jobs", "retry", "1").code == 0

    job = service.dequeue()
    assert job
    assert job.attempt == 1


def test_retry_makes_a_failed_job_due_without_using_an_attempt(
    shell: Shell, claimed: Job, service: SyncQueueService
) -> None:
    service.retry(claimed, 600, "no such customer")

    assert shell.run("jobs", "retry", "1", "--json").json["msg_id"] == 1

    job = service.dequeue()
    assert job
    assert job.attempt == 2


def test_retry_of_a_due_job_changes_nothing(shell: Shell, queue_name: str) -> None:
    shell.run("enqueue", job_text())

    assert shell.run("jobs", "retry", "1").out == f"Job 1 in {queue_name} is due now.\n"


def test_retry_replays_a_dead_letter(
    shell: Shell, claimed: Job, dead_letters: SyncDLQService, queue_name: str
) -> None:
    dead_letters.move_to_dead_letter(claimed, "no such customer")

    assert shell.run("jobs", "retry", "1", "--json").json == {"msg_id": 2, "queue_name": queue_name}
    assert shell.run("jobs", "show", "1", "--json").json["state"] == "replayed"


@pytest.mark.parametrize("state", ["leased", "completed"])
def test_retry_of_a_job_that_runs_or_is_done_fails(
    shell: Shell, claimed: Job, service: SyncQueueService, state: str
) -> None:
    if state == "completed":
        service.acknowledge(claimed)

    ended = shell.run("jobs", "retry", "1")

    assert ended.code == 1
    expected = "a worker has it" if state == "leased" else "it is completed"
    assert f"job 1 cannot run again: {expected}" in ended.err


@pytest.mark.usefixtures("admin")
def test_the_queue_may_be_an_option(shell: Shell, queue_name: str) -> None:
    shell.env["MESHHOOK_QUEUE"] = "nowhere"
    shell.run("enqueue", job_text(), "-q", queue_name)

    assert ids(shell.run("jobs", "list", "--json", "--queue", queue_name)) == [1]


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        ("RuntimeError", "RuntimeError: no mail", "RuntimeError: no mail"),
        ("RuntimeError", "RuntimeError", "RuntimeError"),
        ("RuntimeError", "no mail", "RuntimeError: no mail"),
        ("LeaseExpired", None, "LeaseExpired"),
        (None, "given up", "given up"),
    ],
)
def test_an_error_has_its_type_once(kind: str | None, message: str | None, shown: str) -> None:
    record = AttemptRecord(
        attempt=1,
        read_ct=1,
        outcome="failed",
        failed_at=datetime.now(UTC),
        error_type=kind,
        error_message=message,
    )

    assert error_of(record) == shown
