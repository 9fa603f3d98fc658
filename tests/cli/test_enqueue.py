"""`meshhook enqueue`: from arguments, files and pipes, and on after a failure."""

from __future__ import annotations

import io
import re
import signal
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meshhook import EnqueueBatch, SyncQueueService, UnreachableError
from meshhook.cli.enqueue import json_lines
from meshhook.cli.exits import CommandError
from tests.cli.conftest import Shell, job_lines, job_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def numbers(shell: Shell) -> list[int]:
    """Return the numbers of all jobs in the queue, in their order there."""
    jobs = shell.run("jobs", "list", "--json", "--limit", "10000").json["jobs"]
    return [job["message"]["metadata"]["number"] for job in reversed(jobs)]


def test_a_job_as_an_argument(shell: Shell, queue_name: str) -> None:
    ended = shell.run("enqueue", job_text(metadata={"number": 7}))

    assert (ended.code, ended.out) == (0, "1\n")
    assert ended.err == f"1 job is enqueued in {queue_name}.\n"
    assert numbers(shell) == [7]


def test_several_jobs_as_arguments(shell: Shell) -> None:
    ended = shell.run("enqueue", job_text(), job_text(), "--json")

    assert ended.json == {"msg_ids": [1, 2], "duplicate": False}


def test_arguments_with_the_same_content_are_different_jobs(shell: Shell) -> None:
    job = job_text()

    assert [shell.run("enqueue", job).out for _ in range(2)] == ["1\n", "2\n"]


def test_an_idempotency_key_enqueues_once(shell: Shell) -> None:
    def enqueue() -> Any:
        return shell.run("enqueue", job_text(), "--idempotency-key", "order-17", "--json").json

    assert enqueue() == {"msg_ids": [1], "duplicate": False}
    assert enqueue() == {"msg_ids": [1], "duplicate": True}


def test_a_delay_hides_the_job(shell: Shell) -> None:
    shell.run("enqueue", job_text(), "--delay-seconds", "600")

    assert shell.run("jobs", "show", "1", "--json").json["state"] == "scheduled"


def test_jobs_of_arguments_and_of_a_file_wait_for_their_time(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text(job_lines(1))
    nine = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)

    shell.run("enqueue", job_text(), "--run-at", nine.isoformat())
    shell.run("enqueue", "--file", str(file), "--run-at", nine.isoformat())
    again = shell.run("enqueue", "--file", str(file), "--run-at", nine.isoformat(), "--json")

    jobs = shell.run("jobs", "list", "--json").json["jobs"]
    assert [datetime.fromisoformat(job["vt"]) for job in jobs] == [nine, nine]
    assert again.json["known"] == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{}", "--run-at", "soon"], "--run-at soon: give a time with its zone"),
        (["{}", "--run-at", "2027-01-01T09:00"], "--run-at 2027-01-01T09:00: give a time with"),
        (
            ["{}", "--run-at", "2027-01-01T09:00Z", "--delay-seconds", "5"],
            "give --run-at or --delay-seconds, not both",
        ),
        (["{"], "job 1 is not JSON"),
        (["[]"], "job 1 is not a JSON object"),
        (["{}", "7"], "job 2 is not a JSON object"),
        (["{}"], "jobs[0].run_id is missing"),
        (["{}", "--file", "x"], "give jobs as arguments or in a --file, not both"),
        (["--file", "none.jsonl"], "--file none.jsonl: No such file or directory"),
        (["--idempotency-key", "a", "-"], "--idempotency-key is for arguments"),
        (["--metadata", "{"], "--metadata is not JSON"),
        (["--metadata", "[]"], "--metadata is not a JSON object"),
        (["--metadata", "{}", "--run-id", "x"], "jobs[0].run_id is 'x'"),
        (["--metadata", "{}", "{}"], "--metadata is a job of its own"),
        (["--run-id", "x"], "go with --metadata"),
        (["{}", "--upload", "a"], "--upload is for a --file or a pipe"),
        (["{}", "--batch-size", "1000"], "--batch-size is for a --file or a pipe"),
        (["{}", "--resume-from", "1"], "--resume-from is for a --file or a pipe"),
        (["--metadata", "{}", "--again"], "--again is for a --file or a pipe"),
        (
            ["--metadata", "{}", "--run-at", "2027-01-01T09:00Z", "--delay-seconds", "5"],
            "give --run-at or --delay-seconds, not both",
        ),
    ],
)
def test_what_is_not_usable_is_told_and_nothing_is_sent(
    shell: Shell, argv: list[str], message: str
) -> None:
    ended = shell.run("enqueue", *argv)

    assert ended.code == 2
    assert message in ended.err
    assert numbers(shell) == []


