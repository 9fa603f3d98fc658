"""What the database says in the end: every job, every failed attempt, and the running totals."""

from __future__ import annotations

from typing import Any

import attrs
import psycopg
from psycopg import sql


@attrs.frozen
class Finished:
    """A finished job."""

    state: str
    attempts: int


@attrs.frozen
class FailedAttempt:
    """A failed attempt in the history."""

    read_ct: int
    attempt: int
    outcome: str
    error_type: str | None


@attrs.frozen
class Records:
    """What the database says of a queue.

    Attributes:
        finished: By id, the jobs that are finished.
        failed: By id, their failed attempts in order.
        queued: The ids that are in the queue yet.
        dead: The original ids of the dead letters, as often as they are there.
        statistics: The queue's row of the view job_statistics.
        retried: How many retries the running totals have.
    """

    finished: dict[int, Finished]
    failed: dict[int, list[FailedAttempt]]
    queued: list[int]
    dead: list[int]
    statistics: dict[str, Any]
    retried: int


def read_records(url: str, queue_name: str) -> Records:
    """Read what the database says of a queue."""
    with psycopg.connect(url, autocommit=True) as admin:
        return Records(
            finished=_finished(admin, queue_name),
            failed=_failed(admin, queue_name),
            queued=_ids(admin, queue_name, "msg_id"),
            dead=_ids(admin, f"{queue_name}_dlq", "(message ->> 'original_msg_id')::bigint"),
            statistics=_statistics(admin, queue_name),
            retried=_retried(admin, queue_name),
        )


def queue_length(url: str, queue_name: str) -> int:
    """Return how many jobs are in a queue."""
    with psycopg.connect(url, autocommit=True) as admin:
        return len(_ids(admin, queue_name, "msg_id"))


_OF_QUEUE = " where queue_id = (select queue_id from meshhook.queues where queue_name = %s)"


def _finished(admin: psycopg.Connection, queue_name: str) -> dict[int, Finished]:
    rows = admin.execute(
        "select msg_id, state, attempts from meshhook.jobs" + _OF_QUEUE, [queue_name]
    )
    return {msg_id: Finished(state, attempts) for msg_id, state, attempts in rows}


def _failed(admin: psycopg.Connection, queue_name: str) -> dict[int, list[FailedAttempt]]:
    rows = admin.execute(
        "select msg_id, read_ct, attempt, outcome, error_type from meshhook.attempts"
        + _OF_QUEUE
        + " order by msg_id, read_ct",
        [queue_name],
    )
    failed: dict[int, list[FailedAttempt]] = {}
    for msg_id, *fields in rows:
        failed.setdefault(msg_id, []).append(FailedAttempt(*fields))
    return failed


def _ids(admin: psycopg.Connection, queue_name: str, expression: str) -> list[int]:
    query = sql.SQL("select {} from {}").format(
        sql.SQL(expression), sql.Identifier("pgmq", f"q_{queue_name}")
    )
    return [row[0] for row in admin.execute(query)]


def _statistics(admin: psycopg.Connection, queue_name: str) -> dict[str, Any]:
    cursor = admin.execute(
        "select * from public.job_statistics where queue_name = %s", [queue_name]
    )
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return {column.name: value for column, value in zip(cursor.description, row, strict=True)}


def _retried(admin: psycopg.Connection, queue_name: str) -> int:
    query = "select coalesce(sum(retried), 0)::bigint from meshhook.totals" + _OF_QUEUE
    row = admin.execute(query, [queue_name]).fetchone()
    assert row is not None
    return int(row[0])
