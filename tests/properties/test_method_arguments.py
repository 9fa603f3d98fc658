"""Every public method of the services, given anything at all, through the gateway.

A call works, or raises an error of MeshHook's own that says what is wrong, and has changed nothing.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from supabase import AsyncClient

from meshhook import (
    DLQService,
    InvalidInputError,
    JobNotFoundError,
    MeshHookError,
    QueueNotFoundError,
    QueueService,
    QueueSettings,
    RejectedError,
    RequestError,
    SyncDLQService,
    SyncQueueService,
    connect_sync,
)
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.properties.contents import Contents
from tests.properties.hostile import ONE_OF_EACH, any_values, plain
from tests.properties.profiles import thorough

SETTINGS = {
    "dlq_name": "methods_dlq",
    "vt_seconds": 30,
    "max_attempts": 5,
    "base_delay_ms": 1000,
    "max_delay_ms": 2000,
    "keeps_history": True,
    "has_dead_letters": True,
    "retention_days": 30.0,
}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
QUEUE_METHODS: dict[str, dict[str, Any]] = {
    "acknowledge": {"job_or_msg_id": 1},
    "acknowledge_many": {"jobs": [1, 2]},
    "archive_job": {"job_or_msg_id": 1},
    "cancel_job": {"msg_id": 1},
    "configure_queue": SETTINGS,
    "create_queue": SETTINGS,
    "delete_job": {"msg_id": 1},
    "dequeue": {"vt_seconds": 30},
    "dequeue_many": {"quantity": 2, "vt_seconds": 30},
    "drop_queue": {"drop_dlq": False},
    "enqueue": {
        "job_data": job_data(metadata={"a": 1}),
        "delay_seconds": 0,
        "run_at": LONG_AGO,
        "idempotency_key": None,
        "idempotency_seconds": 60,
    },
    "enqueue_many": {
        "jobs": [job_data(), job_data()],
        "delay_seconds": 0,
        "run_at": LONG_AGO,
        "idempotency_key": None,
        "idempotency_keys": ["a", None],
        "idempotency_seconds": 60,
    },
    "extend": {"job_or_msg_id": 1, "vt_seconds": 30},
    "find_jobs": {"run_id": job_data()["run_id"], "limit": 10},
    "get_job": {"msg_id": 1},
    "get_queue_metrics": {},
    "list_jobs": {"state": "completed", "limit": 10, "before_msg_id": None},
    "list_workers": {},
    "pause_queue": {},
    "prune_history": {"older_than_days": 1.0, "max_rows": 10},
    "purge_queue": {},
    "release": {"job_or_msg_id": 1, "delay_seconds": 0, "run_at": LONG_AGO},
    "resume_queue": {},
    "retry": {
        "job_or_msg_id": 1,
        "delay_seconds": 0,
        "error_message": "boom",
        "error_stack": "File x",
        "run_at": LONG_AGO,
    },
}
DLQ_METHODS: dict[str, dict[str, Any]] = {
    "delete_dead_letter_job": {"msg_id": 1},
    "get_dead_letter_job": {"msg_id": 1},
    "get_dlq_metrics": {},
    "count_by_error_type": {"limit": 10},
    "get_jobs_by_error_type": {"limit": 10},
    "iterate_dead_letter_jobs": {"page_size": 10},
    "list_dead_letter_jobs": {"limit": 10, "after_msg_id": 0},
    "move_to_dead_letter": {"job": None, "error_message": "boom", "error_stack": "File x"},
    "purge_dlq": {},
    "replay_dead_letter_job": {"msg_id": 1, "target_queue": None},
    "replay_multiple_jobs": {"msg_ids": [1, 2], "target_queue": None},
}
"""Arguments with which each method works, but for the job of `move_to_dead_letter`."""

# It takes a client, of which a wrong kind is a TypeError; `buffered` sends nothing by itself.
OTHERS = {"list_queues", "buffered"}
METHODS = [
    *(("queue", method) for method in QUEUE_METHODS),
    *(("dlq", method) for method in DLQ_METHODS),
]
WITH_ARGUMENTS = [
    (kind, method) for kind, method in METHODS if (QUEUE_METHODS | DLQ_METHODS)[method]
]
OWN_REFUSALS = (RejectedError, QueueNotFoundError)


def parameters(service: type, method: str) -> set[str]:
    names = set(inspect.signature(getattr(service, method)).parameters) - {"self"}
    return set(QueueSettings.__annotations__) if names == {"settings"} else names


@pytest.mark.parametrize(
    ("services", "known"),
    [
        ((QueueService, SyncQueueService), QUEUE_METHODS),
        ((DLQService, SyncDLQService), DLQ_METHODS),
    ],
)
def test_there_are_valid_arguments_for_every_method(
    services: tuple[type, ...], known: dict[str, dict[str, Any]]
) -> None:
    for service in services:
        methods = {
            name
            for name, _ in inspect.getmembers(service, callable)
            if not name.startswith("_") and name not in OTHERS
        }
        assert {name: parameters(service, name) for name in methods} == {
            name: set(arguments) for name, arguments in known.items()
        }


def assert_clear(error: MeshHookError) -> None:
    """Hold an error against what is promised of every refusal."""
    assert 10 < len(str(error)) < 5000, str(error)[:200]
    if isinstance(error, InvalidInputError):
        assert error.problems
        assert all(problem.field and problem.value and problem.fix for problem in error.problems)
        assert error.__cause__ is None
        assert error.__context__ is None
    else:
        assert isinstance(error, (*OWN_REFUSALS, JobNotFoundError)), repr(error)
        if isinstance(error, RequestError):
            assert error.status is not None
            assert 400 <= error.status < 500


def arguments_of(kind: str, method: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for one or two arguments of a method."""
    known = (QUEUE_METHODS if kind == "queue" else DLQ_METHODS)[method]
    return st.dictionaries(st.sampled_from(sorted(known)), any_values, min_size=1, max_size=2)


