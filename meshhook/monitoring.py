"""Probes and metrics of a worker over HTTP: ``/healthz``, ``/readyz`` and ``/metrics``.

The server runs in its own thread, so that it can report a blocked event loop, and serves only these
three pages.
"""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.from_thread
import anyio.lowlevel
import attrs

from meshhook.exceptions import MeshHookError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from meshhook.models import QueueMetrics
    from meshhook.worker import Worker

__all__ = ["MonitoringServer"]

LOOP_SECONDS = 2.0
"""How long the worker's event loop may take to answer before it counts as blocked."""

_COUNTERS = {
    "processed": "Attempts that ended.",
    "succeeded": "Jobs completed.",
    "failed": "Attempts that failed.",
    "retried": "Jobs that will run again.",
    "moved_to_dlq": "Jobs moved to the dead letter queue.",
    "snoozed": "Jobs that their handlers snoozed.",
    "released": "Jobs handed back.",
    "lost": "Jobs whose lease was lost.",
}


@attrs.frozen
class _Page:
    status: int
    content: bytes
    content_type: str = "application/json"


class MonitoringServer:
    """Serves probes and metrics of a worker while a block runs.

    - ``/healthz``: 200 while the worker runs and its event loop answers, else 503. For liveness.
    - ``/readyz``: 200 while the worker claims jobs and its last poll succeeded, else 503: it is
      starting or stopping, or waits for Supabase. For readiness.
    - ``/metrics``: the worker's counters and its queues' depths, for Prometheus; it needs the
      extra ``prometheus``.

    Use it around the worker::

        async with meshhook.monitoring.MonitoringServer(worker, host="0.0.0.0", port=8080):
            await worker.run()

    Args:
        worker: The worker.
        host: Where to listen; in a container usually ``0.0.0.0``.
        port: The port; 0 for a free one.
    """

    def __init__(self, worker: Worker, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        self._worker = worker
        self._address = (host, port)
        self._server: ThreadingHTTPServer | None = None
        self._token: anyio.lowlevel.EventLoopToken | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._address[1] if self._server is None else int(self._server.server_address[1])

    async def __aenter__(self) -> Self:
        self._token = anyio.lowlevel.current_token()
        self._server = server = ThreadingHTTPServer(self._address, partial(_Handler, self))
        server.daemon_threads = True
        name = "meshhook-monitoring"
        threading.Thread(target=server.serve_forever, name=name, daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(server.shutdown)
            server.server_close()

    def page(self, path: str) -> _Page:
        """Return the page at a path."""
        pages = {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}
        show = pages.get(path)
        return _Page(404, b'{"error": "no such page"}') if show is None else show()

    def _health(self) -> _Page:
        is_alive = self._worker.is_running and self._loop_answers()
        return _verdict(is_alive, {"running": self._worker.is_running})

    def _readiness(self) -> _Page:
        stats = self._worker.get_stats()
        is_ready = (
            self._worker.is_running
            and not self._worker.is_stopping
            and stats.last_successful_poll is not None
            and stats.unhealthy_since is None
        )
        since = stats.unhealthy_since
        return _verdict(
            is_ready,
            {
                "running": self._worker.is_running,
                "stopping": self._worker.is_stopping,
                "unhealthy_since": since and since.isoformat(),
            },
        )

    def _metrics(self) -> _Page:
        try:
            import prometheus_client as prometheus  # noqa: PLC0415 - optional, and used here alone
        except ImportError:
            return _Page(501, b'{"error": "pip install \'meshhook[prometheus]\'"}')
        registry = prometheus.CollectorRegistry()
        registry.register(_Collector(self._worker, self._queue_metrics()))
        content = prometheus.generate_latest(registry)
        return _Page(200, content, prometheus.CONTENT_TYPE_LATEST)

    def _queue_metrics(self) -> list[QueueMetrics]:
        """Measure the queues; in an outage there are none, and the worker's own numbers show it."""
        try:
            return anyio.from_thread.run(self._worker.get_queue_metrics, token=self._token)
        except (MeshHookError, anyio.RunFinishedError):
            return []

    def _loop_answers(self) -> bool:
        answered = threading.Event()

        def ask() -> None:
            try:
                anyio.from_thread.run_sync(answered.set, token=self._token)
            except anyio.RunFinishedError:
                return  # no loop, no answer

        threading.Thread(target=ask, daemon=True).start()
        return answered.wait(LOOP_SECONDS)


def _verdict(is_good: bool, facts: dict[str, Any]) -> _Page:  # noqa: FBT001 - it is the verdict
    body = {"status": "ok" if is_good else "unavailable", **facts}
    return _Page(200 if is_good else 503, json.dumps(body).encode())


class _Handler(BaseHTTPRequestHandler):
    server_version = "meshhook"
    sys_version = ""
    timeout = 10

    def __init__(self, monitoring: MonitoringServer, *args: Any) -> None:
        self._monitoring = monitoring
        super().__init__(*args)

    def do_GET(self) -> None:
        page = self._monitoring.page(self.path.partition("?")[0])
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.content)))
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log nothing: there is a probe every few seconds."""


class _Collector:
    """What Prometheus reads of a worker."""

    def __init__(self, worker: Worker, queues: list[QueueMetrics]) -> None:
        self._worker = worker
        self._queues = queues

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import (  # noqa: PLC0415 - optional, and used here alone
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        stats = self._worker.get_stats()
        labels = (self._worker.name,)
        for field, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"meshhook_jobs_{field}", text, labels=("worker",))
            counter.add_metric(labels, getattr(stats, field))
            yield counter
        running = GaugeMetricFamily(
            "meshhook_jobs_running", "Jobs in their handlers now.", labels=("worker",)
        )
        running.add_metric(labels, stats.running)
        yield running
        healthy = GaugeMetricFamily(
            "meshhook_worker_healthy", "Whether the last poll succeeded.", labels=("worker",)
        )
        healthy.add_metric(labels, stats.unhealthy_since is None)
        yield healthy
        for field, text in (
            ("queue_length", "All jobs of the queue."),
            ("visible_jobs", "Jobs that can be claimed now."),
            ("oldest_msg_age_seconds", "Age of the oldest job."),
        ):
            gauge = GaugeMetricFamily(f"meshhook_{field}", text, labels=("queue",))
            for queue in self._queues:
                gauge.add_metric((queue.queue_name,), getattr(queue, field) or 0)
            yield gauge
