"""A receiver of webhooks for the demo, which fails as real receivers do.

/hooks/steady   takes everything
/hooks/slow     takes everything, after a delay
/hooks/flaky    answers 503 to every delivery once or twice before it takes it
/hooks/busy     answers 429 with Retry-After to every first try
/hooks/broken   answers 500 until it is repaired
/hooks/gone     always answers 410
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SLOW_SECONDS = 0.1
RETRY_AFTER_SECONDS = 1


class Receiver:
    """A local HTTP server that remembers which deliveries it took.

    Attributes:
        delivered: How often each delivery was taken, by its id.
        answers: How often each status was answered.
    """

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self._tries: Counter[str] = Counter()
        self._repaired = False
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def repair(self) -> None:
        """Repair /hooks/broken."""
        self._repaired = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(self.path, json.loads(body)["delivery"])
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                pass  # the demo prints what matters

        return Handler

    def take(self, path: str, delivery: str) -> int:
        """Handle one try of a delivery.

        Args:
            path: The hook.
            delivery: The delivery's id.

        Returns:
            The HTTP status to answer.
        """
        if path == "/hooks/slow":
            time.sleep(SLOW_SECONDS)
        with self._lock:
            self._tries[delivery] += 1
            status = self._status(path, delivery)
            self.answers[status] += 1
            if status == 200:
                self.delivered[delivery] += 1
        return status

    def _status(self, path: str, delivery: str) -> int:
        tries = self._tries[delivery]
        if path == "/hooks/gone":
            return 410
        if path == "/hooks/broken" and not self._repaired:
            return 500
        if path == "/hooks/flaky" and tries <= 1 + int(delivery[0], 16) % 2:
            return 503
        if path == "/hooks/busy" and tries == 1:
            return 429
        return 200
