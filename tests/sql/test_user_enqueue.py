"""Enqueue by end users: off until allowed, in their own name, within limits, and nothing else."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.security.users import ALICE, BOB, User, turned_away
from tests.sql.client import Api, JobQueue, Json, refused
from tests.sql.databases import Database
from tests.sql.races import Crew, uncommitted

SET_BY_MESHHOOK = [
    "_meshhook",
    "attempt",
    "enqueued_at",
    "error_message",
    "error_stack",
    "last_error",
    "last_error_at",
    "max_attempts",
    "moved_to_dlq_at",
    "original_enqueued_at",
    "original_msg_id",
    "read_count",
    "user_id",
]


@contextmanager
def denied() -> Iterator[None]:
    """Expect a call of a function that the caller has no right to."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        yield


def allow(queue: JobQueue, **limits: Any) -> Json:
    answer: Json = queue.api.call("meshhook_allow_user_enqueue", queue_name=queue.name, **limits)
    return answer


def disallow(queue: JobQueue) -> bool:
    return bool(queue.api.call("meshhook_disallow_user_enqueue", queue_name=queue.name))


@pytest.fixture
def alice(api: Api) -> User:
    """A user."""
    return User(api.connection)


@pytest.fixture
def bob(api: Api) -> User:
    """Another."""
    return User(api.connection, BOB)


def test_without_being_allowed_users_cannot_even_call_the_function(
    queue: JobQueue, alice: User
) -> None:
    with denied():
        alice.enqueue(queue.name)


def test_in_an_allowed_queue_a_user_enqueues(queue: JobQueue, alice: User) -> None:
    allow(queue)

    assert alice.enqueue(queue.name, {"run_id": "r", "a": [1]}) == {"duplicate": False}

    job = queue.claim_one()
    assert (job["attempt"], job["max_attempts"]) == (1, 5)
    message = {name: job["message"][name] for name in ("run_id", "a", "user_id")}
    assert message == {"run_id": "r", "a": [1], "user_id": ALICE}


def test_the_limits_are_told(queue: JobQueue) -> None:
    assert allow(queue) == {
        "queue_name": "orders",
        "max_bytes": 16384,
        "quota": 60,
        "per_seconds": 60,
        "allows_anonymous": False,
    }
    again = allow(queue, max_bytes=100, quota=1, per_seconds=2.5, allows_anonymous=True)
    assert again == {
        "queue_name": "orders",
        "max_bytes": 100,
        "quota": 1,
        "per_seconds": 2.5,
        "allows_anonymous": True,
    }


def test_once_disallowed_everything_is_as_before(queue: JobQueue, alice: User) -> None:
    allow(queue)
    alice.enqueue(queue.name)

    assert disallow(queue) is True

    with denied():
        alice.enqueue(queue.name)
    assert disallow(queue) is False


def test_another_queue_stays_allowed(api: Api, queue: JobQueue, alice: User) -> None:
    other = JobQueue(api, "other")
    other.create()
    allow(queue)
    allow(other)

    disallow(queue)

    alice.enqueue("other")
    with turned_away("MH004", 403) as said:
        alice.enqueue(queue.name)
    assert (said.field, said.value) == ("queue_name", "orders")


def test_a_queue_that_is_not_allowed_and_one_that_is_not_there_look_the_same(
    api: Api, queue: JobQueue, alice: User
) -> None:
    allow(queue)
    JobQueue(api, "private").create()
    told = []
    for name in ("private", "absent", "orders_dlq"):
        with turned_away("MH004", 403) as said:
            alice.enqueue(name)
        told.append(said.message.replace(name, "*") + said.hint)

    assert len(set(told)) == 1


@pytest.mark.parametrize("field", SET_BY_MESHHOOK)
@pytest.mark.parametrize("value", [None, {"user_id": BOB}, ALICE], ids=["null", "object", "text"])
def test_what_meshhook_sets_is_not_for_users_to_set(
    queue: JobQueue, alice: User, field: str, value: object
) -> None:
    allow(queue)

    with refused("MH002") as refusal:
        alice.enqueue(queue.name, {"a": 1, field: value})

    assert refusal.field == f"message.{field}"
    assert "Leave it out" in refusal.hint
    assert queue.rows() == []


