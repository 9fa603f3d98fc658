"""Queues that have lost a part: they say so, are repaired by a creation, and can be dropped."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.client import DeadLetterQueue, JobQueue, ids, refused
from tests.sql.databases import on_plain

PARTS = ["q_orders", "a_orders", "q_orders_dlq", "a_orders_dlq", "q_orders a_orders"]
lost_parts = pytest.mark.parametrize("lost", PARTS)


def lose(queue: JobQueue, *tables: str) -> None:
    """Drop tables behind MeshHook's back, with what makes them members of the extension."""
    for table in tables:
        for name in (table, f"{table}_msg_id_seq"):
            leave_extension(queue, name)
        queue.api.connection.execute(f"drop table pgmq.{table}".encode())


def leave_extension(queue: JobQueue, name: str) -> None:
    kinds = queue.api.look(
        "select case c.relkind when 'S' then 'sequence' else 'table' end as kind from pg_class c"
        " join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass"
        " join pg_extension e on e.oid = d.refobjid and d.deptype = 'e'"
        " where c.relname = %s and c.relnamespace = 'pgmq'::regnamespace",
        name,
    )
    for row in kinds:
        queue.api.connection.execute(
            f"alter extension pgmq drop {row['kind']} pgmq.{name}".encode()
        )


def parts(queue: JobQueue) -> set[str]:
    """Return what there is of the queue: its tables, its sequence, and its row in PGMQ's list."""
    rows = queue.api.look(
        "select relname as part from pg_class where relnamespace = 'pgmq'::regnamespace"
        " and relname = any (%s)"
        " union all select 'row' from pgmq.meta where queue_name = %s",
        [f"q_{queue.name}", f"a_{queue.name}", f"q_{queue.name}_msg_id_seq"],
        queue.name,
    )
    return {row["part"] for row in rows}


def indexed(queue: JobQueue) -> set[str]:
    """Return the first columns of the valid indexes of the queue's tables."""
    rows = queue.api.look(
        "select c.relname || '.' || a.attname as column from pg_index i"
        " join pg_class c on c.oid = i.indrelid"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]"
        " where c.relname in ('q_orders', 'a_orders') and i.indisvalid"
    )
    return {row["column"] for row in rows}


def works(queue: JobQueue) -> None:
    """Take jobs through all that needs each of the tables."""
    queue.send({"n": 1}, {"n": 2})
    archived, letter = queue.claim_all()[-2:]
    assert queue.archive(archived) == ["ok"]
    assert queue.dead_letter(letter) == ["ok"]
    dlq = DeadLetterQueue(queue.api, f"{queue.name}_dlq")
    (answer,) = dlq.replay(ids(dlq.letters())[-1])
    assert answer["status"] == "replayed"
    assert dlq.as_queue.prune(0) is not None


@lost_parts
def test_a_creation_repairs_whatever_is_missing_and_loses_nothing(
    queue: JobQueue, lost: str
) -> None:
    queue.create(max_attempts=2)
    queue.send({"n": 0}, {"n": 1}, {"n": 2})
    first, second, _ = queue.claim(3)
    queue.archive(first)
    queue.dead_letter(second)
    before = {name: queue.api.look(f"select * from pgmq.{name}") for name in PARTS[:4]}
    history = queue.history()

    lose(queue, *lost.split())
    answer = queue.create()

    assert (answer["created"], answer["max_attempts"]) == (False, 2)
    after = {name: queue.api.look(f"select * from pgmq.{name}") for name in PARTS[:4]}
    assert after == before | {name: [] for name in lost.split()}
    assert queue.history() == history
    works(queue)


@lost_parts
def test_what_is_left_of_a_queue_can_be_dropped_and_made_again(queue: JobQueue, lost: str) -> None:
    lose(queue, *lost.split())

    assert queue.drop(drop_dlq=True)

    assert parts(queue) == parts(queue.dlq.as_queue) == set()
    assert not queue.drop(drop_dlq=True)
    assert queue.create()["created"]
    works(queue)


def test_a_new_table_hands_out_no_id_that_an_older_one_may_have_given(queue: JobQueue) -> None:
    """By an old receipt, another job would be settled; in the archive, the ids must be unique."""
    queue.send(*[{"run_id": "old"}] * 4)
    done, archived, letter, held = queue.claim(4)
    queue.acknowledge(done)
    queue.archive(archived)
    queue.dead_letter(letter)
    lose(queue, "q_orders", "q_orders_dlq")
    queue.create()

    (new,) = queue.send({"run_id": "new"})
    queue.dead_letter(queue.claim_one())

    assert new > max(ids([done, archived, letter, held]))
    assert queue.acknowledge(held) == ["missing"]
    assert queue.get_job(done["msg_id"])["state"] == "completed"
    assert queue.get_job(letter["msg_id"])["dlq_msg_id"] != queue.dlq.one()["msg_id"]


