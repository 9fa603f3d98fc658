"""An outage is waited out: the same request again, after pauses that grow, for a bounded time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
from postgrest import APIError

from meshhook import (
    OutageError,
    RateLimitedError,
    RepeatPolicy,
    RequestError,
    RequestTimeoutError,
    ServerUnavailableError,
    StatementTimeoutError,
    UnreachableError,
    exceptions,
)
from tests.http.fake import HTML, FakeSupabase, answers, breaks, call, fails, says
from tests.http.operations import OPERATIONS, Operation
from tests.unit.examples import job_data

if TYPE_CHECKING:
    from tests.http.fake import Planned

NO_ANSWER = {
    "connect error": (breaks(httpx.ConnectError), UnreachableError),
    "read error": (breaks(httpx.ReadError), UnreachableError),
    "write error": (breaks(httpx.WriteError), UnreachableError),
    "close error": (breaks(httpx.CloseError), UnreachableError),
    "remote protocol error": (breaks(httpx.RemoteProtocolError), UnreachableError),
    "proxy error": (breaks(httpx.ProxyError), UnreachableError),
    "garbled content": (says("no gzip", headers={"Content-Encoding": "gzip"}), UnreachableError),
    "connect timeout": (breaks(httpx.ConnectTimeout), RequestTimeoutError),
    "read timeout": (breaks(httpx.ReadTimeout), RequestTimeoutError),
    "write timeout": (breaks(httpx.WriteTimeout), RequestTimeoutError),
    "pool timeout": (breaks(httpx.PoolTimeout), RequestTimeoutError),
}
# One of each error; tests/unit/test_answers.py has all codes and statuses.
BAD_ANSWER = {
    "502 html": (says(HTML, 502), ServerUnavailableError),
    "503 html": (says(HTML, 503), ServerUnavailableError),
    "504 PGRST003": (fails(504, "PGRST003"), ServerUnavailableError),
    "429": (fails(429), RateLimitedError),
    "408": (says("", 408), RequestTimeoutError),
    "500 57014": (fails(500, "57014"), StatementTimeoutError),
}
OUTAGES = {**NO_ANSWER, **BAD_ANSWER}
NOT_MENDED_BY_WAITING: dict[str, tuple[Planned, type[exceptions.MeshHookError]]] = {
    "a wrong key": (fails(401, "PGRST301"), exceptions.InvalidKeyError),
    "a wrong key, by the gateway": (says("", 401), exceptions.InvalidKeyError),
    "an expired key": (
        answers({"code": "PGRST303", "message": "JWT expired"}, 401),
        exceptions.ExpiredKeyError,
    ),
    "no permission": (fails(403, "42501"), exceptions.PermissionDeniedError),
    "no functions": (fails(404, "PGRST202"), exceptions.MissingFunctionsError),
    "no queue": (fails(400, "MH001"), exceptions.QueueNotFoundError),
    "a wrong argument": (fails(400, "MH002"), exceptions.RejectedError),
    "too much": (says("", 413), exceptions.RejectedError),
    "a bug": (fails(500, "XX000"), exceptions.DatabaseError),
    "a raise": (fails(400, "P0001"), exceptions.DatabaseError),
    "a redirect": (says("", 307), exceptions.UnexpectedAnswerError),
    "another server": (says(HTML, 404), exceptions.UnexpectedAnswerError),
    "a page": (says(HTML, 200), exceptions.UnexpectedAnswerError),
    "an unknown protocol": (breaks(httpx.UnsupportedProtocol), exceptions.ConfigurationError),
    "a wrong header": (breaks(httpx.LocalProtocolError), exceptions.ConfigurationError),
    "too many redirects": (breaks(httpx.TooManyRedirects), exceptions.ConfigurationError),
}
# The pauses of the default policy without jitter, in seconds; each may be up to twice as long.
PAUSES = [0.2, 0.4, 0.8, 1.6]


@pytest.mark.parametrize("name", ["connect error", "503 html"])
async def test_an_outage_that_ends_is_not_noticed(supabase: FakeSupabase, name: str) -> None:
    supabase.plan(OUTAGES[name][0], OUTAGES[name][0], answers({"msg_ids": [5], "duplicate": False}))
    queue = await supabase.queue()

    result = await call(queue, "enqueue", job_data())

    assert result.msg_id == 5
    assert len(supabase.requests) == 3
    assert len(set(supabase.bodies())) == 1
    assert len(supabase.time.pauses) == 2


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_that_lasts_is_an_error_of_its_own_class(
    supabase: FakeSupabase, name: str
) -> None:
    planned, kind = OUTAGES[name]
    supabase.plan(planned)
    queue = await supabase.queue()

    with pytest.raises(OutageError) as caught:
        await call(queue, "enqueue", job_data())

    assert type(caught.value) is kind
    assert caught.value.function == "meshhook_enqueue"
    assert isinstance(caught.value.__cause__, httpx.HTTPError if name in NO_ANSWER else APIError)
    assert len(supabase.requests) == 5
    assert len(set(supabase.bodies())) == 1


async def test_the_pauses_double_and_have_a_jitter(supabase: FakeSupabase) -> None:
    supabase.plan(breaks(httpx.ConnectError))
    queue = await supabase.queue()

    with pytest.raises(OutageError):
        await call(queue, "get_job", 7)

    assert len(supabase.time.pauses) == len(PAUSES)
    for pause, low in zip(supabase.time.pauses, PAUSES, strict=True):
        assert low <= pause <= 2 * low


@pytest.mark.parametrize("name", ["connect error", "read timeout"])
async def test_an_outage_without_an_answer_says_what_happened_and_what_to_do(
    supabase: FakeSupabase, name: str
) -> None:
    supabase.plan(OUTAGES[name][0])
    queue = await supabase.queue(RepeatPolicy(tries=1))

    with pytest.raises(OutageError) as caught:
        await call(queue, "get_job", 7)

    happened, _, advice = str(caught.value).partition("). ")
    assert happened.startswith("meshhook_get_job: no ")
    assert advice.endswith(".")


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_every_method_waits_an_outage_out(
    supabase: FakeSupabase, operation: Operation
) -> None:
    supabase.plan(fails(503, "PGRST001"), breaks(httpx.ConnectError), answers(operation.answer))
    service = await supabase.service(operation.service)

    result = await call(service, operation.method, *operation.args, **operation.kwargs)

    assert result == operation.result
    assert len(set(supabase.bodies())) == 1
    assert len(supabase.requests) == 3


@pytest.mark.parametrize("name", NOT_MENDED_BY_WAITING)
async def test_what_waiting_does_not_mend_is_sent_once(supabase: FakeSupabase, name: str) -> None:
    planned, kind = NOT_MENDED_BY_WAITING[name]
    supabase.plan(planned)
    queue = await supabase.queue()

    with pytest.raises(exceptions.MeshHookError) as caught:
        await call(queue, "enqueue", job_data())

    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, APIError | httpx.HTTPError | json.JSONDecodeError)
    assert (len(supabase.requests), supabase.time.pauses) == (1, [])


async def test_the_cause_has_what_the_answer_said(supabase: FakeSupabase) -> None:
    body = {"code": "22P02", "message": "bad", "details": "more", "hint": "try this"}
    supabase.plan(answers(body, 400))
    queue = await supabase.queue()

    with pytest.raises(RequestError) as caught:
        await call(queue, "get_job", 7)

    assert isinstance(caught.value.__cause__, APIError)
    assert caught.value.__cause__.json() == body


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [("0", 0.2, 0.4), ("3", 3, 3), ("10", 10, 10), ("60", 10, 10), ("soon", 0.2, 0.4)],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_that_the_server_asks_for_is_kept_to_as_far_as_it_goes(
    supabase: FakeSupabase, status: int, asked: str, low: float, high: float
) -> None:
    supabase.plan(fails(status, retry_after=asked), answers(None))
    queue = await supabase.queue()

    await call(queue, "get_job", 7)

    (pause,) = supabase.time.pauses
    assert low <= pause <= high


async def test_a_pause_that_the_server_asks_for_is_told_to_the_caller(
    supabase: FakeSupabase,
) -> None:
    supabase.plan(fails(429, retry_after="60"))
    queue = await supabase.queue(RepeatPolicy(tries=1))

    with pytest.raises(RateLimitedError) as caught:
        await call(queue, "get_job", 7)

    assert caught.value.retry_after_seconds == 60


@pytest.mark.parametrize("tries", [1, 2, 9])
async def test_a_call_is_sent_as_often_as_the_policy_says(
    supabase: FakeSupabase, tries: int
) -> None:
    supabase.plan(breaks(httpx.ConnectError))
    queue = await supabase.queue(RepeatPolicy(tries=tries))

    with pytest.raises(UnreachableError):
        await call(queue, "get_job", 7)

    assert len(supabase.requests) == tries
    assert len(supabase.time.pauses) == tries - 1


async def test_no_call_is_repeated_beyond_the_total_time(supabase: FakeSupabase) -> None:
    slow = breaks(httpx.ReadTimeout)

    def takes_twenty_seconds(request: httpx.Request) -> httpx.Response:
        supabase.time.now += 20
        return slow(request)

    supabase.plan(takes_twenty_seconds)
    queue = await supabase.queue(RepeatPolicy(tries=1000, max_seconds=1, total_seconds=100))
    begin = supabase.time.now

    with pytest.raises(RequestTimeoutError):
        await call(queue, "get_job", 7)

    assert len(supabase.requests) == 5
    assert supabase.time.now - begin - 20 <= 100


async def test_by_default_no_call_is_repeated_after_five_minutes(supabase: FakeSupabase) -> None:
    supabase.plan(fails(503, retry_after="10"))
    queue = await supabase.queue(RepeatPolicy(tries=1000))

    with pytest.raises(ServerUnavailableError):
        await call(queue, "get_job", 7)

    assert sum(supabase.time.pauses) == 300
    assert len(supabase.requests) == 31


async def test_a_long_outage_with_short_pauses_ends_in_the_error_of_the_outage(
    supabase: FakeSupabase,
) -> None:
    supabase.plan(breaks(httpx.ConnectError))
    queue = await supabase.queue(RepeatPolicy(tries=1100, max_seconds=0.1))

    with pytest.raises(UnreachableError):
        await call(queue, "get_job", 7)

    assert len(supabase.requests) == 1100


async def test_each_repeat_is_a_new_connection_attempt_and_not_a_retry_of_postgrest(
    supabase: FakeSupabase,
) -> None:
    supabase.plan(fails(503), answers(None))
    queue = await supabase.queue()

    await call(queue, "get_job", 7)

    assert all("x-retry-count" not in request.headers for request in supabase.requests)


async def test_a_repeat_sends_what_was_given_at_the_call(supabase: FakeSupabase) -> None:
    metadata = {"amount": 1}

    def changed_meanwhile(request: httpx.Request) -> httpx.Response:
        metadata["amount"] = 2
        return breaks(httpx.ReadError)(request)

    supabase.plan(changed_meanwhile, answers({"msg_ids": [5], "duplicate": False}))
    queue = await supabase.queue()

    await call(queue, "enqueue", job_data(metadata=metadata))

    assert [params["messages"][0]["metadata"] for params in supabase.sent()] == [{"amount": 1}] * 2


async def test_a_closed_client_is_no_outage(supabase: FakeSupabase) -> None:
    queue = await supabase.queue()
    http = queue._transport.client.options.httpx_client
    if supabase.is_sync:
        http.close()
    else:
        await http.aclose()

    with pytest.raises(exceptions.ConfigurationError, match="closed"):
        await call(queue, "get_job", 7)

    assert supabase.time.pauses == []
