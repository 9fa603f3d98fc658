"""Tracing and metrics through OpenTelemetry, where the application uses it.

Nothing is imported here. An application that traces has imported OpenTelemetry itself; in any other
everything below does nothing, at the cost of a look into `sys.modules`. Names follow the semantic
conventions for messaging. The trace context is in the message, under MeshHook's reserved key, and
stays there through every retry, into the dead letter queue and back.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshhook.models import Job

SYSTEM = "meshhook"


class Sending:
    """An enqueue while it is under way.

    Attributes:
        trace: The trace context for the messages; None without tracing.
        msg_ids: The ids of the jobs, once they are known.
    """

    def __init__(self, trace: dict[str, str] | None = None) -> None:
        self.trace = trace
        self.msg_ids: tuple[int, ...] = ()


class Processing:
    """An attempt while it is under way.

    Attributes:
        error: What the handler raised, if it did.
        seconds: How long it took.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.seconds = 0.0


@contextmanager
def sending(queue_name: str) -> Iterator[Sending]:
    """Trace an enqueue; it has the trace context, and takes the ids of the jobs."""
    api = _api()
    if api is None:
        yield Sending()
        return
    attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": queue_name,
    }
    kind = api.SpanKind.PRODUCER
    with api.get_tracer(SYSTEM).start_as_current_span(
        f"enqueue {queue_name}", kind=kind, attributes=attributes
    ) as span:
        under_way = Sending(trace=_inject())
        yield under_way
        if len(under_way.msg_ids) == 1:
            span.set_attribute("messaging.message.id", str(under_way.msg_ids[0]))
        else:
            span.set_attribute("messaging.batch.message_count", len(under_way.msg_ids))
    _count("messaging.client.sent.messages", len(under_way.msg_ids), attributes)


@contextmanager
def processing(job: Job) -> Iterator[Processing]:
    """Trace an attempt, in the trace of its enqueue; it takes the error and the time."""
    api = _api()
    if api is None:
        yield Processing()
        return
    attributes: dict[str, Any] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue_name,
        "messaging.message.id": str(job.msg_id),
        "meshhook.attempt": job.attempt,
    }
    if (run_id := job.message.get("run_id")) is not None:
        attributes["messaging.message.conversation_id"] = str(run_id)
    with api.get_tracer(SYSTEM).start_as_current_span(
        f"process {job.queue_name}",
        context=_extract(job.trace),
        kind=api.SpanKind.CONSUMER,
        attributes=attributes,
    ) as span:
        attempt = Processing()
        yield attempt
        if attempt.error is not None:
            span.set_attribute("error.type", type(attempt.error).__qualname__)
            span.set_status(api.StatusCode.ERROR)
            span.record_exception(attempt.error)
    _measure(job, attempt)


def _measure(job: Job, attempt: Processing) -> None:
    attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.destination.name": job.queue_name,
    }
    if attempt.error is not None:
        attributes["error.type"] = type(attempt.error).__qualname__
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is not None:
        meter = metrics.get_meter(SYSTEM)
        meter.create_histogram("messaging.process.duration", "s").record(
            attempt.seconds, attributes
        )
    _count("messaging.client.consumed.messages", 1, attributes)


def _count(name: str, amount: int, attributes: Mapping[str, Any]) -> None:
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is not None:
        metrics.get_meter(SYSTEM).create_counter(name, "{message}").add(amount, attributes)


def current_trace() -> dict[str, str] | None:
    """Return the current trace context; None without tracing."""
    return None if _api() is None else _inject()


def is_used() -> bool:
    """Return whether the application uses OpenTelemetry."""
    return _api() is not None


def _api() -> Any:
    return sys.modules.get("opentelemetry.trace")


def _inject() -> dict[str, str] | None:
    from opentelemetry import propagate  # noqa: PLC0415 - there, since it has been imported

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier or None


def _extract(trace: Mapping[str, str] | None) -> Any:
    from opentelemetry import propagate  # noqa: PLC0415 - there, since it has been imported

    return propagate.extract(dict(trace)) if trace else None
