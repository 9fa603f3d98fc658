"""The answer to a call is lost after the database has carried it out: the repeat does no harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from meshhook import UnreachableError
from tests.http.fake import FakeSupabase, answers, breaks, call, response, says
from tests.http.operations import OPERATIONS, REMEMBERED, REPEATABLE, Operation
from tests.unit.examples import job_data

if TYPE_CHECKING:
    from tests.http.fake import Planned

LOST = {
    "read error": breaks(httpx.ReadError),
    "server disconnected": breaks(httpx.RemoteProtocolError),
    "read timeout": breaks(httpx.ReadTimeout),
    "bad gateway": says("<html>", 502),
    "gateway timeout": says("", 504),
}


class Database:
    """Carries each request out once, and gives a repeat the answer that the first one got.

    Attributes:
        carried_out: The requests that it has carried out, by their request ids.
    """

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.carried_out: dict[str, bytes] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.carried_out.setdefault(json.loads(request.content)["request_id"], request.content)
        return response(self._answer)

    def then(self, lost: Planned) -> Planned:
        """Carry a request out, and lose the answer."""

        def answer(request: httpx.Request) -> httpx.Response:
            self(request)
            return lost(request)

        return answer


def test_every_method_that_changes_something_is_tried_here() -> None:
    reading = {"count", "get", "find", "list"}

    changing = [one for one in OPERATIONS if one.method.partition("_")[0] not in reading]

    assert {str(one) for one in changing} == {str(one) for one in [*REMEMBERED, *REPEATABLE]}


@pytest.mark.parametrize(
    ("operation", "how"),
    [
        *((REMEMBERED[0], how) for how in LOST),
        *((operation, "read error") for operation in REMEMBERED[1:]),
    ],
    ids=str,
)
async def test_a_call_whose_answer_is_lost_is_carried_out_once(
    supabase: FakeSupabase, operation: Operation, how: str
) -> None:
    database = Database(operation.answer)
    supabase.plan(database.then(LOST[how]), database.then(LOST[how]), database)
    service = await supabase.service(operation.service)

    result = await call(service, operation.method, *operation.args, **operation.kwargs)

    assert result == operation.result
    assert len(database.carried_out) == 1
    assert supabase.bodies() == [*database.carried_out.values()] * 3


@pytest.mark.parametrize("operation", REPEATABLE, ids=str)
async def test_a_call_without_a_request_id_names_the_same_receipts_or_settings_again(
    supabase: FakeSupabase, operation: Operation
) -> None:
    supabase.plan(breaks(httpx.ReadError), answers(operation.answer))
    service = await supabase.service(operation.service)

    await call(service, operation.method, *operation.args, **operation.kwargs)

    assert supabase.sent() == [operation.params] * 2


async def test_a_call_after_one_that_failed_is_another_call(supabase: FakeSupabase) -> None:
    operation = REMEMBERED[0]
    database = Database(operation.answer)
    supabase.plan(*[database.then(breaks(httpx.ReadError))] * 5, database)
    service = await supabase.service(operation.service)

    with pytest.raises(UnreachableError):
        await call(service, operation.method, *operation.args, **operation.kwargs)
    await call(service, operation.method, *operation.args, **operation.kwargs)

    assert len(database.carried_out) == 2


async def test_an_enqueue_with_a_key_of_the_callers_is_one_enqueue_however_often_it_is_called(
    supabase: FakeSupabase,
) -> None:
    database = Database({"msg_ids": [5], "duplicate": False})
    supabase.plan(database.then(breaks(httpx.ReadError)), database)
    queue = await supabase.queue()

    for _ in range(3):
        await call(queue, "enqueue", job_data(), idempotency_key="order 17")

    assert list(database.carried_out) == ["order 17"]
    assert len(set(supabase.bodies())) == 1


@pytest.mark.parametrize("method", ["enqueue", "enqueue_many"])
async def test_an_enqueue_without_a_key_is_no_duplicate_because_its_first_answer_was_lost(
    supabase: FakeSupabase, method: str
) -> None:
    # The database says so of every repeat; the caller has used no key, so nothing was used before.
    supabase.plan(breaks(httpx.ReadError), answers({"msg_ids": [5], "duplicate": True}))
    queue = await supabase.queue()

    result = await call(queue, method, job_data() if method == "enqueue" else [job_data()])

    assert result.duplicate is False
