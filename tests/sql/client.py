"""MeshHook's SQL functions as Python methods, so that tests read as prose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.clock import Clock

Json = dict[str, Any]
Receipt = Mapping[str, Any] | int
"""A job as a claim gave it, or a bare id."""


class Api:
    """Calls functions as PostgREST does: as `service_role`, with arguments out of a JSON object.

    Args:
        connection: A superuser's. In a transaction, each call is a savepoint of it; otherwise each
            is a transaction.

    Attributes:
        calls: How often each function was called.
        search_path: Where the caller of the functions looks for names.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.search_path = '"$user", public'
        self.calls: Counter[str] = Counter()
        self._types: dict[str, dict[str, str]] = {}

    def call(self, function: str, /, **arguments: Any) -> Any:
        """Call a function with the arguments that are given, None as null."""
        self.calls[function] += 1
        statement = self._statement(function, arguments)
        with self.connection.transaction():
            self.connection.execute(
                f"set local role service_role; set local search_path = {self.search_path}"
            )
            row = self.connection.execute(statement, {"body": json.dumps(arguments)}).fetchone()
            self.connection.execute("reset role; reset search_path")
        assert row is not None
        return row[0]

    def look(self, query: str, *arguments: Any) -> list[Json]:
        """Run a query as the superuser."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.SQL(query), arguments).fetchall()

    def value(self, query: str, *arguments: Any) -> Any:
        """Return the one value of a query, run as the superuser."""
        row = self.connection.execute(sql.SQL(query), arguments).fetchone()
        assert row is not None
        return row[0]

    def arguments(self, function: str) -> dict[str, str]:
        """Return the types of a function's arguments by their names."""
        if function not in self._types:
            rows = self.connection.execute(
                "select a.name, a.type::regtype::text"
                " from pg_proc p, unnest(p.proargnames, p.proargtypes::oid[]) as a(name, type)"
                " where p.pronamespace = 'public'::regnamespace and p.proname = %s",
                [function],
            )
            self._types[function] = dict(rows.fetchall())
        return self._types[function]

    def _statement(self, function: str, arguments: Mapping[str, Any]) -> sql.Composed:
        name = sql.Identifier("public", function)
        if not arguments:
            return sql.SQL("select {}()").format(name)
        types = self.arguments(function)
        pairs = [sql.SQL("{0} => _.{0}").format(sql.Identifier(argument)) for argument in arguments]
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(argument), sql.SQL(types[argument]))
            for argument in arguments
        ]
        return sql.SQL("select {}({}) from json_to_record(%(body)s::json) as _({})").format(
            name, sql.SQL(", ").join(pairs), sql.SQL(", ").join(columns)
        )