@pytest.mark.parametrize(
    "text",
    [
        f'{{"user_id": "{BOB}", "user_id": "{ALICE}"}}',
        f'{{"user\\u005fid": "{BOB}"}}',
        f'{{"\\u0075ser_id": "{BOB}", "a": 1}}',
    ],
)
def test_no_spelling_of_the_stamp_gets_through(queue: JobQueue, alice: User, text: str) -> None:
    allow(queue)

    with refused("MH002") as refusal:
        alice.call("meshhook_user_enqueue", queue_name=queue.name, message=sql.Literal(text))

    assert refusal.field == "message.user_id"


@pytest.mark.parametrize("field", ["User_id", "user_id ", "user_id\u200b", "USER_ID", "userid"])
def test_a_field_that_looks_alike_does_not_replace_the_stamp(
    queue: JobQueue, alice: User, field: str
) -> None:
    allow(queue)

    alice.enqueue(queue.name, {field: BOB, "metadata": {"user_id": BOB}})

    assert queue.row()["message"]["user_id"] == ALICE


def test_the_stamp_goes_with_the_job_wherever_it_goes(queue: JobQueue, alice: User) -> None:
    allow(queue)
    alice.enqueue(queue.name)

    queue.retry(queue.claim_one(), error_message="e")
    queue.dead_letter(queue.claim_one(), error_message="e")
    letter = queue.dlq.one()
    queue.dlq.replay(letter["msg_id"])

    assert letter["message"]["user_id"] == ALICE
    assert queue.claim_one()["message"]["user_id"] == ALICE


@pytest.mark.parametrize("message", ["text", 1, [], [{"a": 1}], True])
def test_a_message_is_an_object(queue: JobQueue, alice: User, message: object) -> None:
    allow(queue)

    with refused("MH002") as refusal:
        alice.enqueue(queue.name, message)

    assert refusal.field == "message"


def test_no_message_is_refused(queue: JobQueue, alice: User) -> None:
    allow(queue)

    with refused("MH002") as refusal:
        alice.call("meshhook_user_enqueue", queue_name=queue.name, message=None)

    assert refusal.field == "message"


def test_a_message_is_measured_in_bytes(queue: JobQueue, alice: User) -> None:
    allow(queue, max_bytes=40)
    wrapping = len('{"a": ""}')

    alice.enqueue(queue.name, {"a": "x" * (40 - wrapping)})
    for larger in ("x" * (41 - wrapping), "ü" * 16):
        with refused("MH002") as refusal:
            alice.enqueue(queue.name, {"a": larger})
        assert refusal.field == "message"
        assert refusal.value == "41"
        assert "40 bytes" in refusal.message
    assert len(queue.rows()) == 1


def test_the_quota_is_each_users_own(queue: JobQueue, alice: User, bob: User) -> None:
    allow(queue, quota=3, per_seconds=60)
    for _ in range(3):
        alice.enqueue(queue.name)

    with turned_away("MH005", 429) as said:
        alice.enqueue(queue.name)
    bob.enqueue(queue.name)

    assert (said.field, said.value) == ("quota", "3")
    assert 50 < int(said.headers["Retry-After"]) <= 60
    assert said.headers["Retry-After"] in said.hint
    senders = Counter(row["message"]["user_id"] for row in queue.rows())
    assert senders == {ALICE: 3, BOB: 1}


def test_the_quota_is_each_queues_own(api: Api, queue: JobQueue, alice: User) -> None:
    other = JobQueue(api, "other")
    other.create()
    allow(queue, quota=1)
    allow(other, quota=1)
    alice.enqueue(queue.name)

    alice.enqueue(other.name)

    with turned_away("MH005", 429):
        alice.enqueue(other.name)


def test_every_span_holds_the_quota_not_only_those_on_the_minute(
    queue: JobQueue, alice: User
) -> None:
    """With windows that begin anew, two quotas fit on both sides of a border."""
    allow(queue, quota=2, per_seconds=100)
    alice.enqueue(queue.name)
    queue.pass_time(60)
    alice.enqueue(queue.name)
    queue.pass_time(30)
    with turned_away("MH005", 429) as said:
        alice.enqueue(queue.name)
    assert said.headers["Retry-After"] == "10"

    queue.pass_time(10)

    alice.enqueue(queue.name)
    with turned_away("MH005", 429) as said:
        alice.enqueue(queue.name)
    assert said.headers["Retry-After"] == "60"


