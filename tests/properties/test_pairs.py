"""Every public function beside every other, on the same jobs at the same time.

The jobs that both want are held, the first function is begun, then the second, which names the jobs
in the opposite order; then they are let go. Nothing may deadlock or be lost, whichever goes first.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.locks import DEADLINE_SECONDS
from tests.properties.profiles import FACTOR
from tests.sql.client import Api, JobQueue, Json, outcome
from tests.sql.databases import Database, Server
from tests.sql.races import Crew

Jobs = list[Json]
Call = Callable[[JobQueue, Jobs, list[int]], Any]
"""What a function does to claimed jobs and to dead letters of a queue."""

JOBS, LETTERS = 3, 2


def control(function: str, **more: Any) -> Call:
    """Return a call that takes a queue and nothing of its jobs."""
    return lambda queue, _, __: queue.api.call(function, queue_name=queue.name, **more)


def settle_mixed(queue: JobQueue, jobs: Jobs, _: list[int]) -> Any:
    kinds = ("complete", "retry", "dead_letter")
    return queue.settle([outcome(kind, job) for kind, job in zip(kinds, jobs, strict=True)])


def settle_and_dequeue(queue: JobQueue, jobs: Jobs, _: list[int]) -> Any:
    kinds = ("archive", "complete", "release")
    outcomes = [outcome(kind, job) for kind, job in zip(kinds, jobs, strict=True)]
    return queue.settle_and_dequeue(outcomes, 3)["statuses"]


CALLS: dict[str, Call] = {
    "meshhook_acknowledge": lambda queue, jobs, _: queue.acknowledge(*jobs),
    "meshhook_allow_user_enqueue": control("meshhook_allow_user_enqueue"),
    "meshhook_archive": lambda queue, jobs, _: queue.archive(*jobs),
    "meshhook_cancel": lambda queue, jobs, _: queue.api.call(
        "meshhook_cancel", queue_name=queue.name, msg_ids=[job["msg_id"] for job in jobs]
    ),
    "meshhook_configure_queue": control("meshhook_configure_queue", max_attempts=7),
    "meshhook_create_queue": lambda queue, _, __: queue.create(max_attempts=6),
    "meshhook_dead_letter": lambda queue, jobs, _: queue.dead_letter(*jobs),
    "meshhook_delete": lambda queue, jobs, _: queue.delete(*[job["msg_id"] for job in jobs]),
    "meshhook_dequeue": lambda queue, _, __: queue.claim(3),
    "meshhook_disallow_user_enqueue": control("meshhook_disallow_user_enqueue"),
    "meshhook_dlq_metrics": lambda queue, _, __: queue.dlq.metrics(),
    "meshhook_doctor": lambda queue, _, __: queue.api.call("meshhook_doctor"),
    "meshhook_drop_queue": lambda queue, _, __: queue.drop(drop_dlq=True),
    "meshhook_enqueue": lambda queue, _, __: queue.send({"run_id": "new"}, request_id="r"),
    "meshhook_extend": lambda queue, jobs, _: queue.extend(*jobs),
    "meshhook_find_jobs": lambda queue, _, __: queue.find_jobs("job 1"),
    "meshhook_get_dead_letter": lambda queue, _, letters: queue.dlq.get(letters[0]),
    "meshhook_get_job": lambda queue, jobs, _: queue.get_job(jobs[0]["msg_id"]),
    "meshhook_count_dead_letters": lambda queue, _, __: queue.dlq.count(),
    "meshhook_group_dead_letters": lambda queue, _, __: queue.dlq.group(),
    "meshhook_list_dead_letters": lambda queue, _, __: queue.dlq.letters(),
    "meshhook_list_jobs": control("meshhook_list_jobs"),
    "meshhook_list_queues": lambda queue, _, __: queue.api.call("meshhook_list_queues"),
    "meshhook_list_workers": control("meshhook_list_workers"),
    "meshhook_pause_queue": control("meshhook_pause_queue"),
    "meshhook_prune": lambda queue, _, __: queue.prune(0),
    "meshhook_purge": lambda queue, _, __: queue.purge(),
    "meshhook_queue_metrics": lambda queue, _, __: queue.metrics(),
    "meshhook_release": lambda queue, jobs, _: queue.release(*jobs),
    "meshhook_replay": lambda queue, _, letters: queue.dlq.replay(*letters),
    "meshhook_resume_queue": control("meshhook_resume_queue"),
    "meshhook_retry": lambda queue, jobs, _: queue.retry(*jobs, error_message="boom"),
    "meshhook_settle": settle_mixed,
    "meshhook_settle_and_dequeue": settle_and_dequeue,
    "meshhook_version": lambda queue, _, __: queue.api.call("meshhook_version"),
}
OF_USERS = "meshhook_user_enqueue"
"""It asks who is signed in, which only Supabase's schema `auth` tells; this database has none."""

LOOKS = {
    "meshhook_doctor",
    "meshhook_dlq_metrics",
    "meshhook_find_jobs",
    "meshhook_get_dead_letter",
    "meshhook_get_job",
    "meshhook_count_dead_letters",
    "meshhook_group_dead_letters",
    "meshhook_list_dead_letters",
    "meshhook_list_jobs",
    "meshhook_list_queues",
    "meshhook_list_workers",
    "meshhook_queue_metrics",
    "meshhook_version",
}
"""They change nothing, so two of them have nothing to race for."""

ENDS = {"meshhook_drop_queue", "meshhook_purge"}
"""After these there is nothing left to be counted."""

