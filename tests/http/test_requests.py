"""What each method of the services sends, and what it makes of the answer."""

from __future__ import annotations

import json

import pytest

from meshhook import DLQService, QueueService, list_queues, list_queues_sync
from meshhook.queue_admin import QueueAdmin
from tests.http.fake import KEY, URL, FakeSupabase, answers, call, listed
from tests.http.operations import OPERATIONS, OTHERS, Operation
from tests.unit.builders import DEAD, DEAD_ROW, QUEUE, QUEUE_ROW

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


def test_every_method_of_the_services_is_tried_here() -> None:
    methods = {
        name
        for service in (QueueAdmin, QueueService, DLQService)
        for name in vars(service)
        if not name.startswith("_")
    }

    assert {operation.method for operation in OPERATIONS} | OTHERS == methods


@each_operation
async def test_a_method_is_one_post_of_its_parameters(
    supabase: FakeSupabase, operation: Operation
) -> None:
    supabase.plan(answers(operation.answer))
    service = await supabase.service(operation.service)

    result = await call(service, operation.method, *operation.args, **operation.kwargs)

    (request,), (params,) = supabase.requests, supabase.sent()
    assert result == operation.result
    assert (request.method, str(request.url)) == ("POST", f"{URL}/rest/v1/rpc/{operation.function}")
    assert params.pop("request_id", None) is None or operation.is_remembered
    assert params == operation.params


async def test_a_call_says_who_it_is_and_which_schema_it_means(supabase: FakeSupabase) -> None:
    supabase.plan(answers(None))
    service = await supabase.queue()

    await call(service, "get_job", 7)

    headers = supabase.requests[0].headers
    assert headers["apikey"] == KEY
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert headers.get_list("content-profile") == ["public"]
    assert "prefer" not in headers


@pytest.mark.parametrize(
    ("name", "method"), [("queue", "get_queue_metrics"), ("dlq", "get_dlq_metrics")]
)
async def test_a_client_that_was_made_for_another_schema_is_good_too(
    supabase: FakeSupabase, name: str, method: str
) -> None:
    (operation,) = (one for one in OPERATIONS if one.method == method)
    supabase.plan(answers(operation.answer))
    service = await supabase.service(name, schema="private")

    result = await call(service, method)

    headers = supabase.requests[0].headers
    assert result == operation.result
    assert headers.get_list("content-profile") == ["public"]
    assert headers.get_list("accept-profile") == ["public"]
    assert headers["apikey"] == KEY


async def test_the_body_is_compact_json_in_utf_8(supabase: FakeSupabase) -> None:
    supabase.plan(answers(None))
    service = await supabase.queue()

    await call(service, "get_job", 2**63 - 1)

    assert supabase.bodies() == [b'{"queue_name":"q","msg_id":9223372036854775807}']


async def test_what_is_no_ascii_is_sent_as_it_is(supabase: FakeSupabase) -> None:
    supabase.plan(answers(["ok"]))
    service = await supabase.queue()

    await call(service, "retry", 7, 0, "ü \U0001f600")

    assert '"error_message":"ü \U0001f600"'.encode() in supabase.bodies()[0]


async def test_the_queues_are_listed_with_a_client_alone(supabase: FakeSupabase) -> None:
    supabase.plan(answers([QUEUE_ROW]))
    client = await supabase.client()

    listing = list_queues_sync(client) if supabase.is_sync else await list_queues(client)  # type: ignore[arg-type]

    assert listing == [QUEUE]
    assert supabase.bodies() == [b"{}"]
    assert supabase.requests[0].url.path == "/rest/v1/rpc/meshhook_list_queues"


async def test_all_dead_letters_are_gone_through_page_by_page(supabase: FakeSupabase) -> None:
    pages = [[{**DEAD_ROW, "msg_id": number} for number in page] for page in ((3, 7), (9,), ())]
    supabase.plan(*map(answers, pages))
    service = await supabase.dlq()

    found = await listed(service.iterate_dead_letter_jobs(2))

    assert [job.msg_id for job in found] == [3, 7, 9]
    assert [params["after_msg_id"] for params in supabase.sent()] == [0, 7, 9]
    assert {params["quantity"] for params in supabase.sent()} == {2}


async def test_pages_are_fetched_as_they_are_needed(supabase: FakeSupabase) -> None:
    supabase.plan(answers([DEAD_ROW]))
    service = await supabase.dlq()
    letters = service.iterate_dead_letter_jobs()
    assert supabase.requests == []

    first = next(letters) if supabase.is_sync else await anext(letters)

    assert first == DEAD
    assert len(supabase.requests) == 1
    if not supabase.is_sync:
        await letters.aclose()


@each_operation
async def test_two_calls_of_a_method_are_two_requests_to_the_database(
    supabase: FakeSupabase, operation: Operation
) -> None:
    supabase.plan(answers(operation.answer))
    service = await supabase.service(operation.service)

    for _ in range(2):
        await call(service, operation.method, *operation.args, **operation.kwargs)

    first, second = (json.loads(body).get("request_id") for body in supabase.bodies())
    assert (first != second) is operation.is_remembered
