"""Plans: what a call touches does not grow with what else is in the queue.

Rows and index entries are counted, by Postgres itself and exactly; no time is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import pytest

from tests.sql import trees
from tests.sql.client import Api, JobQueue, ids, outcome
from tests.sql.databases import Database

MANY = 30_000


@attrs.define
class Touched:
    """How much of a table was touched.

    Attributes:
        rows: Rows that were read one after the other, or fetched by an index.
        entries: Entries of its indexes that were read.
    """

    rows: int = 0
    entries: int = 0


def counters(api: Api, table: str) -> Touched:
    (row,) = api.look(
        "select pg_stat_get_xact_tuples_returned(i.indrelid)"
        "   + pg_stat_get_xact_tuples_fetched(i.indrelid) as rows,"
        " sum(pg_stat_get_xact_tuples_returned(i.indexrelid))::bigint as entries"
        " from pg_index i where i.indrelid = %s::regclass group by i.indrelid",
        table,
    )
    return Touched(**row)


@contextmanager
def touching(api: Api, table: str) -> Iterator[Touched]:
    """Tell, after the block, how much of a table it touched."""
    touched = Touched()
    with api.connection.transaction():
        before = counters(api, table)
        yield touched
        after = counters(api, table)
    touched.rows, touched.entries = after.rows - before.rows, after.entries - before.entries


def fill(queue: JobQueue, jobs: int, *, delay_seconds: float = 0, read_ct: int = 0) -> None:
    """Put jobs in a queue, faster than by enqueueing them."""
    queue.api.connection.execute(
        f'insert into pgmq."q_{queue.name}" (vt, read_ct, message)'
        " select clock_timestamp() + make_interval(secs => %s), %s, '{\"attempt\": 1}'"
        " from generate_series(1, %s)",
        [delay_seconds, read_ct, jobs],
    )


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[Api]:
    with database.admin() as connection:
        yield Api(connection)


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def full_queue(api: Api, request: pytest.FixtureRequest) -> Iterator[JobQueue]:
    """A queue with many jobs that wait, about which the planner knows something or nothing."""
    queue = JobQueue(api, "full")
    queue.create()
    fill(queue, MANY)
    if request.param == "analyzed":
        api.connection.execute("analyze pgmq.q_full")
    yield queue
    queue.drop(drop_dlq=True)


@pytest.mark.parametrize("quantity", [1, 10, 100, 1000])
def test_a_claim_touches_the_jobs_that_it_claims_and_no_other(
    full_queue: JobQueue, quantity: int
) -> None:
    with touching(full_queue.api, "pgmq.q_full") as touched:
        assert len(full_queue.claim(quantity)) == quantity

    assert touched.rows <= 3 * quantity + 10
    assert touched.entries <= 3 * quantity + 10


@pytest.mark.parametrize("quantity", [1, 10, 100, 1000])
def test_a_claim_that_starts_where_the_last_one_did_touches_no_others_either(
    full_queue: JobQueue, quantity: int
) -> None:
    with full_queue.api.connection.transaction(force_rollback=True):
        full_queue.api.value(
            "select set_config("
            " 'meshhook.due_from_' || queue_id, extract(epoch from first) || %s, true"
            ") from meshhook.queues, (select min(vt) as first from pgmq.q_full) m"
            " where queue_name = 'full'",
            " 9999999999",
        )
        with touching(full_queue.api, "pgmq.q_full") as touched:
            assert len(full_queue.claim(quantity)) == quantity

    assert touched.rows <= 3 * quantity + 10
    assert touched.entries <= 3 * quantity + 10


VERBS: dict[str, Callable[..., list[str]]] = {
    "acknowledge": JobQueue.acknowledge,
    "archive": JobQueue.archive,
    "retry": JobQueue.retry,
    "release": JobQueue.release,
    "dead_letter": JobQueue.dead_letter,
    "extend": JobQueue.extend,
    "delete": lambda queue, *jobs: queue.delete(*ids(jobs)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_settle_touches_the_jobs_that_it_settles_and_no_other(
    full_queue: JobQueue, verb: str
) -> None:
    jobs = full_queue.claim(50)

    with touching(full_queue.api, "pgmq.q_full") as touched:
        assert VERBS[verb](full_queue, *jobs) == ["ok"] * 50

    assert touched.rows <= 5 * 50 + 10
    # PGMQ's index still holds entries of rows that were changed.
    assert touched.entries <= 20 * 50


@pytest.mark.parametrize("verb", VERBS)
def test_a_settle_that_comes_too_late_touches_only_the_jobs_that_it_names(
    full_queue: JobQueue, verb: str
) -> None:
    jobs = [{**job, "read_ct": 99} for job in full_queue.claim(50)]
    if verb == "delete":
        jobs = [{**job, "msg_id": job["msg_id"] + 10 * MANY} for job in jobs]

    with touching(full_queue.api, "pgmq.q_full") as touched:
        assert "ok" not in VERBS[verb](full_queue, *jobs)

    assert touched.rows <= 5 * 50 + 10


@pytest.fixture(scope="module", params=["delayed", "claimed"])
def hidden_queue(api: Api, request: pytest.FixtureRequest) -> Iterator[JobQueue]:
    """A queue with many jobs that are not due, enqueued before a few that are."""
    queue = JobQueue(api, "hidden")
    queue.create()
    fill(queue, MANY, delay_seconds=3600, read_ct=int(request.param == "claimed"))
    queue.send(*[{}] * 50)
    yield queue
    queue.drop(drop_dlq=True)


def test_a_claim_does_not_walk_past_jobs_that_are_not_due(hidden_queue: JobQueue) -> None:
    touches = []
    for quantity in (10, 40, 10):
        with touching(hidden_queue.api, "pgmq.q_hidden") as touched:
            hidden_queue.claim(quantity, vt_seconds=7200)
        touches.append(touched)

    assert all(touched.rows <= 3 * 40 + 10 for touched in touches)
    assert all(touched.entries <= 4 * 50 for touched in touches)
    assert hidden_queue.claim() == []


def test_a_claim_does_not_walk_past_finished_jobs_again_and_again(api: Api) -> None:
    queue = JobQueue(api, "finished")
    queue.create()
    fill(queue, 10_000)
    while jobs := queue.claim(1000):
        queue.acknowledge(*jobs)
    queue.send(*[{}] * 20)
    queue.claim(10)

    with touching(api, "pgmq.q_finished") as touched:
        assert len(queue.claim(10)) == 10

    assert touched.rows <= 50
    assert touched.entries <= 1000
    queue.drop(drop_dlq=True)


def test_a_page_of_dead_letters_touches_its_letters_and_no_other(api: Api) -> None:
    queue = JobQueue(api, "letters")
    queue.create()
    fill(queue, MANY)

    with touching(api, "pgmq.q_letters") as touched:
        assert len(api.call("meshhook_list_dead_letters", dlq_name="letters", quantity=100)) == 100
        api.call("meshhook_get_dead_letter", dlq_name="letters", msg_id=MANY // 2)

    assert touched.rows <= 250
    queue.drop(drop_dlq=True)


@pytest.fixture(scope="module")
def old_queue(api: Api) -> Iterator[JobQueue]:
    """A queue with a long history."""
    queue = JobQueue(api, "old")
    queue.create()
    queue.send({})
    queue.acknowledge(queue.claim_one())
    queue_id = api.value("select queue_id from meshhook.queues where queue_name = 'old'")
    api.connection.execute(
        "insert into meshhook.jobs"
        " (queue_id, msg_id, run_id, state, attempts, enqueued_at, finished_at)"
        " select %s, 10 + n, 'r' || n, 'completed', 1, now(), now() - interval '9 days'"
        " from generate_series(1, %s) n",
        [queue_id, MANY],
    )
    api.connection.execute(
        "insert into meshhook.attempts (queue_id, msg_id, read_ct, attempt, outcome, failed_at)"
        " select %s, 10 + n, 1, 1, 'retried', now() - interval '9 days'"
        " from generate_series(1, %s) n",
        [queue_id, MANY],
    )
    api.connection.execute("analyze meshhook.jobs, meshhook.attempts")
    yield queue
    queue.prune(0, max_rows=100_000)
    queue.drop(drop_dlq=True)


def test_statistics_are_read_from_totals_and_not_from_history(old_queue: JobQueue) -> None:
    api = old_queue.api
    with touching(api, "meshhook.jobs") as jobs, touching(api, "meshhook.attempts") as attempts:
        api.look("select * from public.job_statistics")
        api.look("select * from public.queue_monitoring")

    assert (jobs, attempts) == (Touched(), Touched())


def test_statistics_read_no_more_totals_than_queues_have_slots(old_queue: JobQueue) -> None:
    with touching(old_queue.api, "meshhook.totals") as touched:
        old_queue.totals()

    queues = old_queue.api.value("select count(*) from meshhook.queues")
    assert touched.rows <= 32 * queues


@pytest.mark.parametrize("look", ["get_job", "find_jobs", "settle"])
def test_a_long_history_is_read_and_written_by_index(old_queue: JobQueue, look: str) -> None:
    api = old_queue.api
    with touching(api, "meshhook.jobs") as jobs, touching(api, "meshhook.attempts") as attempts:
        if look == "get_job":
            assert old_queue.get_job(500)["run_id"] == "r490"
        elif look == "find_jobs":
            assert ids(old_queue.find_jobs("r490")) == [500]
        else:
            old_queue.send({}, {})
            done, failed = old_queue.claim(2)
            old_queue.settle([outcome("complete", done), outcome("retry", failed)])

    assert jobs.rows <= 20
    assert attempts.rows <= 20


def test_a_prune_reads_what_it_prunes_and_no_more(old_queue: JobQueue) -> None:
    api = old_queue.api
    with touching(api, "meshhook.jobs") as jobs, touching(api, "meshhook.attempts") as attempts:
        assert old_queue.prune(7, max_rows=100)["jobs"] == 100

    assert jobs.rows <= 400
    assert attempts.rows <= 10


def test_a_prune_of_one_queue_does_not_read_the_history_of_all_others(
    old_queue: JobQueue,
) -> None:
    young = JobQueue(old_queue.api, "young")
    young.create()

    with touching(old_queue.api, "meshhook.jobs") as jobs:
        young.prune(7, max_rows=100)

    assert jobs.rows <= 1000
    young.drop(drop_dlq=True)


def inputs(node: trees.Node) -> list[trees.Node]:
    """Return the nodes that a node of a plan reads."""
    return [
        value
        for name, (value, *_) in node.fields.items()
        if name.endswith(("lefttree", "righttree", "subplan")) and isinstance(value, trees.Node)
    ]


def is_batch(node: trees.Node) -> bool:
    """Tell whether a node gives as many rows as a batch has; a total of it is one row."""
    if node.kind == "CTESCAN":
        return True
    is_total = node.kind == "AGG" and node.word("aggstrategy") == "0"
    return not is_total and any(map(is_batch, inputs(node)))


def joins_that_grow_with_the_square(tree: trees.Node) -> int:
    """Count loops in which each of a batch meets each of a batch again."""
    return sum(
        node.kind == "NESTLOOP"
        and node.fields["nestParams"] == ["<>"]
        and all(map(is_batch, inputs(node)))
        for node in tree.walk()
    )


def test_nothing_compares_each_job_of_a_batch_with_each_other(database: Database) -> None:
    found: Counter[str] = Counter()
    with database.admin() as connection:
        queue = JobQueue(Api(connection), "batches")
        queue.create()
        queue.send(*[{}] * 2000)
        queue.claim(200, request_id="r")
        calls: dict[str, Callable[[], object]] = {
            "dequeue": partial(queue.claim, 200),
            "repeated dequeue": partial(queue.claim, 200, request_id="r"),
            **{verb: partial(settle, queue, *queue.claim(200)) for verb, settle in VERBS.items()},
            "replay": partial(queue.dlq.replay, *range(1, 201)),
        }
        for name, call in calls.items():
            with trees.recorded(connection, "debug_print_plan") as plans:
                call()
            found[name] = sum(joins_that_grow_with_the_square(plan) for plan in plans)
        queue.drop(drop_dlq=True)

    assert found == dict.fromkeys(calls, 0)