def test_a_terminal_is_no_pipe(shell: Shell) -> None:
    ended = shell.run("enqueue", keyboard="")

    assert ended.code == 2
    assert "give jobs as arguments, in a --file, or through a pipe" in ended.err


@pytest.mark.parametrize("argv", [(), ("-",)])
def test_json_lines_through_a_pipe(shell: Shell, argv: tuple[str, ...]) -> None:
    ended = shell.run("enqueue", *argv, "--json", stdin=job_lines(5))

    assert ended.json == {
        "lines": 5,
        "enqueued": 5,
        "known": 0,
        "first_msg_id": 1,
        "last_msg_id": 5,
    }
    assert numbers(shell) == [0, 1, 2, 3, 4]


def test_json_lines_out_of_a_file_in_batches(shell: Shell, queue_name: str) -> None:
    Path("jobs.jsonl").write_text(job_lines(2500))

    ended = shell.run("enqueue", "--file", "jobs.jsonl")

    assert (ended.code, ended.out) == (0, f"Enqueued 2500 jobs in {queue_name}.\n")
    assert numbers(shell) == list(range(2500))


def test_an_empty_pipe_enqueues_nothing(shell: Shell, queue_name: str) -> None:
    assert shell.run("enqueue", stdin="\n \n").out == f"Enqueued 0 jobs in {queue_name}.\n"


def test_a_file_that_is_enqueued_again_is_known_unless_told_otherwise(shell: Shell) -> None:
    Path("jobs.jsonl").write_text(job_lines(25))
    batches = ("--file", "jobs.jsonl", "--batch-size", "10")

    first = shell.run("enqueue", *batches, "--json").json
    second = shell.run("enqueue", *batches)
    third = shell.run("enqueue", *batches, "--again", "--json").json

    assert (first["enqueued"], first["known"]) == (25, 0)
    assert second.out.startswith("Enqueued 0 jobs")
    assert second.err == (
        "25 jobs were there already, from an earlier run; --again enqueues them once more.\n"
    )
    assert (third["enqueued"], third["known"]) == (25, 0)
    assert len(numbers(shell)) == 50


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_a_terminal_gets_a_bar(shell: Shell, way: str) -> None:
    lines = job_lines(3)
    Path("jobs.jsonl").write_text(lines)
    source = ("--file", "jobs.jsonl") if way == "file" else ()

    ended = shell.run("enqueue", *source, stdin=lines, is_terminal=True)

    assert ended.code == 0
    assert "enqueueing" in ended.err
    assert "3 lines" in ended.err
    assert "enqueueing" not in ended.out


def test_the_same_through_a_pipe_is_enqueued_again(shell: Shell) -> None:
    lines = job_lines(3)

    shell.run("enqueue", stdin=lines)
    shell.run("enqueue", stdin=lines)

    assert numbers(shell) == [0, 1, 2, 0, 1, 2]


def test_a_named_upload_through_a_pipe_is_enqueued_once(shell: Shell) -> None:
    lines = job_lines(3)

    for _ in range(2):
        ended = shell.run("enqueue", "--upload", "nightly-17", stdin=lines)

    assert ended.err == "3 jobs were there already, from an earlier run.\n"
    assert numbers(shell) == [0, 1, 2]


