"""What a worker is told, checked."""

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
    from meshhook.models import JobMessage, RetryConfig
    from meshhook.worker.events import ErrorHook, Hook
    from meshhook.worker.handler import JobHandler

MAX_CONCURRENCY = 10_000
MAX_NAME = 200
MAX_POLL_INTERVAL_MS = 3_600_000


@attrs.frozen
class Drain:
    """The limits of a drain.

    Attributes:
        max_jobs: How many jobs it claims, at most.
        begin_until: Until when a job may start, on the clock of `time.monotonic`.
    """

    max_jobs: float = math.inf
    begin_until: float = math.inf


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker was told.

    Attributes:
        transport: What sends each call once.
        handler: What jobs are handed to.
        weights: The queues and their weights.
        poll_interval_seconds: How long to wait after a queue had fewer jobs than asked for.
        vt_seconds: The visibility timeout, or None for each queue's own.
        strategy: The back-off and the last attempt, or None for each queue's own.
        concurrency: How many handlers may run at once.
        prefetch: How many more jobs may be claimed than there are handlers free; None for as many
            as the load asks for.
        job_timeout_seconds: How long an attempt may take where the handler does not say.
        grace_seconds: How long a stop waits for handlers.
        on_event: What is called with each event.
        on_error: What is called with each error of an attempt.
        log_tracebacks: Whether a failed attempt is logged with its traceback.
        drain: When to stop by itself, or None to work for ever.
        cancel_seconds: How long a cancelled handler may take to clean up.
        settle_seconds: How long a stop waits for the last outcomes to be settled.
        fatal_exceptions: What a handler raises when no further attempt makes sense.
        name: Who works.
    """

    transport: Transport = attrs.field(repr=False)
    handler: JobHandler
    weights: Mapping[str, int]
    poll_interval_seconds: float
    vt_seconds: float | None
    strategy: RetryStrategy | None
    concurrency: int
    prefetch: int | None
    job_timeout_seconds: float | None
    grace_seconds: float
    on_event: Hook | None
    on_error: ErrorHook | None
    log_tracebacks: bool
    drain: Drain | None = None
    cancel_seconds: float = 5.0
    settle_seconds: float = 10.0
    fatal_exceptions: tuple[type[BaseException], ...]
    name: str


def make_settings(  # noqa: PLR0913 - the worker's settings, given by name
    transport: Transport,
    job_handler: JobHandler | Callable[[JobMessage], Any],
    queue_name: str | Mapping[str, int] | Iterable[str],
    *,
    poll_interval_ms: int = 1000,
    visibility_timeout_seconds: float | timedelta | None = 30,
    retry_config: RetryStrategy | RetryConfig | dict[str, int] | None = None,
    concurrency: int = 10,
    prefetch: int | None = None,
    job_timeout_seconds: float | timedelta | None = None,
    grace_seconds: float | timedelta = 30,
    fatal_exceptions: Iterable[type[BaseException]] = (),
    on_event: Hook | None = None,
    on_error: ErrorHook | None = None,
    log_tracebacks: bool = True,
    name: str | None = None,
) -> Settings:
    """Check a worker's settings; `Worker` says what each of them means.

    Returns:
        The settings.

    Raises:
        TypeError: The handler is not a function of one argument.
        InvalidInputError: A setting is out of range.
    """
    if visibility_timeout_seconds is not None:
        visibility_timeout_seconds = check.positive_seconds(
            "visibility_timeout_seconds", visibility_timeout_seconds, check.MAX_VT_SECONDS
        )
    if job_timeout_seconds is not None:
        job_timeout_seconds = check.positive_seconds("job_timeout_seconds", job_timeout_seconds)
    for hook_name, hook in (("on_event", on_event), ("on_error", on_error)):
        if hook is not None:
            check.function(hook_name, hook)
    if prefetch is not None:
        check.whole_number("prefetch", prefetch, 0, MAX_CONCURRENCY)
    if name is not None:
        check.text("name", name, MAX_NAME)
    check.whole_number("poll_interval_ms", poll_interval_ms, 1, MAX_POLL_INTERVAL_MS)
    return Settings(
        transport=transport,
        handler=create_job_handler(job_handler),
        weights=queue_weights(queue_name),
        poll_interval_seconds=poll_interval_ms / 1000,
        vt_seconds=visibility_timeout_seconds,
        strategy=None if retry_config is None else RetryStrategy.from_config(retry_config),
        concurrency=check.whole_number("concurrency", concurrency, 1, MAX_CONCURRENCY),
        prefetch=prefetch,
        job_timeout_seconds=job_timeout_seconds,
        grace_seconds=check.delay_seconds("grace_seconds", grace_seconds),
        fatal_exceptions=check.exception_classes("fatal_exceptions", fatal_exceptions),
        on_event=on_event,
        on_error=on_error,
        log_tracebacks=check.flag("log_tracebacks", log_tracebacks),
        name=name or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
    )
