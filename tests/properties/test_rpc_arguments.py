"""Every argument of every RPC, given anything that JSON can carry, over HTTP as anybody might."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshhook.local import LocalStack
from tests.properties.contents import Contents
from tests.properties.hostile import json_values, plain
from tests.properties.profiles import thorough

WORKER = {
    "worker_id": "w",
    "name": "w",
    "queue_names": ["fuzz"],
    "host": "h",
    "pid": 1,
    "version": "1",
    "concurrency": 10,
    "running": 0,
    "interval_seconds": 30,
    "started_at": "2026-01-01T00:00:00Z",
}

VALID: dict[str, dict[str, Any]] = {
    "meshhook_acknowledge": {
        "queue_name": "fuzz",
        "msg_ids": [1],
        "read_cts": [1],
        "seconds": [0.5],
        "request_id": "r",
    },
    "meshhook_archive": {
        "queue_name": "fuzz",
        "msg_ids": [1],
        "read_cts": [1],
        "seconds": [0.5],
        "request_id": "r",
    },
    "meshhook_allow_user_enqueue": {
        "queue_name": "fuzz",
        "max_bytes": 1000,
        "quota": 10,
        "per_seconds": 60,
        "allows_anonymous": False,
    },
    "meshhook_cancel": {"queue_name": "fuzz", "msg_ids": [3], "request_id": "r"},
    "meshhook_configure_queue": {
        "queue_name": "fuzz",
        "dlq_name": "fuzz_dlq",
        "vt_seconds": 30,
        "max_attempts": 5,
        "base_delay_ms": 1000,
        "max_delay_ms": 2000,
        "keeps_history": True,
        "has_dead_letters": True,
        "retention_days": 30,
    },
    "meshhook_create_queue": {
        "queue_name": "fuzz",
        "dlq_name": "fuzz_dlq",
        "vt_seconds": 30,
        "max_attempts": 5,
        "base_delay_ms": 1000,
        "max_delay_ms": 2000,
        "keeps_history": True,
        "has_dead_letters": True,
        "retention_days": 30,
    },
    "meshhook_dead_letter": {
        "queue_name": "fuzz",
        "msg_ids": [2],
        "read_cts": [1],
        "error_message": "boom",
        "error_stack": "File x",
        "dlq_name": "fuzz_dlq",
        "request_id": "r",
    },
    "meshhook_delete": {"queue_name": "fuzz", "msg_ids": [3], "request_id": "r"},
    "meshhook_dequeue": {
        "queue_name": "fuzz",
        "quantity": 1,
        "vt_seconds": 30,
        "max_attempts": 5,
        "request_id": "r",
        "max_bytes": 1000,
        "worker": WORKER,
    },
    "meshhook_disallow_user_enqueue": {"queue_name": "fuzz"},
    "meshhook_dlq_metrics": {"dlq_name": "fuzz_dlq"},
    "meshhook_doctor": {},
    "meshhook_drop_queue": {"queue_name": "fuzz_gone", "drop_dlq": False, "request_id": "r"},
    "meshhook_enqueue": {
        "queue_name": "fuzz",
        "messages": [{"run_id": "r"}],
        "delay_seconds": 0,
        "delays": [0],
        "request_id": "r",
        "remember_seconds": 600,
        "run_at": None,
        "run_ats": ["2027-01-01T09:00:00+01:00"],
        "keys": ["k"],
    },
    "meshhook_extend": {
        "queue_name": "fuzz",
        "msg_ids": [1],
        "read_cts": [1],
        "vt_seconds": 30,
        "worker": WORKER,
    },
    "meshhook_find_jobs": {"queue_name": "fuzz", "run_id": "r", "quantity": 10},
    "meshhook_get_dead_letter": {"dlq_name": "fuzz_dlq", "msg_id": 1},
    "meshhook_get_job": {"queue_name": "fuzz", "msg_id": 1},
    "meshhook_count_dead_letters": {"dlq_name": "fuzz_dlq", "quantity": 10},
    "meshhook_group_dead_letters": {"dlq_name": "fuzz_dlq", "quantity": 10},
    "meshhook_list_dead_letters": {"dlq_name": "fuzz_dlq", "quantity": 10, "after_msg_id": 0},
    "meshhook_list_jobs": {
        "queue_name": "fuzz",
        "state": "completed",
        "quantity": 10,
        "before_msg_id": 5,
    },
    "meshhook_list_queues": {},
    "meshhook_list_workers": {"queue_name": "fuzz"},
    "meshhook_pause_queue": {"queue_name": "fuzz"},
    "meshhook_prune": {"older_than_days": 30, "queue_name": "fuzz", "max_rows": 100},
    "meshhook_purge": {"queue_name": "fuzz", "request_id": "r"},
    "meshhook_queue_metrics": {"queue_name": "fuzz"},
    "meshhook_release": {
        "queue_name": "fuzz",
        "msg_ids": [1],
        "read_cts": [1],
        "delay_seconds": 0,
        "request_id": "r",
        "run_at": "2027-01-01T09:00:00+01:00",
    },
    "meshhook_replay": {
        "dlq_name": "fuzz_dlq",
        "msg_ids": [1],
        "target_queue": "fuzz",
        "request_id": "r",
    },
    "meshhook_retry": {
        "queue_name": "fuzz",
        "msg_ids": [1],
        "read_cts": [1],
        "delay_seconds": 0,
        "error_message": "boom",
        "error_stack": "File x",
        "request_id": "r",
        "run_at": "2027-01-01T09:00:00+01:00",
    },
    "meshhook_resume_queue": {"queue_name": "fuzz"},
    "meshhook_settle": {
        "queue_name": "fuzz",
        "outcomes": [{"outcome": "complete", "msg_id": 1, "read_ct": 1}],
        "request_id": "r",
    },
    "meshhook_settle_and_dequeue": {
        "queue_name": "fuzz",
        "outcomes": [{"outcome": "retry", "msg_id": 1, "read_ct": 1, "delay_seconds": 0}],
        "quantity": 1,
        "vt_seconds": 30,
        "max_attempts": 5,
        "request_id": "r",
        "max_bytes": 1000,
        "worker": WORKER,
    },
    "meshhook_version": {},
}
"""Arguments with which each function works: all that it has."""

OF_USERS = "meshhook_user_enqueue"
"""The one function that is not the service role's."""