NO_QUEUE = {"MH001", "42P01"}
"""What is said of a queue that is dropped before or in the midst of a call."""


@pytest.fixture(scope="module")
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """Three connections and one that holds jobs."""
    server: Server = request.getfixturevalue("server")
    database: Database = server.create()
    database.migrate()
    with Crew(database, 3) as crew:
        yield crew
    server.drop(database)


class Field:
    """A queue with claimed jobs and dead letters, and what becomes of them.

    Args:
        crew: The connections.
        number: What tells the queue from the others.
    """

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self._api = Api(crew._watch)
        self.queue = JobQueue(self._api, f"pair_{number}")
        self.queue.create()
        self.queue.send(*[{"run_id": f"job {n}"} for n in range(JOBS + LETTERS)])
        claimed = self.queue.claim(JOBS + LETTERS, vt_seconds=3600)
        self.queue.dead_letter(*claimed[JOBS:])
        self.jobs = claimed[:JOBS]
        self.letters = [letter["msg_id"] for letter in self.queue.dlq.letters()]

    def run(self, names: tuple[str, ...]) -> list[Any]:
        """Begin functions one after the other while the middle job is held, then let all go on."""
        futures: list[Future[Any]] = []
        with ExitStack() as held:
            held.enter_context(self._crew.holding(self.queue.name, self.jobs[1]["msg_id"]))
            for number, name in enumerate(names):
                step = 1 if number % 2 == 0 else -1
                futures.append(self._begin(number, name, step))
        may_be_dropped = "meshhook_drop_queue" in names
        return [self._result(future, may_be_dropped=may_be_dropped) for future in futures]

    def _begin(self, number: int, name: str, step: int) -> Future[Any]:
        queue = self._crew.queue(number, self.queue.name)
        jobs, letters = self.jobs[::step], self.letters[::step]
        future = self._crew._threads.submit(lambda: CALLS[name](queue, jobs, letters))
        self._wait(future, self._crew.connections[number].info.backend_pid)
        return future

    def _wait(self, future: Future[Any], pid: int) -> None:
        """Wait until a call is done or waits for somebody."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if future.done() or self._api.value(
                "select cardinality(pg_blocking_pids(%s)) > 0", pid
            ):
                return
        message = f"backend {pid} neither waits nor ends"
        raise TimeoutError(message)

    def _result(self, future: Future[Any], *, may_be_dropped: bool) -> Any:
        """Return what a call returned; that the queue is gone is an answer too."""
        error = future.exception(timeout=2 * DEADLINE_SECONDS)
        if error is None:
            return future.result()
        if isinstance(error, psycopg.Error) and error.sqlstate in NO_QUEUE and may_be_dropped:
            return error.sqlstate
        raise error

    def assert_nothing_is_lost(self, names: tuple[str, ...]) -> None:
        """Find each job in one place, and the totals at what the rows say."""
        if ENDS & set(names):
            return
        waiting, letters = self.queue.rows(), self.queue.dlq.letters()
        totals, history = self.queue.totals(), self.queue.history()
        assert (totals["pending_jobs"], totals["dlq_jobs"]) == (len(waiting), len(letters))
        if "meshhook_prune" in names:
            return
        # What is dead is found among the letters, and where it was replayed, among the jobs again.
        finished = [job for job in history if job["state"] != "dead_lettered"]
        places = Counter(row["message"]["run_id"] for row in [*waiting, *letters])
        places.update(job["run_id"] for job in finished)
        expected = Counter({f"job {n}": 1 for n in range(JOBS + LETTERS)})
        if "meshhook_enqueue" in names:
            expected["new"] = 1
        assert places == expected, names
        completed = [job for job in finished if job["state"] in {"completed", "archived"}]
        buried = [job for job in history if job["state"] == "dead_lettered"]
        counted = (totals["completed_jobs"], totals["failed_jobs"])
        assert counted == (len(completed), len(buried)), names

    def close(self) -> None:
        """Drop the queue."""
        self.queue.drop(drop_dlq=True)


_NUMBERS = itertools.count()


def race(crew: Crew, *names: str) -> None:
    """Let functions race and see that all is well."""
    field = Field(crew, next(_NUMBERS))
    try:
        field.run(names)
        field.assert_nothing_is_lost(names)
    finally:
        field.close()


def test_every_function_races(crew: Crew) -> None:
    rows = crew._watch.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%'"
    ).fetchall()

    assert {name for (name,) in rows} == {*CALLS, OF_USERS}


@pytest.mark.parametrize("first", sorted(CALLS.keys() - LOOKS))
def test_a_function_and_any_other_on_the_same_jobs(crew: Crew, first: str) -> None:
    failed = {}
    for second in CALLS:
        try:
            race(crew, first, second)
        except psycopg.Error as error:
            failed[second] = str(error.diag.message_primary)

    assert failed == {}


def test_three_functions_on_the_same_jobs(crew: Crew) -> None:
    chance = random.Random(FACTOR)
    changing = sorted(CALLS.keys() - LOOKS)
    for _ in range(60 * FACTOR):
        race(crew, *chance.choices(changing, k=3))


def test_no_function_raises_a_serialization_failure(crew: Crew) -> None:
    """PostgREST repeats a request that fails with 40001, some versions for ever."""
    rows = crew._watch.execute(
        "select oid::regprocedure::text from pg_proc where prosrc ~* '40001|serialization_failure'"
        " and (pronamespace = 'meshhook'::regnamespace or proname like 'meshhook%')"
    ).fetchall()

    assert rows == []
