"""What the examples stand on: the shared stack, and a mail service that answers as told."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from meshhook.local import LocalStack
from tests.docs.snippets import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def meshhook_stack(stack: LocalStack) -> LocalStack:
    """The stack that is there already."""
    return stack


@pytest.fixture
def meshhook_queue_name() -> str:
    """The queue that the examples use."""
    return "workflow_jobs"


class MailService:
    """A mail service that remembers what it was sent.

    Attributes:
        answers: The statuses of the next answers, with their headers; 200 when there are no more.
        receipts: The orders of the requests that were answered with 200, by their idempotency key.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.receipts: dict[str, Any] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, key: str, order: Any) -> tuple[int, dict[str, str]]:
        """Take a request and return the status to answer."""
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        if status == 200:
            self.receipts[key] = order
        return status, headers

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers = service.take(self.headers["Idempotency-Key"], body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        return Handler


@pytest.fixture
def mail() -> Iterator[MailService]:
    """The service that sends the receipts."""
    service = MailService()
    yield service
    service.close()


@pytest.fixture
def environment(
    meshhook_stack: LocalStack, mail: MailService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the examples find in their environment."""
    monkeypatch.setenv("SUPABASE_URL", meshhook_stack.url)
    monkeypatch.setenv("SUPABASE_KEY", meshhook_stack.secret_key)
    monkeypatch.setenv("MAIL_URL", mail.url)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports an example, as if its folder were where Python was started."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]
