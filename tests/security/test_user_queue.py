"""End users over HTTP: what a token of theirs opens, and what the SDK makes of it."""

from __future__ import annotations

import inspect
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from supabase import AsyncClientOptions, ClientOptions, acreate_client, create_client

from meshhook import (
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
    RejectedError,
    RepeatPolicy,
)
from meshhook.user_queue import SyncUserQueue, UserQueue
from tests.security import entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from meshhook.local import LocalStack
    from tests.security.http import Http

QUEUE = "inbox"
DENIED = (403, "42501")
ONCE = RepeatPolicy(tries=1)


@pytest.fixture(autouse=True)
def inbox(http: Http) -> Iterator[None]:
    """A queue that users may enqueue into, three jobs in a minute."""
    http.serve("meshhook_create_queue", queue_name=QUEUE)
    http.serve("meshhook_allow_user_enqueue", queue_name=QUEUE, quota=3, max_bytes=400)
    yield
    http.serve("meshhook_disallow_user_enqueue", queue_name=QUEUE)
    http.serve("meshhook_drop_queue", queue_name=QUEUE, drop_dlq=True)


@pytest.fixture
def sub() -> str:
    """A user who has sent nothing yet."""
    return str(uuid.uuid4())


def jobs(http: Http) -> list[dict[str, Any]]:
    """Return the messages that wait in the queue."""
    claim = http.serve("meshhook_dequeue", queue_name=QUEUE, quantity=100, vt_seconds=0)
    return [job["message"] for job in claim["jobs"]]


def data(**more: Any) -> dict[str, Any]:
    ids = {name: str(uuid.uuid4()) for name in ("run_id", "workflow_id", "project_id")}
    return {**ids, **more}


def test_a_user_enqueues_in_his_own_name(http: Http, sub: str) -> None:
    answer = http.call("meshhook_user_enqueue", http.user(sub), queue_name=QUEUE, message={"a": 1})

    assert (answer.status, answer.body) == (200, {"duplicate": False})
    (message,) = jobs(http)
    assert (message["a"], message["user_id"]) == (1, sub)


def test_nobody_enqueues_without_signing_in(http: Http) -> None:
    answer = http.call("meshhook_user_enqueue", queue_name=QUEUE, message={})

    assert answer.told == (401, "42501")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": 1}, (401, "PGRST303")),
        ({"nbf": 9_999_999_999}, (401, "PGRST303")),
        ({"sub": None}, (403, "MH004")),
        ({"sub": "service_role"}, (403, "MH004")),
        ({"is_anonymous": True}, (403, "MH004")),
    ],
)
def test_a_token_that_does_not_hold_opens_nothing(
    http: Http, sub: str, claims: dict[str, Any], told: tuple[int, str]
) -> None:
    token = http.stack.token("authenticated", **{"sub": sub, **claims})

    answer = http.call("meshhook_user_enqueue", token, queue_name=QUEUE, message={})

    assert answer.told == told


def test_a_token_signed_by_somebody_else_opens_nothing(http: Http, sub: str) -> None:
    head, body, _ = http.user(sub).split(".")
    _, _, other = http.user(str(uuid.uuid4())).split(".")

    answer = http.call(
        "meshhook_user_enqueue", f"{head}.{body}.{other}", queue_name=QUEUE, message={}
    )

    assert answer.told == (401, "PGRST301")


def test_refusals_have_the_statuses_of_http(http: Http, sub: str) -> None:
    token = http.user(sub)

    def send(queue: str = QUEUE, **message: Any) -> tuple[int, str | None]:
        return http.call("meshhook_user_enqueue", token, queue_name=queue, message=message).told

    assert send("orders") == (403, "MH004")
    assert send(user_id="me") == (400, "MH002")
    assert send(a="x" * 400) == (400, "MH002")
    assert [send() for _ in range(4)] == [(200, None)] * 3 + [(429, "MH005")]
    limited = http.call("meshhook_user_enqueue", token, queue_name=QUEUE, message={})
    assert 50 < int(limited.retry_after or 0) <= 60
    assert limited.details == {"field": "quota", "value": "3"}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_users_get_nowhere_else(http: Http, admin: psycopg.Connection, sub: str, role: str) -> None:
    http.serve("meshhook_enqueue", queue_name=QUEUE, messages=[{"secret": "x"}])
    token = http.user(sub) if role == "authenticated" else None
    needed = admin.execute(
        "select proname, proargnames[1:pronargs - pronargdefaults] from pg_proc"
        " where pronamespace = 'public'::regnamespace and proname like 'meshhook%'"
        " and proname <> 'meshhook_user_enqueue'"
    ).fetchall()
    given = {"queue_name": QUEUE, "dlq_name": f"{QUEUE}_dlq", "msg_ids": [1], "msg_id": 1}

    answers = {
        function: http.call(function, token, **{name: given.get(name) for name in names or []})
        for function, names in needed
    }
    answers |= {view: http.read(view.split(".")[1], token) for view in entries.VIEWS}

    told = DENIED if token else (401, "42501")
    assert {name: answer.told for name, answer in answers.items()} == dict.fromkeys(answers, told)
    assert len(answers) > 25
    assert len(jobs(http)) == 1