def test_ids_go_on_after_those_of_a_repair_even_where_these_are_ahead_of_the_clock(
    queue: JobQueue,
) -> None:
    queue.api.value(
        "select setval(pg_get_serial_sequence('pgmq.q_orders', 'msg_id'), 1000000000000)"
    )
    queue.send({})
    queue.acknowledge(queue.claim_one())

    lose(queue, "q_orders")
    queue.create()

    assert queue.send({}) == [10**12 + 2]


def test_a_queue_that_pgmqs_list_has_lost_keeps_its_jobs_settings_and_history(
    queue: JobQueue,
) -> None:
    queue.create(max_attempts=2)
    queue.send({"run_id": "done"}, {"run_id": "waits"})
    queue.acknowledge(queue.claim_one())
    before = queue.rows()
    queue.api.connection.execute("delete from pgmq.meta where queue_name = 'orders'")

    answer = queue.create()

    assert (answer["created"], answer["max_attempts"]) == (False, 2)
    assert queue.rows() == before
    assert ids(queue.find_jobs("done")) == [1]
    assert queue.claim_one()["message"]["run_id"] == "waits"


def test_a_queue_that_pgmqs_list_has_lost_is_listed_again_by_the_next_change(
    queue: JobQueue,
) -> None:
    """So are the queues of a project that was paused and restored."""
    queue.send({"run_id": "waits"})
    lost = "delete from pgmq.meta where starts_with(queue_name, 'orders') returning queue_name"
    names = {row["queue_name"] for row in queue.api.look(lost)}
    assert names == {"orders", "orders_dlq"}

    listed = {one["queue_name"] for one in queue.api.call("meshhook_list_queues")}
    assert (names <= listed, queue.totals()["pending_jobs"]) == (True, 1)
    assert queue.claim_one()["message"]["run_id"] == "waits"

    found = queue.api.value("select count(*) from pgmq.meta where queue_name = 'orders'")
    assert found == 1


def test_indexes_that_are_missing_are_made_again(queue: JobQueue) -> None:
    before = indexed(queue)
    assert {"q_orders.vt", "a_orders.archived_at"} <= before
    queue.api.connection.execute("drop index pgmq.q_orders_vt_idx, pgmq.archived_at_idx_orders")
    queue.api.connection.execute("create index q_orders_vt_idx on pgmq.a_orders (vt)")

    queue.create()
    queue.create()

    assert indexed(queue) == before | {"a_orders.vt"}
    assert (
        queue.api.value("select count(*) from pg_index where indrelid = 'pgmq.q_orders'::regclass")
        == 2
    )


def test_new_tables_are_closed_and_old_ones_stay_as_they_are(queue: JobQueue) -> None:
    queue.api.connection.execute("alter table pgmq.q_orders disable row level security")
    lose(queue, "a_orders", "q_orders_dlq")

    queue.create()

    closed = queue.api.look(
        "select relname from pg_class where relrowsecurity and relname ~ '^[qa]_orders(_dlq)?$'"
    )
    assert {row["relname"] for row in closed} == {"a_orders", "q_orders_dlq", "a_orders_dlq"}


def test_a_queue_whose_table_is_gone_says_how_to_get_it_back(queue: JobQueue) -> None:
    lose(queue, "q_orders")

    with refused("MH001") as refusal:
        queue.send({})

    assert refusal.message == 'The queue "orders" has lost its table.'
    assert "create_queue" in refusal.hint
    assert (refusal.field, refusal.value) == ("queue_name", "orders")


def test_dead_letters_find_a_table_where_theirs_is_gone(queue: JobQueue) -> None:
    queue.send({})
    lose(queue, "q_orders_dlq")

    assert queue.dead_letter(queue.claim_one()) == ["ok"]

    assert queue.dlq.one()["message"]["error_message"] == "unknown error"


@on_plain
def test_a_drop_that_others_stand_in_the_way_of_drops_nothing(queue: JobQueue) -> None:
    queue.send({})
    queue.api.connection.execute("create view public.mine as select msg_id from pgmq.q_orders")

    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="q_orders"):
        queue.drop()

    assert parts(queue) == {"q_orders", "a_orders", "q_orders_msg_id_seq", "row"}
    assert len(queue.rows()) == 1


def test_a_table_of_a_queue_with_capitals_is_not_taken_for_another_queues(queue: JobQueue) -> None:
    api = queue.api
    api.connection.execute("set local role postgres")
    api.look("select pgmq.create('Mail')")
    api.connection.execute("reset role")
    mail = JobQueue(api, "mail")

    assert not mail.drop()
    with refused("MH002") as refusal:
        mail.create()

    assert refusal.field == "queue_name"
    assert {"q_mail", "a_mail"} <= parts(mail)