@pytest.mark.parametrize("seed", range(3))
def test_a_quota_does_what_its_definition_says(queue: JobQueue, alice: User, seed: int) -> None:
    """At most three jobs in any ten seconds, compared with a list of when they were sent."""
    chance = random.Random(seed)
    allow(queue, quota=3, per_seconds=10)
    now, answers = 0, Counter[str]()
    sent: list[int] = []

    for _ in range(60):
        # Between whole seconds, so that the time the calls take does not matter.
        step = chance.choice([0, 0, 1, 2, 5])
        if step:
            queue.pass_time(step)
        now += step
        recent = [at for at in sent if at > now - 9.5]
        if len(recent) < 3:
            alice.enqueue(queue.name)
            sent.append(now)
            answers["ok"] += 1
        else:
            with turned_away("MH005", 429) as said:
                alice.enqueue(queue.name)
            wait = 10 - (now - recent[-3])
            assert int(said.headers["Retry-After"]) in {wait, max(1, wait - 1)}
            answers["refused"] += 1

    assert len(queue.rows()) == len(sent)
    assert min(answers["ok"], answers["refused"]) > 10


def test_a_quota_that_was_lowered_holds_at_once(queue: JobQueue, alice: User) -> None:
    allow(queue, quota=5, per_seconds=100)
    for _ in range(5):
        alice.enqueue(queue.name)
        queue.pass_time(10)

    allow(queue, quota=2, per_seconds=100)

    with turned_away("MH005", 429) as said:
        alice.enqueue(queue.name)
    # The last two were sent 20 and 10 seconds ago.
    assert said.headers["Retry-After"] == "80"


def test_what_is_refused_spends_nothing(queue: JobQueue, alice: User) -> None:
    allow(queue, quota=2, max_bytes=100)
    for message in ({"user_id": BOB}, {"a": "x" * 100}):
        with refused("MH002"):
            alice.enqueue(queue.name, message)
    with refused("MH002"):
        alice.enqueue(queue.name, delay_seconds=-1)

    alice.enqueue(queue.name)
    alice.enqueue(queue.name)
    for _ in range(3):
        with turned_away("MH005", 429):
            alice.enqueue(queue.name)
    (sends,) = queue.api.look(
        "select cardinality(s.sent_at) as n from meshhook.user_sends s"
        " join meshhook.queues q using (queue_id) where q.queue_name = %s",
        queue.name,
    )
    assert sends["n"] == 2


def test_a_repeat_enqueues_once_and_spends_once(queue: JobQueue, alice: User) -> None:
    allow(queue, quota=1)

    first = alice.enqueue(queue.name, {"n": 1}, request_id="r")
    second = alice.enqueue(queue.name, {"n": 2}, request_id="r")

    assert (first, second) == ({"duplicate": False}, {"duplicate": True})
    assert queue.row()["message"]["n"] == 1


def test_a_request_id_is_each_users_own(queue: JobQueue, alice: User, bob: User) -> None:
    allow(queue)
    queue.send({}, request_id="r")

    assert alice.enqueue(queue.name, request_id="r") == {"duplicate": False}
    assert bob.enqueue(queue.name, request_id="r") == {"duplicate": False}

    assert len(queue.rows()) == 3


@pytest.mark.parametrize(
    "sub",
    [
        *("", "me", "0" * 36, f"{ALICE}x", f"{{{ALICE}}}", f"{ALICE}\n"),
        *(None, 7, True, [ALICE], {"sub": ALICE}),
    ],
)
def test_a_token_that_names_no_user_is_turned_away(api: Api, queue: JobQueue, sub: object) -> None:
    allow(queue)

    with turned_away("MH004", 403) as said:
        User(api.connection, sub).enqueue(queue.name)

    assert said.field == "sub"
    assert queue.rows() == []


@pytest.mark.parametrize("claims", [{}, None, [], "text"], ids=str)
def test_claims_that_hold_nothing_are_no_user(queue: JobQueue, alice: User, claims: object) -> None:
    allow(queue)
    alice.claims = claims

    with turned_away("MH004", 403):
        alice.enqueue(queue.name)


def test_the_service_role_is_no_user(queue: JobQueue) -> None:
    allow(queue)

    with turned_away("MH004", 403) as said:
        queue.api.call("meshhook_user_enqueue", queue_name=queue.name, message={})

    assert said.field == "sub"


def test_one_user_is_one_however_the_id_is_spelt(api: Api, queue: JobQueue, alice: User) -> None:
    allow(queue, quota=1)
    alice.enqueue(queue.name)

    with turned_away("MH005", 429):
        User(api.connection, ALICE.upper()).enqueue(queue.name)


def test_anonymous_users_need_to_be_allowed(api: Api, queue: JobQueue) -> None:
    nobody = User(api.connection, is_anonymous=True)
    allow(queue)
    with turned_away("MH004", 403) as said:
        nobody.enqueue(queue.name)
    assert said.field == "is_anonymous"
    User(api.connection, BOB, is_anonymous=False).enqueue(queue.name)

    allow(queue, allows_anonymous=True)

    nobody.enqueue(queue.name)
    assert len(queue.rows()) == 2