@asynccontextmanager
async def signed_in(
    stack: LocalStack, token: str, repeat_policy: RepeatPolicy = ONCE
) -> AsyncIterator[UserQueue]:
    async with httpx.AsyncClient() as client_http:
        client = await acreate_client(
            stack.url, stack.publishable_key, AsyncClientOptions(httpx_client=client_http)
        )
        client.postgrest.auth(token)
        yield UserQueue(client, QUEUE, repeat_policy=repeat_policy)


async def test_the_sdk_enqueues_for_the_user(hosted: LocalStack, http: Http, sub: str) -> None:
    sent = data(metadata={"a": 1})

    async with signed_in(hosted, http.user(sub)) as queue:
        first = await queue.enqueue(sent, idempotency_key="k")
        second = await queue.enqueue(sent, idempotency_key="k")

    assert (first, second) == (True, False)
    (message,) = jobs(http)
    assert message["user_id"] == sub
    assert {name: message[name] for name in sent} == sent


def test_the_sync_sdk_enqueues_for_the_user(hosted: LocalStack, http: Http, sub: str) -> None:
    with httpx.Client() as client_http:
        client = create_client(
            hosted.url, hosted.publishable_key, ClientOptions(httpx_client=client_http)
        )
        client.postgrest.auth(http.user(sub))

        assert SyncUserQueue(client, QUEUE).enqueue(data(), timedelta(minutes=1)) is True
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert SyncUserQueue(client, QUEUE).enqueue(data(), run_at=later) is True

    assert jobs(http) == []
    assert http.serve("meshhook_queue_metrics", queue_name=QUEUE)["queue_length"] == 2


async def test_the_sdk_tells_refusals_apart(hosted: LocalStack, http: Http, sub: str) -> None:
    async with signed_in(hosted, http.user(sub)) as queue:
        with pytest.raises(RejectedError) as rejected:
            await queue.enqueue(data(metadata={"a": "x" * 400}))
        for _ in range(3):
            await queue.enqueue(data())
        with pytest.raises(RateLimitedError) as limited:
            await queue.enqueue(data())
        http.serve("meshhook_disallow_user_enqueue", queue_name=QUEUE)
        with pytest.raises(PermissionDeniedError) as denied:
            await queue.enqueue(data())

    assert rejected.value.field == "message"
    assert limited.value.code == "MH005"
    assert limited.value.retry_after_seconds is not None
    assert 50 < limited.value.retry_after_seconds <= 60
    assert denied.value.code == "42501"


async def test_a_quota_is_not_waited_out(
    hosted: LocalStack, http: Http, sub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room again when the database says, which may be in hours: the caller decides."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with signed_in(hosted, http.user(sub), RepeatPolicy()) as queue:
        monkeypatch.setattr(queue._transport, "_sleep", pause)
        for _ in range(3):
            await queue.enqueue(data())
        with pytest.raises(RateLimitedError) as limited:
            await queue.enqueue(data())

    assert pauses == []
    assert "Send fewer requests" not in str(limited.value)


async def test_who_is_turned_away_is_not_told_to_use_the_secret_key(
    hosted: LocalStack, http: Http
) -> None:
    async with signed_in(hosted, http.user("nobody")) as queue:
        with pytest.raises(PermissionDeniedError) as denied:
            await queue.enqueue(data())

    assert denied.value.code == "MH004"
    assert "Sign in" in str(denied.value)
    assert "secret" not in str(denied.value)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"attempt": 1}, "attempt"),
        ({"max_attempts": 9}, "max_attempts"),
        ({"user_id": "me"}, "user_id"),
        ({"_meshhook": {}}, "_meshhook"),
        ({"run_id": "r"}, "run_id"),
    ],
)
async def test_the_sdk_refuses_what_the_database_would(
    hosted: LocalStack, http: Http, more: dict[str, Any], field: str
) -> None:
    async with signed_in(hosted, "no token is needed for what is never sent") as queue:
        with pytest.raises(InvalidInputError) as caught:
            await queue.enqueue(data(**more))

    assert [problem.field for problem in caught.value.problems] == [field]
    assert jobs(http) == []


@pytest.mark.parametrize("given", [None, 7, "text", []])
async def test_the_sdk_refuses_what_is_no_job(hosted: LocalStack, given: Any) -> None:
    async with signed_in(hosted, "no token is needed for what is never sent") as queue:
        with pytest.raises(InvalidInputError):
            await queue.enqueue(given)


def test_both_classes_are_alike() -> None:
    def shape(function: Any) -> str:
        return str(inspect.signature(function)).replace("AsyncClient", "Client")

    assert shape(UserQueue) == shape(SyncUserQueue)
    assert shape(UserQueue.enqueue) == shape(SyncUserQueue.enqueue)
    assert inspect.getdoc(UserQueue.enqueue) == inspect.getdoc(SyncUserQueue.enqueue)


def test_the_wrong_kind_of_client_is_told_which_class_takes_it(hosted: LocalStack) -> None:
    with httpx.Client() as client_http:
        client: Any = create_client(
            hosted.url, hosted.publishable_key, ClientOptions(httpx_client=client_http)
        )
        with pytest.raises(TypeError, match="SyncUserQueue"):
            UserQueue(client, QUEUE)
