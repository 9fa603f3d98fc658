"""Jobs of every kind in a database of any age, and what must become of them by an upgrade."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.sql.client import Api, JobQueue, Json

QUEUE = "old_jobs"


class OldJobs:
    """Jobs that were there before an upgrade: waiting, delayed, running, done and dead.

    They are put there by the functions that the database has, and where it has none, by PGMQ's own,
    as in a project that used PGMQ before it used MeshHook.

    Args:
        connection: A superuser's.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self.queue = JobQueue(Api(connection), QUEUE)
        self.running: list[Json] = []
        self.kinds: list[str] = []
        self._create()
        if self._has("settle_and_dequeue", "dead_letter", "list_dead_letters"):
            self._finish_some()
        if self._has("dequeue") or not self._has("enqueue"):
            self._send("running")
            self.running = self._claim()
        self._send("waiting")
        self._send("delayed", 1000)

    def check(self) -> None:
        """Find each job where it was, and take it to its end."""
        # Other functions than before, perhaps with other arguments.
        queue = self.queue = JobQueue(Api(self.queue.api.connection), QUEUE)
        queue.create()
        assert [row["message"]["run_id"] for row in queue.rows()] == [
            kind for kind in ("running", "waiting", "delayed") if kind in self.kinds
        ]
        assert queue.acknowledge(*self.running) == ["ok"] * len(self.running)
        assert [job["message"]["run_id"] for job in queue.claim(10)] == ["waiting"]
        queue.pass_time(1001)
        rest = queue.claim(10)
        assert sorted(job["message"]["run_id"] for job in rest) == ["delayed", "waiting"]
        assert [job["attempt"] for job in rest if job["message"]["run_id"] == "waiting"] == [2]
        assert queue.acknowledge(*rest) == ["ok"] * 2
        if "dead" in self.kinds:
            self._check_finished()
        assert queue.rows() == []

    def _check_finished(self) -> None:
        queue = self.queue
        (letter,) = queue.dlq.letters()
        assert letter["message"]["error_message"] == "boom"
        states = {job["run_id"]: job["state"] for job in queue.history()}
        assert states["dead"] == "dead_lettered"
        assert states["done"] == "archived"
        assert [row["message"]["run_id"] for row in queue.archived()] == ["done"]
        (answer,) = queue.dlq.replay(letter["msg_id"])
        job = queue.claim_one()
        assert (job["msg_id"], job["message"]["run_id"]) == (answer["new_msg_id"], "dead")
        assert queue.acknowledge(job) == ["ok"]
        assert queue.totals()["failed_jobs"] == 1

    def _create(self) -> None:
        if self._has("create_queue"):
            self.queue.create()
        else:
            connection = self.queue.api.connection
            with connection.transaction():
                connection.execute("set local role postgres")
                connection.execute("select pgmq.create(%s)", [QUEUE])

    def _finish_some(self) -> None:
        self._send("dead")
        self.queue.dead_letter(self.queue.claim_one(), error_message="boom")
        self._send("done")
        self.queue.archive(self.queue.claim_one())

    def _send(self, kind: str, delay: int = 0) -> None:
        self.kinds.append(kind)
        if self._has("enqueue"):
            self.queue.send({"run_id": kind}, delay_seconds=delay)
        else:
            message = f'{{"run_id": "{kind}"}}'
            self.queue.api.value("select pgmq.send(%s, %s::jsonb, %s)", QUEUE, message, delay)

    def _claim(self) -> list[Json]:
        if self._has("dequeue"):
            return self.queue.claim(1, vt_seconds=3600)
        rows = self.queue.api.look("select msg_id, read_ct from pgmq.read(%s, 3600, 1)", QUEUE)
        return [dict[str, Any](row) for row in rows]

    def _has(self, *verbs: str) -> bool:
        return all(self.queue.api.arguments(f"meshhook_{verb}") for verb in verbs)