def test_a_job_can_wait_for_its_time(queue: JobQueue, alice: User) -> None:
    nine = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    allow(queue)

    alice.enqueue(queue.name, run_at=nine.isoformat())
    with refused("MH002") as both:
        alice.enqueue(queue.name, run_at=nine.isoformat(), delay_seconds=1)
    with refused("MH002") as far:
        alice.enqueue(queue.name, run_at=(nine + timedelta(days=366)).isoformat())

    assert queue.row()["vt"] == nine
    assert (both.field, far.field) == ("run_at", "run_at")


def test_a_job_can_be_delayed(queue: JobQueue, alice: User) -> None:
    allow(queue)

    alice.enqueue(queue.name, delay_seconds=60)

    assert queue.claim() == []
    queue.pass_time(61)
    assert queue.claim_one()["message"]["user_id"] == ALICE


@pytest.mark.parametrize("delay", [-1, 366 * 86400 + 1, float("nan"), None])
def test_a_delay_is_within_a_year(queue: JobQueue, alice: User, delay: float | None) -> None:
    allow(queue)

    with refused("MH002") as refusal:
        alice.enqueue(queue.name, delay_seconds=delay)

    assert refusal.field == "delay_seconds"


@pytest.mark.parametrize(
    ("limit", "values"),
    [
        ("max_bytes", [1, 1048577, None]),
        ("quota", [0, 1001, None]),
        ("per_seconds", [0.5, 2678401, "NaN", None]),
        ("allows_anonymous", [None]),
    ],
)
def test_limits_are_in_range(queue: JobQueue, limit: str, values: list[Any]) -> None:
    for value in values:
        with refused("MH002") as refusal:
            allow(queue, **{limit: value})
        assert refusal.field == limit


def test_a_queue_that_is_not_there_cannot_be_allowed(api: Api) -> None:
    with refused("MH001"):
        allow(JobQueue(api, "absent"))


@pytest.mark.parametrize("call", [allow, disallow])
def test_a_name_that_no_queue_has_is_refused(api: Api, call: Any) -> None:
    with refused("MH002") as refusal:
        call(JobQueue(api, "no; such"))

    assert refusal.field == "queue_name"


def test_a_dead_letter_queue_is_not_for_users(queue: JobQueue) -> None:
    with refused("MH002") as refusal:
        allow(queue.dlq.as_queue)

    assert refusal.value == "orders_dlq"


@pytest.mark.parametrize("is_dlq", [False, True], ids=["queue", "dead_letter_queue"])
def test_when_the_last_queue_for_users_is_dropped_they_can_call_nothing(
    api: Api,
    *,
    is_dlq: bool,
) -> None:
    """A queue is allowed before another one makes it its dead letter queue."""
    others = JobQueue(api, "others"), JobQueue(api, "owner")
    for other in others:
        other.create()
    allow(others[0])
    if is_dlq:
        others[1].configure(dlq_name="others")

    assert others[is_dlq].drop(drop_dlq=True)

    assert api.value("select count(*) from meshhook.user_queues") == 0
    assert not api.value(
        "select has_function_privilege('authenticated', p.oid, 'execute')"
        " from pg_proc p where p.proname = 'meshhook_user_enqueue'"
    )


def test_while_users_have_another_queue_a_drop_leaves_them_their_function(
    api: Api, queue: JobQueue, alice: User
) -> None:
    other = JobQueue(api, "other")
    other.create()
    allow(other)
    allow(queue)

    other.drop()

    assert alice.enqueue(queue.name, {})["duplicate"] is False


def test_a_queue_of_the_same_name_that_comes_later_is_not_allowed(
    queue: JobQueue, alice: User
) -> None:
    other = JobQueue(queue.api, "other")
    other.create()
    allow(other)
    allow(queue)
    queue.drop()
    queue.create()

    with turned_away("MH004", 403):
        alice.enqueue(queue.name)
    assert disallow(queue) is False


def test_a_queue_that_was_made_anew_by_pgmq_is_not_allowed(queue: JobQueue, alice: User) -> None:
    allow(queue)
    queue.api.value("select pgmq.drop_queue('orders')")
    queue.api.connection.execute("select pgmq.create('orders')")
    # In one transaction, both would have been created at the same time.
    queue.api.connection.execute(
        "update pgmq.meta set created_at = created_at + interval '1 second'"
        " where queue_name = 'orders'"
    )

    with turned_away("MH004", 403):
        alice.enqueue(queue.name)
    assert queue.rows() == []


