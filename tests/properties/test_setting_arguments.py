"""Everything that is configured rather than called: given anything, it is accepted or refused.

What is refused is refused at once, where it is written down, by an error that names the setting.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from supabase import AsyncClient

from meshhook import (
    ConfigurationError,
    DeadLetter,
    DLQService,
    InvalidInputError,
    QueueService,
    RepeatPolicy,
    Retry,
    RetryStrategy,
    Snooze,
    Worker,
    connect,
    connect_sync,
    create_job_handler,
)
from meshhook.serverless import asgi_app, kick_sql, lambda_handler, wsgi_app
from meshhook.worker import drain
from meshhook.worker.draining import DrainOptions
from tests.properties.hostile import ONE_OF_EACH, any_values, plain
from tests.properties.profiles import thorough


def handler(message: object) -> None:
    """Do nothing."""


STRATEGY = RetryStrategy()
SETTINGS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "RetryStrategy": (
        RetryStrategy,
        {"base_delay_ms": 1000, "max_delay_ms": 2000, "max_attempts": 5},
    ),
    "RetryStrategy.from_config": (RetryStrategy.from_config, {"config": {"max_attempts": 5}}),
    "RetryStrategy.get_next_delay": (STRATEGY.get_next_delay, {"attempt": 1}),
    "RetryStrategy.get_delay_seconds": (STRATEGY.get_delay_seconds, {"attempt": 1}),
    "RetryStrategy.can_retry": (STRATEGY.can_retry, {"attempt": 1}),
    "RetryStrategy.should_move_to_dead_letter": (
        STRATEGY.should_move_to_dead_letter,
        {"attempt": 1},
    ),
    "RetryStrategy.get_retry_info": (STRATEGY.get_retry_info, {"attempt": 1}),
    "RepeatPolicy": (
        RepeatPolicy,
        {"tries": 5, "base_seconds": 0.2, "max_seconds": 10.0, "total_seconds": 60.0},
    ),
    "Retry": (Retry, {"after_seconds": 60, "reason": "busy", "run_at": None}),
    "Snooze": (Snooze, {"seconds": 60, "run_at": None}),
    "DeadLetter": (DeadLetter, {"reason": "gone"}),
    "create_job_handler": (
        lambda timeout_seconds: create_job_handler(handler, timeout_seconds),
        {"timeout_seconds": 60},
    ),
    "kick_sql": (
        kick_sql,
        {
            "url": "https://example.com/drain",
            "queue_name": "jobs",
            "schedule": "10 seconds",
            "secret_name": "secret",
            "timeout_seconds": 60,
        },
    ),
    "asgi_app": (lambda secret: asgi_app(handler, secret=secret), {"secret": "x" * 32}),
    "wsgi_app": (lambda secret: wsgi_app(handler, secret=secret), {"secret": "x" * 32}),
}
WORKER = {
    "queue_name": "workflow_jobs",
    "poll_interval_ms": 1000,
    "visibility_timeout_seconds": 30,
    "retry_config": None,
    "concurrency": 10,
    "prefetch": 0,
    "job_timeout_seconds": None,
    "grace_seconds": 30,
    "fatal_exceptions": (),
    "on_event": None,
    "on_error": None,
    "log_tracebacks": True,
    "name": "w",
}
DRAIN = {
    "queue_name": "workflow_jobs",
    "max_jobs": 1,
    "deadline_seconds": 5,
    "concurrency": 10,
    "visibility_timeout_seconds": 30,
    "retry_config": None,
    "job_timeout_seconds": None,
    "fatal_exceptions": (),
    "on_event": None,
    "on_error": None,
    "log_tracebacks": True,
    "name": "w",
}
REFUSALS = (InvalidInputError, ConfigurationError)


def each(settings: dict[str, tuple[Callable[..., Any], dict[str, Any]]]) -> list[Any]:
    return [
        pytest.param(make, known, name, id=f"{owner}-{name}")
        for owner, (make, known) in settings.items()
        for name in known
    ]


@contextmanager
def refusals_are_clear() -> Iterator[None]:
    """Let nothing but a clear refusal happen."""
    text = ""
    try:
        yield
    except REFUSALS as error:
        text = str(error)
    assert not text or 10 < len(text) < 5000, text[:200]


def hold(make: Callable[..., Any], known: dict[str, Any], values: dict[str, Any]) -> None:
    """Make something with values in place of the valid ones, or see them refused clearly."""
    with refusals_are_clear():
        make(**{**known, **plain(values)})


@pytest.mark.parametrize(("make", "known", "name"), each(SETTINGS))
def test_any_value_is_accepted_or_refused(
    make: Callable[..., Any], known: dict[str, Any], name: str
) -> None:
    for value in ONE_OF_EACH:
        hold(make, known, {name: value})

    @thorough(20)
    @given(any_values)
    def check(value: Any) -> None:
        hold(make, known, {name: value})

    check()


@pytest.mark.parametrize("name", WORKER)
async def test_any_setting_of_a_worker_is_accepted_or_refused(
    client: AsyncClient, name: str
) -> None:
    for value in ONE_OF_EACH:
        hold(lambda **settings: Worker(client, handler, **settings), WORKER, {name: value})


@pytest.mark.parametrize("name", DRAIN)
async def test_any_option_of_a_drain_is_accepted_or_refused(
    client: AsyncClient, queue: QueueService, name: str
) -> None:
    for value in ONE_OF_EACH:
        options: Any = {**DRAIN, "queue_name": queue.queue_name, **plain({name: value})}
        with refusals_are_clear():
            await drain(client, handler, **options)


@pytest.mark.parametrize(
    ("make", "known", "name"),
    [setting for setting in each(SETTINGS) if setting.values[2].endswith("seconds")],
)
def test_a_duration_may_be_a_timedelta(
    make: Callable[..., Any], known: dict[str, Any], name: str
) -> None:
    make(**{**known, name: timedelta(seconds=1)})


async def test_the_durations_of_a_worker_and_of_a_drain_may_be_timedeltas(
    client: AsyncClient, queue: QueueService
) -> None:
    def in_timedeltas(known: dict[str, Any]) -> dict[str, Any]:
        return {n: timedelta(seconds=5) if n.endswith("seconds") else v for n, v in known.items()}

    Worker(client, handler, **in_timedeltas(WORKER))
    options: Any = {**in_timedeltas(DRAIN), "queue_name": queue.queue_name}
    report = await drain(client, handler, **options)

    assert report.reason == "empty"


@pytest.mark.parametrize(
    ("service", "name"),
    [
        (QueueService, "queue_name"),
        (QueueService, "repeat_policy"),
        (DLQService, "dlq_name"),
        (DLQService, "repeat_policy"),
    ],
)
async def test_any_argument_of_a_service_is_accepted_or_refused(
    client: AsyncClient, service: type, name: str
) -> None:
    for value in ONE_OF_EACH:
        hold(lambda **arguments: service(client, **arguments), {}, {name: value})


@pytest.mark.parametrize("name", ["url", "key"])
async def test_any_address_and_any_key_is_accepted_or_refused(name: str) -> None:
    known = {"url": "http://127.0.0.1:9", "key": "sb_secret_0123456789"}
    for value in ONE_OF_EACH:
        arguments: Any = {**known, **plain({name: value})}
        with refusals_are_clear(), connect_sync(**arguments):
            pass
        with refusals_are_clear():
            async with connect(**arguments):
                pass


def test_what_is_configured_is_tested_whole() -> None:
    """A new setting of a worker or a drain needs no entry here to be noticed."""
    settings = set(inspect.signature(Worker).parameters) - {"supabase_client", "job_handler"}

    assert settings == set(WORKER)
    assert set(inspect.get_annotations(DrainOptions)) == set(DRAIN)


@pytest.mark.parametrize("name", ["on_event", "on_error", "name"])
async def test_a_setting_that_cannot_work_is_refused_at_once(
    client: AsyncClient, name: str
) -> None:
    with pytest.raises((*REFUSALS, TypeError)):
        Worker(client, handler, **{name: 5})  # type: ignore[arg-type]  # that is the point


async def test_a_repeat_policy_that_is_none_is_refused_at_once(client: AsyncClient) -> None:
    with pytest.raises((*REFUSALS, TypeError)):
        QueueService(client, repeat_policy=5)  # type: ignore[arg-type]  # that is the point


def test_an_entry_point_refuses_what_a_drain_refuses() -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 1000

    entry = lambda_handler(handler, concurrency=0)

    with pytest.raises(REFUSALS):
        entry({}, Context())