OWN = re.compile(r"MH\d{3}")


class Caller:
    """Posts bodies to the RPC endpoint with the secret key.

    Args:
        stack: Where to.
        contents: What must not change when a call is refused.
    """

    def __init__(self, stack: LocalStack, contents: Contents) -> None:
        self.contents = contents
        key = stack.secret_key
        self._http = httpx.Client(
            base_url=f"{stack.rest_url}/rpc/", headers={"apikey": key}, timeout=30
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, function: str, body: bytes) -> httpx.Response:
        """Send a body as it is."""
        headers = {"Content-Type": "application/json"}
        return self._http.post(function, content=body, headers=headers)

    def become(self, token: str) -> None:
        """Make all further calls as the user whose token it is."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(self, function: str, arguments: Any) -> httpx.Response:
        """Call a function; hold the answer against what is promised of every answer."""
        before = self.contents.snapshot()
        answer = self.post(function, json.dumps(arguments).encode())
        if not answer.is_success:
            said = answer.json()
            assert answer.status_code < 500, said
            assert is_a_refusal(said["code"]), said
            assert self.contents.snapshot() == before, said
            assert len(answer.content) < 2000, "an error repeats what it was given"
        return answer


def is_a_refusal(code: str) -> bool:
    """Tell whether a code says that an argument is not usable, and nothing else."""
    # 22xxx: Postgres cannot make the argument's type of the JSON; 54xxx: it is too large for it.
    # PGRST102: the body is no JSON.
    return bool(OWN.fullmatch(code)) or code[:2] in {"22", "54"} or code == "PGRST102"


@pytest.fixture(scope="module")
def caller(stack: LocalStack, admin: psycopg.Connection) -> Iterator[Caller]:
    """Two queues with jobs of every kind in one of them."""
    caller = Caller(stack, Contents(admin))
    for name in ("fuzz", "fuzz_gone"):
        caller.call("meshhook_create_queue", {"queue_name": name}).raise_for_status()
    seed(caller)
    yield caller
    # A user's right to call stays when the queue goes, and other tests look at rights.
    admin.execute(
        "select public.meshhook_disallow_user_enqueue(q.queue_name)"
        " from meshhook.user_queues u join meshhook.queues q using (queue_id)"
    )
    for (name,) in admin.execute(
        "select queue_name from pgmq.meta where queue_name !~ '^(workflow_jobs|t_|p_)'"
    ).fetchall():
        admin.execute("select public.meshhook_drop_queue(%s)", [name])
    caller.close()


def seed(caller: Caller) -> None:
    """Have jobs that wait, are running and are dead."""
    messages = [{"run_id": "r"}] * 5
    caller.call("meshhook_enqueue", {"queue_name": "fuzz", "messages": messages})
    caller.call("meshhook_dequeue", {"queue_name": "fuzz", "quantity": 4, "vt_seconds": 3600})
    caller.call("meshhook_dead_letter", {"queue_name": "fuzz", "msg_ids": [4], "read_cts": [1]})


def test_there_are_valid_arguments_for_every_function(admin: psycopg.Connection) -> None:
    rows = admin.execute(
        "select proname, coalesce(proargnames, '{}') from pg_proc"
        " where pronamespace = 'public'::regnamespace and proname like 'meshhook%%'"
        " and proname <> %s",
        [OF_USERS],
    ).fetchall()

    assert {name: sorted(arguments) for name, arguments in rows} == {
        name: sorted(arguments) for name, arguments in VALID.items()
    }


@pytest.mark.parametrize("function", VALID)
def test_the_valid_arguments_are_valid(caller: Caller, function: str) -> None:
    assert caller.call(function, VALID[function]).is_success


@pytest.mark.parametrize("function", [name for name, arguments in VALID.items() if arguments])
def test_any_value_for_any_argument_works_or_is_refused(caller: Caller, function: str) -> None:
    arguments = VALID[function]

    @thorough(30)
    @given(st.dictionaries(st.sampled_from(sorted(arguments)), json_values, min_size=1, max_size=2))
    def check(values: dict[str, Any]) -> None:
        caller.call(function, {**arguments, **plain(values)})

    check()


def test_any_value_that_a_user_sends_works_or_is_refused(
    stack: LocalStack, caller: Caller, admin: psycopg.Connection
) -> None:
    allowed = {**VALID["meshhook_allow_user_enqueue"], "quota": 1000, "per_seconds": 1}
    caller.call("meshhook_allow_user_enqueue", allowed).raise_for_status()
    user = Caller(stack, Contents(admin))
    user.become(stack.token("authenticated", sub=str(uuid.uuid4())))
    arguments = {"queue_name": "fuzz", "message": {}, "delay_seconds": 0, "request_id": "r"}

    @thorough(60)
    @given(st.dictionaries(st.sampled_from(sorted(arguments)), json_values, min_size=1, max_size=2))
    def check(values: dict[str, Any]) -> None:
        user.call(OF_USERS, {**arguments, **plain(values)})

    check()
    user.close()


@pytest.mark.parametrize("kind", ["complete", "archive", "retry", "release", "dead_letter"])
def test_any_value_in_any_outcome_works_or_is_refused(caller: Caller, kind: str) -> None:
    outcome = {
        "outcome": kind,
        "msg_id": 1,
        "read_ct": 1,
        "seconds": 1.5,
        "delay_seconds": 0,
        "error_type": "OSError",
        "error_message": "boom",
        "error_stack": "File x",
        "worker": "w",
        "undelivered": False,
    }

    @thorough(40)
    @given(
        st.lists(
            st.dictionaries(st.sampled_from(sorted(outcome)), json_values, min_size=1, max_size=2),
            min_size=1,
            max_size=2,
        )
    )
    def check(many: list[dict[str, Any]]) -> None:
        outcomes = [{**outcome, **plain(values)} for values in many]
        caller.call("meshhook_settle", {"queue_name": "fuzz", "outcomes": outcomes})

    check()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"queue_name": NaN}',
        b'{"queue_name": "fuzz", "messages": [{"a": Infinity}]}',
        b'{"queue_name": "fuzz", "messages": [{"a": 1e400}]}',
        b'{"queue_name": "fuzz", "messages": [{"a": "\\u0000"}]}',
        b'{"queue_name": "fuzz", "messages": [{"a": "\\ud800"}]}',
        b'{"queue_name": "fuzz", "messages": [{"a": "\xed\xa0\x80"}]}',
        b'{"queue_name": "fuzz", "queue_name": "fuzz", "messages": []}',
        b'{"queue_name": "fuzz", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"queue_name": "fuzz", "messages": [' + b"1" * 200_000 + b"]}",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_no_body_is_a_fault_of_the_server(caller: Caller, body: bytes) -> None:
    before = caller.contents.snapshot()

    answer = caller.post("meshhook_enqueue", body)

    assert answer.status_code < 500, answer.text
    assert answer.is_success or caller.contents.snapshot() == before