def test_a_bad_line_ends_the_upload_with_the_line_to_go_on_from(shell: Shell) -> None:
    lines = job_lines(25).splitlines()
    lines[13] = "{nonsense"
    Path("jobs.jsonl").write_text("\n".join(lines))
    batches = ("--file", "jobs.jsonl", "--batch-size", "10")

    ended = shell.run("enqueue", *batches)

    assert ended.code == 1
    assert "line 14, column 2 is not JSON" in ended.err
    assert "The 10 jobs before line 11 are done" in ended.err
    assert "go on with --resume-from 11 --batch-size 10" in ended.err
    assert numbers(shell) == list(range(10))

    lines[13] = job_text(metadata={"number": 13})
    Path("jobs.jsonl").write_text("\n".join(lines))
    assert shell.run("enqueue", *batches, "--resume-from", "11").code == 0
    assert numbers(shell) == list(range(25))


def test_a_job_that_is_not_usable_is_told_by_its_line(shell: Shell) -> None:
    good = job_lines(2)

    ended = shell.run("enqueue", stdin=f"{good}\n{{}}\n")

    assert ended.code == 2
    assert "line 4.run_id is missing" in ended.err
    assert "jobs[" not in ended.err


def lose_answer_of_batch(number: int) -> Callable[..., EnqueueBatch]:
    """Return an `enqueue_many` whose answer to one batch is lost, after it was carried out."""
    real = SyncQueueService.enqueue_many
    sent = 0

    def enqueue_many(self: SyncQueueService, *args: Any, **kwargs: Any) -> EnqueueBatch:
        nonlocal sent
        sent += 1
        batch = real(self, *args, **kwargs)
        if sent == number:
            message = "meshhook_enqueue: no connection (reset)."
            raise UnreachableError(message, function="meshhook_enqueue")
        return batch

    return enqueue_many


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_an_upload_goes_on_after_a_lost_answer_and_enqueues_nothing_twice(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    lines = job_lines(35)
    Path("jobs.jsonl").write_text(lines)
    source = ("--file", "jobs.jsonl") if way == "file" else ()
    with monkeypatch.context() as patch:
        patch.setattr(SyncQueueService, "enqueue_many", lose_answer_of_batch(2))
        failed = shell.run("enqueue", *source, "--batch-size", "10", stdin=lines)

    assert failed.code == 3
    match = re.search(r"go on with (--resume-from 11 --batch-size 10.*)$", failed.err.rstrip())
    assert match
    assert ("--upload" in match[1]) == (way == "pipe")

    ended = shell.run("enqueue", *source, *match[1].split(), "--json", stdin=lines)

    assert (ended.code, ended.json["enqueued"], ended.json["known"]) == (0, 15, 10)
    assert numbers(shell) == list(range(35))


def test_an_interrupted_upload_says_how_to_go_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SyncQueueService, "enqueue_many", interrupted)

    ended = shell.run("enqueue", "--upload", "mine", stdin=job_lines(3))

    assert ended.code == 130
    assert "interrupted. The 0 jobs before line 1 are done; go on with --resume-from 1" in ended.err
    assert ended.err.endswith("--upload mine\n")


@pytest.mark.parametrize(
    "options",
    [
        "--delay-seconds 60 --idempotency-seconds 7200",
        "--run-at 2027-01-01T09:00:00+01:00 --batch-size 2",
    ],
)
def test_the_hint_how_to_go_on_has_each_option_that_makes_a_batch_the_same_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    Path("jobs.jsonl").write_text(job_lines(3))
    monkeypatch.setattr(SyncQueueService, "enqueue_many", lose_answer_of_batch(1))

    ended = shell.run("enqueue", "--file", "jobs.jsonl", *options.split())

    (hint,) = re.findall(r"go on with --resume-from 1 (.*)$", ended.err.rstrip())
    assert hint.split() == options.split()