def test_a_user_can_do_nothing_else(api: Api, queue: JobQueue, alice: User) -> None:
    allow(queue)
    alice.enqueue(queue.name)

    executable = api.look(
        "select p.proname from pg_proc p where p.proname like 'meshhook%%'"
        " and has_function_privilege('authenticated', p.oid, 'execute')"
    )
    anonymous = api.look(
        "select p.proname from pg_proc p where p.proname like 'meshhook%%'"
        " and has_function_privilege('anon', p.oid, 'execute')"
    )

    assert [row["proname"] for row in executable] == ["meshhook_user_enqueue"]
    assert anonymous == []


@pytest.mark.parametrize("table", ["user_queues", "user_sends", "grants", "queues", "requests"])
def test_no_table_behind_it_is_open_to_users(queue: JobQueue, alice: User, table: str) -> None:
    allow(queue)
    with denied(), alice.connection.transaction():
        alice.connection.execute("set local role authenticated")
        alice.connection.execute(f"select from meshhook.{table}".encode())


def test_the_answer_does_not_tell_how_many_jobs_there_are(queue: JobQueue, alice: User) -> None:
    allow(queue)
    queue.send(*[{}] * 5)

    assert set(alice.enqueue(queue.name)) == {"duplicate"}


def test_users_who_are_long_gone_leave_nothing(queue: JobQueue, alice: User, bob: User) -> None:
    allow(queue, per_seconds=60)
    alice.enqueue(queue.name)
    queue.pass_time(61)
    bob.enqueue(queue.name)

    # One enqueue in a hundred does that by itself.
    queue.api.value("select meshhook._forget_user_sends(200)")

    left = queue.api.look(
        "select s.user_id::text from meshhook.user_sends s join meshhook.queues q using (queue_id)"
        " where q.queue_name = %s",
        queue.name,
    )
    assert left == [{"user_id": BOB}]


def test_a_users_calls_at_the_same_time_fit_the_quota_exactly(
    database: Database, shared_queue: JobQueue
) -> None:
    allow(shared_queue, quota=10)

    def send(queue: JobQueue) -> list[str]:
        user, told = User(queue.api.connection), []
        for _ in range(6):
            try:
                user.enqueue(queue.name)
                told.append("ok")
            except psycopg.Error as error:
                told.append(json.loads(error.diag.message_primary or "")["code"])
        return told

    with Crew(database, 8) as crew:
        told = crew.at_once(shared_queue.name, [send] * 8)

    assert Counter(code for each in told for code in each) == {"ok": 10, "MH005": 38}
    assert len(shared_queue.rows()) == 10
    disallow(shared_queue)


@pytest.mark.parametrize("is_kept", [True, False], ids=["committed", "rolled back"])
def test_the_last_job_of_a_quota_goes_to_the_second_only_if_the_first_gives_up(
    database: Database, shared_queue: JobQueue, *, is_kept: bool
) -> None:
    allow(shared_queue, quota=1)

    def send(queue: JobQueue) -> str:
        try:
            User(queue.api.connection).enqueue(queue.name)
        except psycopg.Error as error:
            return str(json.loads(error.diag.message_primary or "")["code"])
        return "ok"

    with Crew(database, 2) as crew:
        with crew.connections[0].transaction(force_rollback=not is_kept):
            assert send(crew.queue(0, shared_queue.name)) == "ok"
            second = crew.begin(1, shared_queue.name, send)
        assert second.result() == ("MH005" if is_kept else "ok")
    assert len(shared_queue.rows()) == 1
    disallow(shared_queue)


def test_two_users_do_not_wait_for_each_other(database: Database, shared_queue: JobQueue) -> None:
    allow(shared_queue)
    with Crew(database, 2) as crew, uncommitted(crew, 0, shared_queue.name) as queue:
        User(queue.api.connection).enqueue(queue.name)

        User(crew.connections[1], BOB).enqueue(queue.name)

        assert len(shared_queue.rows()) == 1
    disallow(shared_queue)


def test_migrations_that_are_applied_again_leave_it_as_it_is(
    database: Database, shared_queue: JobQueue
) -> None:
    user = User(shared_queue.api.connection)
    database.migrate()
    with denied():
        user.enqueue(shared_queue.name)

    allow(shared_queue)
    database.migrate()

    user.enqueue(shared_queue.name)
    disallow(shared_queue)
