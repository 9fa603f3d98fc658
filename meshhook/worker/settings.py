"""A worker's settings, validated."""

from __future__ import annotations

import math
import os
import socket
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._inputs import check
from meshhook.retry import RetryStrategy
from meshhook.worker.handler import create_job_handler
from meshhook.worker.queues import queue_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from meshhook._http.transport import Transport
    from meshhook.models import RetryConfig
    from meshhook.worker.events import ErrorHook, Hook
    from meshhook.worker.handler import JobHandler

MAX_CONCURRENCY = 10_000
MAX_NAME = 200
MAX_POLL_INTERVAL_MS = 3_600_000

CANCEL_SECONDS = 5.0
"""How long a cancelled handler may take to clean up."""

SETTLE_SECONDS = 10.0
"""How long a stop waits for the last outcomes to be settled."""


@attrs.frozen
class Drain:
    """The limits of a drain: how many jobs, and until when one may start.

    Attributes:
        max_jobs: How many jobs it claims, at most.
        begin_until: Until when a job may start, on the clock of `time.monotonic`.
    """

    max_jobs: float = math.inf
    begin_until: float = math.inf


def _poll_interval_seconds(given: int) -> float:
    return check.whole_number("poll_interval_ms", given, 1, MAX_POLL_INTERVAL_MS) / 1000


def _vt_seconds(given: float | timedelta | None) -> float | None:
    if given is None:
        return None
    return check.positive_seconds("visibility_timeout_seconds", given, check.MAX_VT_SECONDS)


def _strategy(given: RetryStrategy | RetryConfig | dict[str, int] | None) -> RetryStrategy | None:
    return None if given is None else RetryStrategy.from_config(given)


def _job_timeout_seconds(given: float | timedelta | None) -> float | None:
    return None if given is None else check.positive_seconds("job_timeout_seconds", given)


def _grace_seconds(given: float | timedelta) -> float:
    return check.delay_seconds("grace_seconds", given)


def _fatal_exceptions(given: Iterable[type[BaseException]]) -> tuple[type[BaseException], ...]:
    return check.exception_classes("fatal_exceptions", given)


def _name(given: str | None) -> str:
    if given is None:
        return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return check.text("name", given, MAX_NAME)


def _whole_number(low: int) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(_: Any, field: attrs.Attribute[Any], value: object) -> None:
        check.whole_number(field.name, value, low, MAX_CONCURRENCY)

    return validate


def _function(_: Any, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        check.function(field.name, value)


def _flag(_: Any, field: attrs.Attribute[Any], value: object) -> None:
    check.flag(field.name, value)


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a worker; `Worker` says what those mean that are arguments of it.

    Attributes:
        transport: Sends each call once.
        handler: What jobs are handed to.
        weights: The queues and their weights.
        poll_interval_seconds: How long to wait after a queue had fewer jobs than asked for.
        vt_seconds: The visibility timeout, or None for each queue's own.
        strategy: The back-off and the last attempt, or None for each queue's own.
        drain: When to stop by itself, or None to work until stopped.
        cancel_seconds: How long a cancelled handler may take to clean up.
        settle_seconds: How long a stop waits for the last outcomes to be settled.

    Raises:
        TypeError: The handler is not a function of one argument.
        InvalidInputError: A setting is out of range.
    """

    transport: Transport = attrs.field(repr=False)
    handler: JobHandler = attrs.field(alias="job_handler", converter=create_job_handler)
    weights: Mapping[str, int] = attrs.field(alias="queue_name", converter=queue_weights)
    poll_interval_seconds: float = attrs.field(
        default=1000, alias="poll_interval_ms", converter=_poll_interval_seconds
    )
    vt_seconds: float | None = attrs.field(
        default=30.0, alias="visibility_timeout_seconds", converter=_vt_seconds
    )
    strategy: RetryStrategy | None = attrs.field(
        default=None, alias="retry_config", converter=_strategy
    )
    concurrency: int = attrs.field(default=10, validator=_whole_number(1))
    prefetch: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_whole_number(0))
    )
    job_timeout_seconds: float | None = attrs.field(default=None, converter=_job_timeout_seconds)
    grace_seconds: float = attrs.field(default=30.0, converter=_grace_seconds)
    fatal_exceptions: tuple[type[BaseException], ...] = attrs.field(
        default=(), converter=_fatal_exceptions
    )
    on_event: Hook | None = attrs.field(default=None, validator=_function)
    on_error: ErrorHook | None = attrs.field(default=None, validator=_function)
    log_tracebacks: bool = attrs.field(default=True, validator=_flag)
    name: str = attrs.field(default=None, converter=_name)
    drain: Drain | None = None
    cancel_seconds: float = attrs.field(factory=lambda: CANCEL_SECONDS)
    settle_seconds: float = attrs.field(factory=lambda: SETTLE_SECONDS)
