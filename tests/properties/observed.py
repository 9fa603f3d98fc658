"""What a queue's tables hold, in the words of the model."""

from __future__ import annotations

from typing import Any

import attrs
import psycopg
from psycopg import sql

from tests.properties.model import Model

Snapshot = dict[str, Any]

_TAG = """
  coalesce(
    {0}.message ->> 'run_id', {0}.message ->> 0, {0}.message -> '_meshhook' -> 'original' ->> 0
  )
"""
_QUERY = """
  select jsonb_build_object(
    'jobs', (
      select coalesce(jsonb_object_agg(q.msg_id, jsonb_build_object(
        'tag', {tag_q}, 'read_ct', q.read_ct, 'visible', q.vt <= clock_timestamp()
      )), '{{}}') from pgmq.{queue} q
    ),
    'letters', (
      select coalesce(jsonb_object_agg(d.msg_id, jsonb_build_object(
        'tag', {tag_d}, 'original_msg_id', d.message -> 'original_msg_id',
        'read_count', d.message -> 'read_count', 'attempt', d.message -> 'attempt',
        'error', d.message ->> 'error_message' <> ''
      )), '{{}}') from pgmq.{dlq} d
    ),
    'archive', (
      select coalesce(jsonb_object_agg(a.msg_id, {tag_a}), '{{}}') from pgmq.{archive} a
    ),
    'history', (
      select coalesce(jsonb_object_agg(j.msg_id, jsonb_build_object(
        'state', j.state, 'attempts', j.attempts, 'dlq_msg_id', j.dlq_msg_id,
        'is_replayed', j.replayed_at is not null
      )), '{{}}') from meshhook.jobs j where j.queue_id = k.queue_id
    ),
    'failures', (
      select coalesce(jsonb_object_agg(
        f.msg_id || '/' || f.read_ct, jsonb_build_array(f.outcome, f.attempt)
      ), '{{}}') from meshhook.attempts f where f.queue_id = k.queue_id
    ),
    'totals', (
      select jsonb_build_object(
        'completed', coalesce(sum(t.completed), 0),
        'dead_lettered', coalesce(sum(t.dead_lettered), 0),
        'retried', coalesce(sum(t.retried), 0), 'attempts', coalesce(sum(t.attempts), 0),
        'max_attempt', coalesce(max(t.max_attempt), 0)
      ) from meshhook.totals t where t.queue_id = k.queue_id
    )
  ) from meshhook.queues k where k.queue_name = {name}
"""


@attrs.frozen
class Times:
    """When a job is due and when it came, in microseconds."""

    due: int
    came: int


class Tables:
    """The tables of one queue.

    Args:
        connection: A superuser's.
        queue_name: The queue.
    """

    def __init__(self, connection: psycopg.Connection, queue_name: str) -> None:
        self._connection = connection
        table = {
            part: sql.Identifier(name)
            for part, name in (
                ("queue", f"q_{queue_name}"),
                ("archive", f"a_{queue_name}"),
                ("dlq", f"q_{queue_name}_dlq"),
            )
        }
        tags = {f"tag_{alias}": sql.SQL(_TAG).format(sql.SQL(alias)) for alias in "qda"}
        self._query = sql.SQL(_QUERY).format(name=sql.Literal(queue_name), **table, **tags)
        self._times = sql.SQL(
            "select msg_id, (extract(epoch from vt) * 1000000)::bigint,"
            " (extract(epoch from enqueued_at) * 1000000)::bigint from pgmq.{queue}"
        ).format(**table)

    def snapshot(self) -> Snapshot:
        """Return all that is in them."""
        row = self._connection.execute(self._query).fetchone()
        assert row is not None
        snapshot: Snapshot = row[0]
        return snapshot

    def times(self) -> dict[int, Times]:
        """Return when each job is due and when it came."""
        rows = self._connection.execute(self._times).fetchall()
        return {msg_id: Times(due, came) for msg_id, due, came in rows}


def expected(model: Model) -> Snapshot:
    """Return what the tables should hold."""
    return {
        "jobs": {
            str(msg_id): {
                "tag": job.tag,
                "read_ct": job.read_ct,
                "visible": model.is_visible(msg_id),
            }
            for msg_id, job in model.jobs.items()
        },
        "letters": {
            str(msg_id): {
                "tag": letter.tag,
                "original_msg_id": letter.original_msg_id,
                "read_count": letter.read_count,
                "attempt": letter.attempt,
                "error": True,
            }
            for msg_id, letter in model.letters.items()
        },
        "archive": {str(msg_id): tag for msg_id, tag in model.archive.items()},
        "history": {
            str(msg_id): {
                "state": one.state,
                "attempts": one.attempts,
                "dlq_msg_id": one.dlq_msg_id,
                "is_replayed": one.is_replayed,
            }
            for msg_id, one in model.history.items()
        },
        "failures": {
            f"{msg_id}/{read_ct}": [outcome, attempt]
            for (msg_id, read_ct), (outcome, attempt) in model.failures.items()
        },
        "totals": {
            "completed": model.totals.completed,
            "dead_lettered": model.totals.dead_lettered,
            "retried": model.totals.retried,
            "attempts": model.totals.attempts,
            "max_attempt": model.totals.max_attempt,
        },
    }