class JobQueue:
    """The functions that take a queue.

    Args:
        api: How to call them.
        name: The queue.
    """

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    @property
    def dlq(self) -> DeadLetterQueue:
        """The dead letter queue that it has unless told otherwise."""
        return DeadLetterQueue(self.api, f"{self.name}_dlq")

    def create(self, **settings: Any) -> Json:
        """Create it, or change its settings."""
        answer: Json = self._call("create_queue", **settings)
        return answer

    def configure(self, **settings: Any) -> Json:
        """Change its settings."""
        answer: Json = self._call("configure_queue", **settings)
        return answer

    def pause(self) -> bool:
        """Hand out nothing."""
        return bool(self._call("pause_queue"))

    def resume(self) -> bool:
        """Hand out jobs again."""
        return bool(self._call("resume_queue"))

    def workers(self) -> list[Json]:
        """List the workers that were seen."""
        return list(self._call("list_workers"))

    def list_jobs(self, **more: Any) -> list[Json]:
        """List its jobs."""
        return list(self._call("list_jobs", **more))

    def drop(self, **more: Any) -> bool:
        """Drop it."""
        return bool(self._call("drop_queue", **more))

    def enqueue(self, messages: Any, **more: Any) -> Json:
        """Enqueue messages and return the whole answer."""
        answer: Json = self._call("enqueue", messages=messages, **more)
        return answer

    def send(self, *messages: Any, **more: Any) -> list[int]:
        """Enqueue messages and return their ids."""
        return list(self.enqueue(messages, **more)["msg_ids"])

    def dequeue(self, **more: Any) -> Json:
        """Claim jobs and return the whole answer."""
        answer: Json = self._call("dequeue", **more)
        return answer

    def claim(self, quantity: int = 1, **more: Any) -> list[Json]:
        """Claim jobs and return them."""
        return list(self.dequeue(quantity=quantity, **more)["jobs"])

    def claim_one(self, **more: Any) -> Json:
        """Claim a job that must be there."""
        (job,) = self.claim(**more)
        return job

    def settle(self, outcomes: Any, **more: Any) -> list[str]:
        """Settle jobs, each in its own way."""
        return list(self._call("settle", outcomes=outcomes, **more))

    def settle_and_dequeue(self, outcomes: Any, quantity: int, **more: Any) -> Json:
        """Settle jobs and claim the next."""
        answer: Json = self._call(
            "settle_and_dequeue", outcomes=outcomes, quantity=quantity, **more
        )
        return answer

    def acknowledge(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Complete jobs."""
        return list(self._call("acknowledge", **receipts(jobs), **more))

    def archive(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Complete jobs and keep their messages."""
        return list(self._call("archive", **receipts(jobs), **more))

    def retry(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Settle jobs as failed."""
        return list(self._call("retry", **receipts(jobs), **more))

    def release(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Hand jobs back."""
        return list(self._call("release", **receipts(jobs), **more))

    def dead_letter(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Move jobs to the dead letter queue."""
        return list(self._call("dead_letter", **receipts(jobs), **more))

    def extend(self, *jobs: Receipt, **more: Any) -> list[str]:
        """Extend leases and return the statuses."""
        return list(self._call("extend", **receipts(jobs), **more)["statuses"])

    def delete(self, *msg_ids: int, **more: Any) -> list[str]:
        """Delete jobs whoever holds them."""
        return list(self._call("delete", msg_ids=msg_ids, **more))

    def cancel(self, *msg_ids: int, **more: Any) -> list[str]:
        """Cancel jobs whoever holds them."""
        return list(self._call("cancel", msg_ids=msg_ids, **more))

    def purge(self, **more: Any) -> int:
        """Delete all jobs."""
        return int(self._call("purge", **more))

    def get_job(self, msg_id: int) -> Any:
        """Look a job up."""
        return self._call("get_job", msg_id=msg_id)

    def find_jobs(self, run_id: str | None, **more: Any) -> list[Json]:
        """Look the jobs of a run up."""
        return list(self._call("find_jobs", run_id=run_id, **more))

    def metrics(self) -> Json:
        """Measure it."""
        answer: Json = self._call("queue_metrics")
        return answer

    def prune(self, older_than_days: float | None = None, **more: Any) -> Json:
        """Prune the history of this queue alone."""
        answer: Json = self._call("prune", older_than_days=older_than_days, **more)
        return answer

    def claim_all(self) -> list[Json]:
        """Claim everything that is due."""
        return self.claim(1000)

    def rows(self) -> list[Json]:
        """Return the rows of its table, first one first."""
        return self.api.look(f'select * from pgmq."q_{self.name}" order by msg_id')

    def row(self) -> Json:
        """Return the one row of its table."""
        (row,) = self.rows()
        return row

    def archived(self) -> list[Json]:
        """Return the rows of its archive."""
        return self.api.look(f'select * from pgmq."a_{self.name}" order by msg_id')

    def pass_time(self, seconds: float) -> None:
        """Let time pass for its jobs, leases, memories and history."""
        Clock(self.api.connection, self.name).advance(seconds)

    def totals(self) -> Json:
        """Return its row of the view job_statistics."""
        (row,) = self.api.look(
            "select * from public.job_statistics where queue_name = %s", self.name
        )
        return row

    def history(self) -> list[Json]:
        """Return its finished jobs."""
        return self.api.look(
            "select j.* from meshhook.jobs j join meshhook.queues q using (queue_id)"
            " where q.queue_name = %s order by j.msg_id",
            self.name,
        )

    def attempts(self) -> list[Json]:
        """Return the failed attempts of its jobs."""
        return self.api.look(
            "select a.* from meshhook.attempts a join meshhook.queues q using (queue_id)"
            " where q.queue_name = %s order by a.msg_id, a.read_ct",
            self.name,
        )

    def _call(self, verb: str, **arguments: Any) -> Any:
        return self.api.call(f"meshhook_{verb}", queue_name=self.name, **arguments)


class DeadLetterQueue:
    """The functions that take a dead letter queue.

    Args:
        api: How to call them.
        name: The dead letter queue.
    """

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    @property
    def as_queue(self) -> JobQueue:
        """The same queue, for what any queue can do."""
        return JobQueue(self.api, self.name)

    def letters(self, **more: Any) -> list[Json]:
        """List dead letters."""
        return list(self._call("list_dead_letters", **more))

    def one(self) -> Json:
        """Return the one dead letter that is there."""
        (letter,) = self.letters()
        return letter

    def get(self, msg_id: int) -> Any:
        """Look a dead letter up."""
        return self._call("get_dead_letter", msg_id=msg_id)

    def group(self, **more: Any) -> dict[str, list[int]]:
        """Return the ids of the dead letters by their errors."""
        groups = self._call("group_dead_letters", **more)
        return {g["error"]: [job["msg_id"] for job in g["jobs"]] for g in groups}

    def count(self, **more: Any) -> Json:
        """Return the numbers of dead letters by their errors."""
        answer: Json = self._call("count_dead_letters", **more)
        return answer

    def replay(self, *msg_ids: int, **more: Any) -> Any:
        """Move dead letters back."""
        return self._call("replay", msg_ids=msg_ids, **more)

    def metrics(self) -> Json:
        """Measure it."""
        answer: Json = self._call("dlq_metrics")
        return answer

    def _call(self, verb: str, **arguments: Any) -> Any:
        return self.api.call(f"meshhook_{verb}", dlq_name=self.name, **arguments)


@attrs.define
class Refusal:
    """What a refused call said.

    Attributes:
        message: What is wrong.
        hint: What to do about it.
        field: The argument.
        value: What was given.
    """

    message: str = ""
    hint: str = ""
    field: str | None = None
    value: str | None = None


@contextmanager
def refused(code: str) -> Iterator[Refusal]:
    """Expect a call to be refused with an error of our own, whose detail is readable JSON."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as caught:
        yield refusal
    diagnosis = caught.value.diag
    assert diagnosis.sqlstate == code, f"{diagnosis.sqlstate}: {diagnosis.message_primary}"
    refusal.message = diagnosis.message_primary or ""
    refusal.hint = diagnosis.message_hint or ""
    detail = json.loads(diagnosis.message_detail or "{}")
    refusal.field, refusal.value = detail.get("field"), detail.get("value")


def receipts(jobs: Sequence[Receipt]) -> Json:
    """Return the arguments that name jobs: bare ids have no read counts."""
    if all(isinstance(job, int) for job in jobs):
        return {"msg_ids": jobs}
    return {
        "msg_ids": [job if isinstance(job, int) else job["msg_id"] for job in jobs],
        "read_cts": [None if isinstance(job, int) else job["read_ct"] for job in jobs],
    }


def outcome(kind: str, job: Receipt, **more: Any) -> Json:
    """Return what `settle` takes for one job."""
    named = {"msg_id": job} if isinstance(job, int) else {k: job[k] for k in ("msg_id", "read_ct")}
    return {"outcome": kind, **named, **more}


def ids(jobs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the ids of jobs."""
    return [job["msg_id"] for job in jobs]
