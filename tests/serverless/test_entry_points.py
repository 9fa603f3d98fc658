"""The entry points of function platforms, called as the platforms call them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from meshhook import ConfigurationError, JobMessage, QueueNotFoundError
from meshhook.serverless import asgi_app, http, lambda_handler, wsgi_app
from tests.jobs import job_data
from tests.serverless.conftest import SECRET
from tests.worker.conftest import do_nothing

pytestmark = pytest.mark.usefixtures("environment")

AUTHORIZED = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def one_job(admin: psycopg.Connection, queue_name: str) -> str:
    """A queue with one job in it."""
    admin.execute("select public.meshhook_enqueue(%s, %s)", [queue_name, Jsonb([job_data()])])
    return queue_name


async def hang(_: JobMessage) -> None:
    await anyio.sleep_forever()


async def fail(_: JobMessage) -> None:
    raise RuntimeError("the mail server is down")


def assert_logged(caplog: pytest.LogCaptureFixture, queue_name: str) -> None:
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.getMessage().startswith(
        f"job 1 in {queue_name}, attempt 1 of 5 failed: RuntimeError: the mail server is down; next"
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is RuntimeError


def assert_failure_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Check that a drain that failed as a whole is logged once."""
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (record.name, record.levelname) == ("meshhook.serverless", "ERROR")
    assert record.getMessage().startswith("the drain failed: QueueNotFoundError: ")
    assert '"never_created" does not exist' in record.getMessage()


class Context:
    """What Lambda gives, as far as it matters."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


def test_lambda_drains_within_the_time_that_is_left(one_job: str) -> None:
    entry = lambda_handler(do_nothing, queue_name=one_job)

    answer = entry({"any": "event"}, Context(30_000))

    assert (answer["succeeded"], answer["reason"], answer["more_waiting"]) == (1, "empty", False)


@pytest.mark.parametrize("given", [({},), ({}, None)], ids=["no context", "None"])
def test_lambda_without_a_context_drains_without_a_deadline_of_its_own(
    one_job: str, given: tuple[Any, ...]
) -> None:
    answer = lambda_handler(do_nothing, queue_name=one_job)(*given)

    assert (answer["succeeded"], answer["reason"]) == (1, "empty")


def test_lambda_hands_back_what_takes_too_long(one_job: str) -> None:
    answer = lambda_handler(hang, queue_name=one_job)({}, Context(3_000))

    assert (answer["released"], answer["more_waiting"]) == (1, True)
    assert answer["seconds"] < 3


def test_lambda_keeps_to_a_deadline_that_is_shorter(one_job: str) -> None:
    entry = lambda_handler(hang, queue_name=one_job, deadline_seconds=timedelta(seconds=2))

    assert entry({}, Context(900_000))["seconds"] < 2


def test_lambda_logs_what_fails(one_job: str, caplog: pytest.LogCaptureFixture) -> None:
    lambda_handler(fail, queue_name=one_job)({}, Context(30_000))

    assert_logged(caplog, one_job)
    caplog.clear()
    with pytest.raises(QueueNotFoundError):
        lambda_handler(fail, queue_name="never_created")({}, Context(30_000))
    assert_failure_logged(caplog)


Ask = Callable[..., httpx.Response]
Headers = dict[str, str] | None


def ask_asgi(app: Any, method: str = "POST", headers: Headers = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://function") as http:
            return await http.request(method, "/", headers=headers)

    return anyio.run(ask)


def ask_wsgi(app: Any, method: str = "POST", headers: Headers = None) -> httpx.Response:
    transport = httpx.WSGITransport(app)
    with httpx.Client(transport=transport, base_url="http://function") as http:
        return http.request(method, "/", headers=headers)


KINDS = {"asgi": (asgi_app, ask_asgi), "wsgi": (wsgi_app, ask_wsgi)}


@pytest.fixture(params=KINDS)
def make_app(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param][0]


@pytest.fixture
def ask(make_app: Any) -> Ask:
    return ask_asgi if make_app is asgi_app else ask_wsgi


def test_an_authorized_post_drains(make_app: Any, ask: Ask, one_job: str) -> None:
    app = make_app(do_nothing, queue_name=one_job)

    answer = ask(app, headers=AUTHORIZED)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["succeeded"], answer.json()["more_waiting"]) == (1, False)
    assert ask(app, headers=AUTHORIZED).json()["processed"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}x"},
    ],
)
def test_nobody_else_drains(make_app: Any, ask: Ask, one_job: str, headers: dict[str, str]) -> None:
    handled: list[JobMessage] = []

    answer = ask(make_app(handled.append, queue_name=one_job), headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert SECRET not in answer.text
    assert handled == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_post_drains(make_app: Any, ask: Ask, one_job: str, method: str) -> None:
    answer = ask(make_app(do_nothing, queue_name=one_job), method, AUTHORIZED)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_one_drain_at_a_time(make_app: Any, ask: Ask, one_job: str) -> None:
    answers: list[int] = []

    def ask_again(_: JobMessage) -> None:
        # From the handler's thread, while the first drain waits for it.
        answers.append(ask(app, headers=AUTHORIZED).status_code)

    app = make_app(ask_again, queue_name=one_job)

    first = ask(app, headers=AUTHORIZED).status_code
    answers += [first, ask(app, headers=AUTHORIZED).status_code]

    assert answers == [409, 200, 200]


def test_an_app_logs_what_fails(
    make_app: Any, ask: Ask, one_job: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(make_app(fail, queue_name=one_job), headers=AUTHORIZED).status_code == 200

    assert_logged(caplog, one_job)
    caplog.clear()
    assert ask(make_app(fail, queue_name="never_created"), headers=AUTHORIZED).status_code == 500
    assert_failure_logged(caplog)


def test_an_outage_that_lasts_is_a_503(
    make_app: Any, ask: Ask, one_job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")

    answer = ask(make_app(do_nothing, queue_name=one_job, deadline_seconds=0.5), headers=AUTHORIZED)

    assert answer.status_code == 503
    assert answer.json()["error"].startswith("meshhook_dequeue: no connection")
    assert (answer.json()["processed"], answer.json()["more_waiting"]) == (0, True)


def test_what_must_be_fixed_is_reported(make_app: Any, ask: Ask) -> None:
    answer = ask(make_app(do_nothing, queue_name="never_created"), headers=AUTHORIZED)

    assert answer.status_code == 500
    assert "create_queue" in answer.json()["error"]


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_secret_that_is_none_is_refused(
    make_app: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("MESHHOOK_DRAIN_SECRET", secret)

    with pytest.raises(ConfigurationError, match="MESHHOOK_DRAIN_SECRET"):
        make_app(do_nothing)


async def test_the_asgi_app_handles_the_lifespan() -> None:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await asgi_app(do_nothing)({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_plain_handler_of_the_wsgi_app_runs_in_a_thread(one_job: str) -> None:
    threads: list[threading.Thread] = []

    def handler(_: JobMessage) -> None:
        threads.append(threading.current_thread())

    assert ask_wsgi(wsgi_app(handler, queue_name=one_job), headers=AUTHORIZED).status_code == 200
    assert threads != [threading.main_thread()]


def test_a_token_of_any_bytes_is_compared_and_refused() -> None:
    endpoint = http.Endpoint(do_nothing, SECRET, {})

    assert endpoint.refusal("POST", "Bearer \xfc\u0431") == http.UNAUTHORIZED
    assert endpoint.refusal("POST", f"Bearer {SECRET}") is None