def test_a_dry_run_tells_every_bad_line_and_sends_nothing(shell: Shell) -> None:
    """Those of several batches, also what is only seen once all else is right."""
    lines = job_lines(12).splitlines()
    lines[1] = "{nonsense"
    lines[3] = '{"run_id": 1}'
    lines[4] = job_text(metadata={"blob": "x" * 70_000_000})
    lines[10] = "[1]"
    Path("jobs.jsonl").write_text("\n".join(lines))
    argv = ("enqueue", "--file", "jobs.jsonl", "--batch-size", "6", "--dry-run")

    ended = shell.run(*argv)

    told = ended.out.splitlines()
    assert ended.code == 1
    assert told[0] == "line 2, column 2 is not JSON: write one JSON object on each line"
    assert told[1].startswith("line 4, run_id is 1: give a UUID")
    assert [line.split(" is ")[0] for line in told[2:-2]] == [
        "line 4, workflow_id", "line 4, project_id", "line 5",
    ]  # fmt: skip
    assert told[-2] == (
        "line 11 is not a JSON object but an array: write one JSON object on each line"
    )
    assert told[-1] == (
        f"A dry run: nothing was sent. 8 jobs would be enqueued in {shell.env['MESHHOOK_QUEUE']},"
        " 4 lines are bad."
    )
    assert "resume" not in ended.err + ended.out
    assert numbers(shell) == []

    report = shell.run(*argv, "--json").json
    assert (report["dry_run"], report["would_enqueue"], report["bad"]) == (True, 8, 4)
    assert report["problems"][0] == {
        "line": 2, "column": 2, "field": None, "value": "not JSON",
        "fix": "write one JSON object on each line",
    }  # fmt: skip


def test_a_dry_run_needs_no_project_and_takes_what_a_real_run_takes(bare_shell: Shell) -> None:
    def dry_run(*argv: str, stdin: str = "") -> tuple[int, str]:
        ended = bare_shell.run("enqueue", "--dry-run", "--queue", "q", *argv, stdin=stdin)
        return ended.code, ended.out

    well = "A dry run: nothing was sent. {} would be enqueued in q, 0 {} are bad.\n"
    assert dry_run(stdin=job_lines(3)) == (0, well.format("3 jobs", "lines"))
    assert dry_run(*[job_text()] * 10_001) == (0, well.format("10001 jobs", "jobs"))
    assert dry_run("--metadata", '{"a": 1}') == (0, well.format("1 job", "jobs"))
    assert dry_run("--batch-size", "1", stdin="{\n{\n{")[1].count("is not JSON") == 3

    code, out = dry_run(job_text(), "{}", "{")
    assert code == 1
    assert "job 2, run_id is missing" in out
    assert "job 3, column 2 is not JSON" in out

    ended = bare_shell.run("enqueue", "--dry-run", "--queue", "Q", stdin=job_lines(1))
    assert ended.code == 2
    assert "queue_name is 'Q'" in ended.err


def test_a_job_of_its_metadata_alone_gets_its_ids(shell: Shell, queue_name: str) -> None:
    def enqueue(*argv: str) -> Any:
        return shell.run("enqueue", "--metadata", '{"number": 7}', *argv, "--json").json

    first, second = enqueue(), enqueue()
    assert first["msg_ids"] == [1]
    assert first["run_id"] != second["run_id"]
    assert {first["workflow_id"], first["project_id"]} == {second["workflow_id"]}
    assert shell.run("jobs", "find", first["run_id"], "--json").json["jobs"][0]["msg_id"] == 1

    given = "5f0c7a52-7d5b-4c0e-9c29-3f6f4e0f9f5e"
    third = enqueue("--run-id", given, "--project-id", given)
    assert (third["run_id"], third["project_id"]) == (given, given)
    assert third["workflow_id"] == first["workflow_id"]

    keyed, again = enqueue("--idempotency-key", "a"), enqueue("--idempotency-key", "a")
    assert again == {**keyed, "duplicate": True}
    assert numbers(shell) == [7, 7, 7, 7]

    ended = shell.run("enqueue", "--metadata", "{}")
    run_id = shell.run("jobs", "show", "5", "--json").json["run_id"]
    assert (ended.out, ended.err) == (
        "5\n",
        f"1 job is enqueued in {queue_name}, run_id {run_id}.\n",
    )


