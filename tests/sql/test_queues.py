"""Queues: how they come, what they are called, what their settings are, and how they go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.locks import wait_until_blocked
from tests.sql.client import Api, DeadLetterQueue, JobQueue, Json, ids, refused
from tests.sql.databases import Database, on_plain

DEFAULTS = {
    "queue_name": "other",
    "dlq_name": "other_dlq",
    "vt_seconds": 30,
    "max_attempts": 5,
    "base_delay_ms": 1000,
    "max_delay_ms": 300_000,
    "keeps_history": True,
    "has_dead_letters": True,
    "retention_days": None,
    "paused_at": None,
}
LONGEST = "q" * 47


@pytest.fixture
def other(api: Api) -> JobQueue:
    """The name of a queue that is not there yet."""
    return JobQueue(api, "other")


def made_by_hand(api: Api, name: str) -> JobQueue:
    """Create a queue with PGMQ alone, as the dashboard does."""
    api.connection.execute("set local role postgres")
    api.look("select pgmq.create(%s)", name)
    api.connection.execute("reset role")
    return JobQueue(api, name)


def pgmq_queues(api: Api) -> list[str]:
    return [row["queue_name"] for row in api.look("select queue_name from pgmq.meta order by 1")]


def listed(api: Api) -> dict[str, Json]:
    return {queue["queue_name"]: queue for queue in api.call("meshhook_list_queues")}


def test_the_migrations_create_the_queues_of_the_original(api: Api) -> None:
    assert listed(api)["workflow_jobs"]["dlq_name"] == "workflow_jobs_dlq"
    assert JobQueue(api, "workflow_jobs").send({})
    assert DeadLetterQueue(api, "workflow_jobs_dlq").letters() == []


def test_a_new_queue_has_a_dead_letter_queue_and_default_settings(other: JobQueue) -> None:
    answer = other.create()

    assert answer.pop("created_at")
    assert answer == {**DEFAULTS, "created": True}
    assert {"other", "other_dlq"} <= set(pgmq_queues(other.api))


def test_a_queue_that_is_there_keeps_what_is_left_out(other: JobQueue) -> None:
    settings = {
        "vt_seconds": 60.5,
        "max_attempts": 2,
        "base_delay_ms": 0,
        "max_delay_ms": 10,
        "keeps_history": False,
        "has_dead_letters": False,
        "retention_days": 7.5,
    }
    other.create(**settings)
    other.send({})

    again = other.create()
    changed = other.create(max_attempts=3)

    assert {**again, **settings} == again
    assert (again["created"], changed["created"]) == (False, False)
    assert changed == {**again, "max_attempts": 3}
    assert len(other.rows()) == 1


@on_plain
@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"vt_seconds": 0.9}, "vt_seconds"),
        ({"vt_seconds": 86_401}, "vt_seconds"),
        ({"vt_seconds": "NaN"}, "vt_seconds"),
        ({"vt_seconds": "-Infinity"}, "vt_seconds"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1_000_001}, "max_attempts"),
        ({"base_delay_ms": -1}, "base_delay_ms"),
        ({"max_delay_ms": -1}, "max_delay_ms"),
        ({"base_delay_ms": 100, "max_delay_ms": 99}, "max_delay_ms"),
        ({"dlq_name": "other"}, "dlq_name"),
        ({"dlq_name": "Other"}, "dlq_name"),
        ({"dlq_name": ""}, "dlq_name"),
    ],
)
def test_settings_out_of_bounds_are_refused(other: JobQueue, settings: Any, field: str) -> None:
    with refused("MH002") as refusal:
        other.create(**settings)

    assert refusal.field == field
    assert "other" not in pgmq_queues(other.api)


def test_a_largest_delay_below_the_smallest_that_the_queue_has_is_refused(other: JobQueue) -> None:
    other.create(base_delay_ms=1000)

    with refused("MH002") as refusal:
        other.create(max_delay_ms=500)

    assert refusal.field == "max_delay_ms"


def test_a_smallest_delay_above_the_largest_raises_that(other: JobQueue) -> None:
    other.create(max_delay_ms=2000)

    answer = other.create(base_delay_ms=5000)

    assert (answer["base_delay_ms"], answer["max_delay_ms"]) == (5000, 5000)


@on_plain
@pytest.mark.parametrize(
    "name",
    [
        "",
        "Orders",
        "q" * 48,
        "-a",
        "a--b",
        "a b",
        "a.b",
        'a"b',
        "a'b",
        "a$b",
        "a;b",
        "ö",
        "a\n",
        "a\nb",
        " a",
        "%I",
        None,
    ],
)
def test_a_name_that_pgmq_would_change_or_refuse_is_refused(api: Api, name: str | None) -> None:
    with refused("MH002") as refusal:
        api.call("meshhook_create_queue", queue_name=name)

    assert (refusal.field, refusal.value) == ("queue_name", name)
    assert refusal.hint


@pytest.mark.parametrize("name", ["a", "0", "_", "a-b-c", "a_", LONGEST, "select", "q_a", "pgmq"])
def test_a_queue_of_any_other_name_works(api: Api, name: str) -> None:
    queue = JobQueue(api, name)
    answer = queue.create()

    queue.send({"n": 1})
    queue.dead_letter(queue.claim_one())
    dlq = DeadLetterQueue(api, answer["dlq_name"])
    dlq.replay(dlq.letters()[0]["msg_id"])
    queue.archive(queue.claim_one())

    assert len(queue.archived()) == 1
    assert queue.totals()["total_jobs"] == 2
    assert queue.drop(drop_dlq=True)
    assert not {name, answer["dlq_name"]} & set(pgmq_queues(api))


def test_names_that_are_alike_for_46_characters_have_dead_letter_queues_of_their_own(
    api: Api,
) -> None:
    names = [LONGEST[:-1] + letter for letter in "abc"] + [LONGEST[:-1], LONGEST[:-2]]
    answers = [JobQueue(api, name).create() for name in names]

    dlq_names = [answer["dlq_name"] for answer in answers]
    assert len({*names, *dlq_names}) == 10
    assert all(len(name) <= 47 and name.endswith("_dlq") for name in dlq_names)


@on_plain
@pytest.mark.parametrize("length", [42, 43, 44, 47])
def test_the_name_of_a_dead_letter_queue_is_cut_only_where_it_must_be(
    api: Api, length: int
) -> None:
    name = "n" * length

    dlq_name = JobQueue(api, name).create()["dlq_name"]

    assert dlq_name.startswith("n" * 34)
    assert (dlq_name == f"{name}_dlq") == (length <= 43)


def test_a_name_whose_cut_would_leave_a_double_hyphen_works(api: Api) -> None:
    queue = JobQueue(api, "a" * 33 + "-" + "b" * 13)

    assert queue.create()["created"]


@pytest.mark.parametrize("suffix", ["_msg_id_seq", "_vt_idx", "_pkey"])
def test_a_name_that_another_queues_table_stands_in_the_way_of_is_refused(
    other: JobQueue, suffix: str
) -> None:
    other.create()

    with refused("MH002") as refusal:
        JobQueue(other.api, f"other{suffix}").create()

    assert refusal.field == "queue_name"


def test_a_queue_that_pgmq_has_is_taken_up_as_it_is(other: JobQueue) -> None:
    made_by_hand(other.api, "other")
    other.api.look("select pgmq.send('other', '{\"n\": 1}'::jsonb)")
    before = other.rows()

    answer = other.create(max_attempts=2)

    assert answer["created"] is False
    assert other.rows() == before
    job = other.claim_one()
    assert (job["attempt"], job["max_attempts"], job["message"]) == (1, 2, {"n": 1})


def test_a_queue_that_meshhook_has_not_seen_is_worked_on_with_default_settings(
    other: JobQueue,
) -> None:
    made_by_hand(other.api, "other")
    assert set(listed(other.api)["other"]) == {"queue_name", "created_at", "is_dlq"}
    assert other.get_job(1) is None
    assert other.find_jobs("r") == []

    assert other.send({"n": 1}) == [1]
    other.dead_letter(other.claim_one(), error_message="boom")

    assert other.dlq.one()["message"]["error_message"] == "boom"
    settings = listed(other.api)["other"]
    assert {name: settings[name] for name in DEFAULTS} == DEFAULTS


def test_a_new_queue_is_closed_to_whom_the_dashboard_lets_near_it(other: JobQueue) -> None:
    other.create()
    made_by_hand(other.api, "by_hand")
    other.api.look("select meshhook._adopt('by_hand')")

    closed = other.api.look(
        "select relname from pg_class where relkind = 'r' and relrowsecurity"
        " and relname ~ '_(other|other_dlq|by_hand)$' order by 1"
    )
    assert [row["relname"] for row in closed] == [
        "a_other",
        "a_other_dlq",
        "q_other",
        "q_other_dlq",
    ]


def test_a_change_of_a_queue_with_letters_elsewhere_does_not_make_a_queue_that_nobody_uses(
    other: JobQueue,
) -> None:
    other.create(dlq_name="letters")

    answer = other.create(max_attempts=3)

    assert answer["dlq_name"] == "letters"
    assert "other_dlq" not in pgmq_queues(other.api)


def test_a_queue_can_be_given_another_dead_letter_queue(other: JobQueue) -> None:
    other.create()
    other.create(dlq_name="letters")
    other.send({})

    other.dead_letter(other.claim_one())

    assert len(DeadLetterQueue(other.api, "letters").letters()) == 1
    assert other.dlq.letters() == []


def test_every_queue_is_listed_with_its_settings(other: JobQueue) -> None:
    other.create(vt_seconds=5)
    made_by_hand(other.api, "by_hand")

    queues = listed(other.api)

    assert list(queues) == sorted(queues)
    assert {name: queues[name]["is_dlq"] for name in queues} == {
        "by_hand": False,
        "orders": False,
        "orders_dlq": True,
        "other": False,
        "other_dlq": True,
        "workflow_jobs": False,
        "workflow_jobs_dlq": True,
    }
    assert (queues["other"]["vt_seconds"], queues["other"]["dlq_name"]) == (5, "other_dlq")
    assert queues["other"]["created_at"]


def test_a_dropped_queue_is_gone_with_its_jobs_and_its_archive(other: JobQueue) -> None:
    other.create()
    other.send({})

    assert other.drop()

    assert other.api.value("select to_regclass('pgmq.q_other') is null")
    assert other.api.value("select to_regclass('pgmq.a_other') is null")
    assert pgmq_queues(other.api).count("other_dlq") == 1
    with refused("MH001"):
        other.send({})
    assert not other.drop()


def test_a_dead_letter_queue_is_dropped_along_only_if_asked_and_never_while_another_uses_it(
    other: JobQueue,
) -> None:
    third = JobQueue(other.api, "third")
    other.create(dlq_name="letters")
    third.create(dlq_name="letters")

    other.drop(drop_dlq=True)
    assert "letters" in pgmq_queues(other.api)

    third.drop(drop_dlq=True)
    assert "letters" not in pgmq_queues(other.api)


def test_a_repeated_drop_gives_the_first_answer_and_drops_no_successor(other: JobQueue) -> None:
    other.create()
    assert other.drop(request_id="r")
    other.create()

    assert other.drop(request_id="r")
    assert "other" in pgmq_queues(other.api)


def test_a_queue_of_an_old_name_starts_anew(other: JobQueue) -> None:
    other.create(max_attempts=9)
    other.send({"run_id": "r"}, request_id="key")
    other.acknowledge(other.claim_one())
    other.drop(drop_dlq=True)

    assert other.create()["max_attempts"] == 5

    assert other.enqueue([{}], request_id="key")["duplicate"] is False
    assert other.find_jobs("r") == []
    assert other.totals()["total_jobs"] == 0


def test_no_receipt_of_a_dropped_queue_fits_a_job_of_one_that_is_made_again(
    other: JobQueue,
) -> None:
    other.create()
    other.send({"run_id": "old"})
    old = other.claim_one()
    other.dead_letter(old)
    old_letter = other.dlq.as_queue.claim_one()
    other.drop(drop_dlq=True)

    other.create()
    other.send({"run_id": "new"})
    other.dlq.as_queue.send({})

    assert other.claim_one()["msg_id"] == old["msg_id"] + 1
    assert other.dlq.as_queue.claim_one()["msg_id"] == old_letter["msg_id"] + 1
    assert other.acknowledge(old) == ["missing"]


def test_ids_go_on_where_the_last_of_several_queues_of_a_name_ended(other: JobQueue) -> None:
    ids = []
    for _ in range(3):
        other.create()
        ids += other.send({})
        other.drop(drop_dlq=True)
    other.create()
    other.drop()
    other.create()

    assert [*ids, *other.send({})] == [1, 2, 3, 4]


def test_a_dead_letter_queue_of_an_old_name_remembers_no_request(other: JobQueue) -> None:
    other.create()
    other.dlq.as_queue.send({}, request_id="key")
    other.drop(drop_dlq=True)
    other.create()

    assert other.dlq.as_queue.enqueue([{}], request_id="key")["duplicate"] is False


@pytest.mark.parametrize("verb", ["enqueue", "dequeue", "acknowledge", "extend", "prune", "purge"])
def test_a_queue_that_was_dropped_with_pgmq_is_a_queue_that_does_not_exist(
    other: JobQueue, verb: str
) -> None:
    other.create()
    other.api.value("select pgmq.drop_queue('other')")
    arguments: dict[str, list[Any]] = {
        "enqueue": [[{}]],
        "acknowledge": [1],
        "extend": [1],
        "prune": [1],
    }

    with refused("MH001") as refusal:
        getattr(other, verb)(*arguments.get(verb, []))

    assert (refusal.field, refusal.value) == ("queue_name", "other")


def test_a_queue_that_was_dropped_and_made_with_pgmq_has_no_part_in_the_old_ones_history(
    shared_queue: JobQueue,
) -> None:
    queue = shared_queue
    queue.send({"run_id": "old"})
    queue.retry(queue.claim_one(), error_message="old")
    queue.acknowledge(queue.claim_one())
    queue.api.connection.execute("set role postgres")
    queue.api.value("select pgmq.drop_queue(%s)", queue.name)
    queue.api.look("select pgmq.create(%s)", queue.name)
    queue.api.connection.execute("reset role")

    queue.send({"run_id": "new"})

    assert queue.get_job(1)["attempts"] == []
    assert queue.find_jobs("old") == []
    assert ids(queue.find_jobs("new")) == [1]


def test_a_queue_that_two_create_at_once_is_created_once(database: Database) -> None:
    name = "created_at_once"
    with (
        database.admin() as first,
        database.admin() as second,
        database.admin() as watch,
        ThreadPoolExecutor() as threads,
    ):
        with first.transaction():
            one = JobQueue(Api(first), name).create()
            creating = threads.submit(JobQueue(Api(second), name).create)
            wait_until_blocked(watch, second.info.backend_pid)
        two = creating.result()
        JobQueue(Api(first), name).drop(drop_dlq=True)

    assert (one["created"], two["created"]) == (True, False)


def test_a_queue_that_two_take_up_at_once_is_taken_up_once(database: Database) -> None:
    with (
        database.admin() as first,
        database.admin() as second,
        database.admin() as watch,
        ThreadPoolExecutor() as threads,
    ):
        queue = JobQueue(Api(first), "taken_up_at_once")
        first.execute("set role postgres")
        first.execute("select pgmq.create(%s)", [queue.name])
        first.execute("reset role")
        with first.transaction():
            queue.send({})
            sending = threads.submit(JobQueue(Api(second), queue.name).send, {})
            wait_until_blocked(watch, second.info.backend_pid)
        assert sending.result() == [2]
        assert len(queue.rows()) == 2
        queue.drop()


@on_plain
@pytest.mark.parametrize(
    "name",
    [
        "workflow_job",
        "workflow-jobs",
        "workflowjobs",
        "workflow",
        "worfklow_jobs",
        "workflow_jobs_",
    ],
)
def test_a_queue_that_is_not_there_is_told_with_the_one_whose_name_is_most_like_it(
    api: Api, name: str
) -> None:
    with refused("MH001") as refusal:
        JobQueue(api, name).send({})

    assert refusal.hint.startswith('Did you mean "workflow_jobs"? If not: Create it once, with ')


@on_plain
@pytest.mark.parametrize("name", ["jobs", "wf", "w", "something_else", "orders_of_others"])
def test_a_name_that_is_like_no_other_comes_without_a_guess(api: Api, name: str) -> None:
    api.look("select meshhook._drop_pgmq_queue('orders')")

    with refused("MH001") as refusal:
        JobQueue(api, name).send({})

    assert refusal.hint.startswith("Create it once, with ")