class Target:
    """The two services of a queue that has jobs of every kind.

    Args:
        queue: The queue's.
        dlq: That of its dead letter queue.
        admin: A superuser's connection.
    """

    def __init__(self, queue: Any, dlq: Any, admin: psycopg.Connection) -> None:
        self.contents = Contents(admin)
        self._services = {"queue": queue, "dlq": dlq}
        admin.execute("select public.meshhook_create_queue('methods')")
        admin.execute(
            "select public.meshhook_enqueue('methods', '[{}, {}, {}, {}]'),"
            " public.meshhook_dequeue('methods', 2, 3600)"
        )

    def call(self, kind: str, method: str, values: dict[str, Any]) -> Any:
        """Call a method with some arguments in place of the valid ones."""
        known = (QUEUE_METHODS if kind == "queue" else DLQ_METHODS)[method]
        function: Callable[..., Any] = getattr(self._services[kind], method)
        return function(**{**known, **plain(values)})

    def refused(self, error: MeshHookError, before: dict[str, str]) -> None:
        """Check a refusal, and that it has changed nothing."""
        assert_clear(error)
        after = self.contents.snapshot()
        if isinstance(error, JobNotFoundError):
            # That there was no such job is an answer, which a repeat of the call gets again.
            after["meshhook.requests"] = before["meshhook.requests"]
        assert after == before


@pytest.fixture
def dropped(admin: psycopg.Connection) -> Any:
    """Drop what a test has made, under whatever names."""
    before = {name for (name,) in admin.execute("select queue_name from pgmq.meta").fetchall()}
    yield
    for (name,) in admin.execute("select queue_name from pgmq.meta").fetchall():
        if name not in before:
            admin.execute("select public.meshhook_drop_queue(%s)", [name])


@pytest.fixture
async def target(client: AsyncClient, admin: psycopg.Connection, dropped: None) -> Target:
    """The async services."""
    del dropped
    return Target(QueueService(client, "methods"), DLQService(client, "methods_dlq"), admin)


@pytest.mark.parametrize(("kind", "method"), WITH_ARGUMENTS)
async def test_one_value_of_each_kind_works_or_is_refused(
    target: Target, kind: str, method: str
) -> None:
    known = (QUEUE_METHODS if kind == "queue" else DLQ_METHODS)[method]
    for name, value in itertools.product(known, ONE_OF_EACH):
        values = {name: value}
        before = target.contents.snapshot()
        try:
            answer = target.call(kind, method, values)
            if inspect.isasyncgen(answer):
                async for _ in answer:
                    pass
            else:
                await answer
        except MeshHookError as error:
            target.refused(error, before)


@pytest.mark.parametrize(("kind", "method"), WITH_ARGUMENTS)
def test_any_argument_of_a_sync_method_works_or_is_refused(
    stack: LocalStack, admin: psycopg.Connection, dropped: None, kind: str, method: str
) -> None:
    del dropped
    with connect_sync(stack.url, stack.secret_key) as client:
        queue, dlq = SyncQueueService(client, "methods"), SyncDLQService(client, "methods_dlq")
        target = Target(queue, dlq, admin)

        @thorough(15)
        @given(arguments_of(kind, method))
        def check(values: dict[str, Any]) -> None:
            before = target.contents.snapshot()
            try:
                answer = target.call(kind, method, values)
                if inspect.isgenerator(answer):
                    list(answer)
            except MeshHookError as error:
                target.refused(error, before)

        check()
