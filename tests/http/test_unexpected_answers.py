"""A success that makes no sense is an error and not data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshhook import JobNotFoundError, UnexpectedAnswerError
from tests.http.fake import HTML, FakeSupabase, answers, call, says
from tests.http.operations import A_FEW, OPERATIONS, Operation

a_few_operations = pytest.mark.parametrize("operation", A_FEW, ids=str)


async def unexpected(
    supabase: FakeSupabase, operation: Operation, body: str, status: int = 200
) -> UnexpectedAnswerError:
    """Return the error for an answer, which must not be asked for again."""
    supabase.plan(says(body, status))
    service = await supabase.service(operation.service)
    with pytest.raises(UnexpectedAnswerError) as caught:
        await call(service, operation.method, *operation.args, **operation.kwargs)
    assert (len(supabase.requests), caught.value.status) == (1, status)
    assert caught.value.function == operation.function
    return caught.value


@a_few_operations
async def test_a_page_that_comes_with_success_is_an_error(
    supabase: FakeSupabase, operation: Operation
) -> None:
    error = await unexpected(supabase, operation, HTML)

    assert "is not JSON" in str(error)
    assert "Bad Gateway" in str(error)
    assert isinstance(error.__cause__, json.JSONDecodeError)


@a_few_operations
async def test_json_that_is_cut_is_an_error(supabase: FakeSupabase, operation: Operation) -> None:
    await unexpected(supabase, operation, json.dumps(operation.answer)[:-1])


@a_few_operations
async def test_an_answer_without_content_is_an_error(
    supabase: FakeSupabase, operation: Operation
) -> None:
    await unexpected(supabase, operation, "")


@a_few_operations
@pytest.mark.parametrize("body", ['{"message": "hello"}', '[{"x": 1}, 2]', '"ok"', "1.5"])
async def test_json_of_another_shape_is_an_error(
    supabase: FakeSupabase, operation: Operation, body: str
) -> None:
    error = await unexpected(supabase, operation, body)

    assert "has another shape than expected" in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize("statuses", [[], ["ok", "ok"]], ids=["none", "two"])
@pytest.mark.parametrize(
    "method", ["acknowledge", "archive_job", "release", "extend", "delete_job"]
)
async def test_a_settle_of_one_job_with_another_number_of_statuses_is_an_error(
    supabase: FakeSupabase, method: str, statuses: list[str]
) -> None:
    (operation,) = (one for one in OPERATIONS if one.method == method)
    answer: Any = {**operation.answer, "statuses": statuses} if method == "extend" else statuses

    await unexpected(supabase, operation, json.dumps(answer))


@pytest.mark.parametrize(
    "answer", [[], [{"msg_id": 9, "status": "missing"}] * 2], ids=["none", "two"]
)
async def test_a_replay_of_one_letter_with_another_number_of_results_is_an_error(
    supabase: FakeSupabase, answer: list[Any]
) -> None:
    (operation,) = (one for one in OPERATIONS if one.method == "replay_dead_letter_job")

    await unexpected(supabase, operation, json.dumps(answer))


async def test_a_replay_of_what_is_not_there_is_no_unexpected_answer(
    supabase: FakeSupabase,
) -> None:
    supabase.plan(answers([{"msg_id": 9, "status": "missing"}]))
    dlq = await supabase.dlq()

    with pytest.raises(JobNotFoundError) as caught:
        await call(dlq, "replay_dead_letter_job", 9)

    assert (caught.value.queue_name, caught.value.msg_id) == ("q_dlq", 9)


@pytest.mark.parametrize(
    ("method", "answer"),
    [("get_job", None), ("dequeue", {"jobs": []}), ("dequeue_many", {"jobs": []})],
    ids=["get_job", "dequeue", "dequeue_many"],
)
async def test_nothing_found_is_no_error(
    supabase: FakeSupabase, method: str, answer: dict[str, Any] | None
) -> None:
    (operation,) = (one for one in OPERATIONS if one.method == method)
    supabase.plan(answers(answer if answer is None else {**operation.answer, **answer}))
    queue = await supabase.queue()

    assert not await call(queue, method, *(operation.args or (7,)))
