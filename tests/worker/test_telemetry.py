"""Traces and metrics through OpenTelemetry: one trace from the enqueue to the last attempt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as metrics_state
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util._once import Once

from meshhook import DLQService, JobMessage, QueueService, Snooze, SyncQueueService, connect_sync
from meshhook.local import LocalStack
from tests.jobs import job_data
from tests.worker.conftest import Events, MakeWorker, do_nothing


class Recorder:
    """What was traced and measured in a test."""

    def __init__(self, exporter: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self._exporter = exporter
        self._reader = reader

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans whose names begin so, in the order of their beginnings."""
        spans = [s for s in self._exporter.get_finished_spans() if s.name.startswith(name)]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def total(self, name: str, queue_name: str) -> float:
        """Return the sum of a metric for a queue: the count for a histogram."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return sum(
            point.count if isinstance(point, HistogramDataPoint) else point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint | NumberDataPoint)
            and (point.attributes or {})["messaging.destination.name"] == queue_name
        )


@pytest.fixture(scope="module")
def sdk() -> Iterator[tuple[InMemorySpanExporter, InMemoryMetricReader]]:
    """OpenTelemetry as an application sets it up, and taken away for the tests of other files.

    It can be set once in a process and not be unset, but by its own private variables.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        patch.setattr(metrics_state, "_METER_PROVIDER", None)
        patch.setattr(metrics_state, "_METER_PROVIDER_SET_ONCE", Once())
        yield _set_up()


def _set_up() -> tuple[InMemorySpanExporter, InMemoryMetricReader]:
    exporter = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracing)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return exporter, reader


@pytest.fixture
def recorder(sdk: tuple[InMemorySpanExporter, InMemoryMetricReader]) -> Iterator[Recorder]:
    sdk[0].clear()
    yield Recorder(*sdk)
    sdk[0].clear()


async def test_one_trace_goes_from_the_enqueue_through_every_attempt(
    queue: QueueService, events: Events, make_worker: MakeWorker, recorder: Recorder
) -> None:
    data = job_data()
    tracer = trace.get_tracer("the application")
    with tracer.start_as_current_span("a web request") as request:
        result = await queue.enqueue(data)

    async def fail_once(message: JobMessage) -> None:
        with tracer.start_as_current_span("inner"):
            if message.attempt == 1:
                raise ValueError("boom")

    async with make_worker(fail_once):
        await events.wait("succeeded")

    (enqueue,) = recorder.spans("enqueue")
    first, second = recorder.spans("process")
    assert enqueue.parent is not None
    assert enqueue.parent.span_id == request.get_span_context().span_id
    assert enqueue.kind is SpanKind.PRODUCER
    for span in (first, second):
        assert span.kind is SpanKind.CONSUMER
        assert span.parent is not None
        assert enqueue.context is not None
        assert span.parent.span_id == enqueue.context.span_id
        assert span.attributes is not None
        assert span.attributes["messaging.message.id"] == str(result.msg_id)
        assert span.attributes["messaging.destination.name"] == queue.queue_name
        assert span.attributes["messaging.message.conversation_id"] == data["run_id"]
    assert [s.attributes and s.attributes["meshhook.attempt"] for s in (first, second)] == [1, 2]
    assert [s.status.status_code for s in (first, second)] == [StatusCode.ERROR, StatusCode.UNSET]
    assert first.attributes is not None
    assert first.attributes["error.type"] == "ValueError"
    for inner, outer in zip(recorder.spans("inner"), (first, second), strict=True):
        assert inner.parent is not None
        assert outer.context is not None
        assert inner.parent.span_id == outer.context.span_id


async def test_the_trace_survives_the_dead_letter_queue(
    queue: QueueService,
    dlq: DLQService,
    events: Events,
    make_worker: MakeWorker,
    recorder: Recorder,
) -> None:
    await queue.enqueue(job_data(max_attempts=1))

    async def handler(_message: JobMessage) -> None:
        if not replayed:
            raise ValueError("boom")

    replayed: list[int] = []
    async with make_worker(handler):
        await events.wait("dead_lettered")
        replayed.append(1)
        (dead,) = await dlq.list_dead_letter_jobs()
        await dlq.replay_dead_letter_job(dead.msg_id)
        await events.wait("succeeded")

    (enqueue,) = recorder.spans("enqueue")
    assert enqueue.context is not None
    traces = {span.context.trace_id for span in recorder.spans("process") if span.context}
    assert traces == {enqueue.context.trace_id}


async def test_a_batch_is_one_span_and_a_plain_handler_sees_its_own(
    queue: QueueService, events: Events, make_worker: MakeWorker, recorder: Recorder
) -> None:
    await queue.enqueue_many([job_data(), job_data()])
    seen: set[int] = set()

    def handler(_: JobMessage) -> None:
        seen.add(trace.get_current_span().get_span_context().span_id)

    async with make_worker(handler):
        await events.wait("succeeded", times=2)

    (enqueue,) = recorder.spans("enqueue")
    assert enqueue.attributes is not None
    assert enqueue.attributes["messaging.batch.message_count"] == 2
    assert seen == {span.context.span_id for span in recorder.spans("process") if span.context}


@pytest.mark.parametrize("way", ["raised", "returned", "from a group"])
async def test_a_snooze_is_no_error(
    queue: QueueService, events: Events, make_worker: MakeWorker, recorder: Recorder, way: str
) -> None:
    await queue.enqueue(job_data())

    async def not_yet(_: JobMessage) -> object:
        with trace.get_tracer("test").start_as_current_span("inner"):
            if way == "raised":
                raise Snooze(60)
            if way == "from a group":
                raise BaseExceptionGroup("several", [ValueError(), Snooze(60)])
        return Snooze(60)

    async with make_worker(not_yet):
        await events.wait("snoozed")

    assert recorder.spans("process")[0].status.status_code is StatusCode.UNSET
    assert recorder.spans("inner")[0].status.status_code is StatusCode.UNSET


async def test_messages_and_durations_are_measured(
    queue: QueueService, events: Events, make_worker: MakeWorker, recorder: Recorder
) -> None:
    await queue.enqueue_many([job_data() for _ in range(3)])

    async with make_worker(do_nothing):
        await events.wait("succeeded", times=3)

    name = queue.queue_name
    assert recorder.total("messaging.client.sent.messages", name) == 3
    assert recorder.total("messaging.client.consumed.messages", name) == 3
    assert recorder.total("messaging.process.duration", name) == 3


def test_the_sync_service_traces_too(
    stack: LocalStack, queue_name: str, recorder: Recorder
) -> None:
    with connect_sync(stack.url, stack.secret_key) as client:
        queue = SyncQueueService(client, queue_name)
        queue.enqueue(job_data())
        job = queue.dequeue()

    (enqueue,) = recorder.spans("enqueue")
    assert enqueue.context is not None
    assert job is not None
    assert job.trace is not None
    assert f"{enqueue.context.trace_id:032x}" in job.trace["traceparent"]
    assert "_meshhook" not in job.message


def test_nothing_of_it_is_imported_unless_the_application_does() -> None:
    code = "import sys, meshhook; print(any('opentelemetry' in name for name in sys.modules))"

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout == "False\n"