@contextmanager
def half_a_pipe(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Start an upload whose first batch is enqueued, and whose pipe stays open."""
    with shell.start("enqueue", "--batch-size", "2", stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(job_lines(2))
        running.stdin.flush()
        while len(shell.run("jobs", "list", "--json").json["jobs"]) < 2:
            pass  # the test's own time limit bounds it
        yield running


def test_sigterm_in_the_middle_of_a_pipe_says_where(shell: Shell) -> None:
    with half_a_pipe(shell) as running:
        running.terminate()
        running.wait()
        assert running.stderr is not None
        err = running.stderr.read()

    assert running.returncode == 143
    assert "interrupted. The " in err
    assert "go on with --resume-from" in err


def test_a_pipe_of_any_length_is_read_as_it_comes(shell: Shell) -> None:
    with half_a_pipe(shell) as running:
        out, _ = running.communicate(job_lines(1))

    assert out.startswith("Enqueued 3 jobs")


def test_ctrl_c_in_the_middle_of_a_pipe_says_where(shell: Shell) -> None:
    with half_a_pipe(shell) as running:
        running.send_signal(signal.SIGINT)
        running.wait()  # the pipe stays open: its end would be the upload's
        assert running.stderr is not None
        err = running.stderr.read()

    assert running.returncode == 130
    # Whether the answer to the first batch had been read by then is left open.
    assert re.search(
        r"interrupted\. The (2 jobs before line 3|0 jobs before line 1) are done;"
        r" go on with --resume-from [13] --batch-size 2 --upload \w+$",
        err.rstrip(),
    )
    assert err.count("\n") == 1


def chunks(text: bytes, size: int = 2, first: int = 1) -> list[json_lines.Chunk]:
    return list(json_lines.chunks(io.BytesIO(text), size, first))


def test_chunks_have_the_numbers_of_their_lines() -> None:
    found = chunks(b'\xef\xbb\xbf{"a":1}\n\n  {"a":2} \r\n{"a":3}', 2)

    assert [[line.number for line in chunk.lines] for chunk in found] == [[1, 3], [4]]
    assert [chunk.jobs() for chunk in found] == [[{"a": 1}, {"a": 2}], [{"a": 3}]]
    assert [chunk.end_bytes for chunk in found] == [24, 31]


def test_a_chunk_ends_before_it_gets_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_CHUNK_BYTES", 10)

    found = chunks(b'{"a":1}\n' * 5, 100)

    assert [len(chunk.lines) for chunk in found] == [2, 2, 1]


def test_resuming_at_the_beginning_of_a_chunk_makes_the_same_chunks() -> None:
    text = job_lines(7).encode()
    whole, rest = chunks(text, 3), chunks(text, 3, 4)

    assert [chunk.request_id("x") for chunk in rest] == [
        chunk.request_id("x") for chunk in whole[1:]
    ]


def test_another_place_content_or_name_makes_another_request() -> None:
    (one,) = chunks(b'{"a":1}\n')
    (other,) = chunks(b'{"a":2}\n')
    (later,) = chunks(b'\n{"a":1}\n')

    ids = [chunk.request_id("x") for chunk in (one, other, later)]
    assert len({*ids, one.request_id("y")}) == 4
    assert len(one.request_id("x")) < 255


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"[1]", "is not a JSON object but an array"),
        (b'"a"', "is not a JSON object but a string"),
        (b"7", "is not a JSON object but a number"),
        (b"true", "is not a JSON object but true or false"),
        (b"null", "is not a JSON object but null"),
        (b"{'a': 1}", "column 2 is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_line_that_is_no_job_is_told(line: bytes, what: str) -> None:
    (chunk,) = chunks(b"\n" + line)

    with pytest.raises(CommandError, match="line 2") as caught:
        chunk.jobs()

    assert what in str(caught.value)
