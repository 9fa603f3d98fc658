"""Splitting by count and by bytes, and what goes on under the request ids of an enqueue."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshhook import EnqueueBatch, InvalidInputError, RejectedError
from meshhook._calls import enqueue
from meshhook._enqueue import chunks
from meshhook._enqueue.batch import Batch
from meshhook._http.transport import _encoded
from meshhook._inputs import sizes
from meshhook.exceptions import PartialEnqueueError
from tests.jobs import job_data

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
MESSAGES = st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=4))


def split(messages: list[Any], max_jobs: int, max_bytes: int, start: int = 0) -> list[list[Any]]:
    """Return the chunks into which messages are cut."""
    cut = []
    while start < len(messages):
        end = chunks.end_of_chunk(messages, start, max_jobs, max_bytes)
        cut.append(messages[start:end])
        start = end
    return cut


def sent_bytes(messages: list[Any]) -> int:
    """Return how long messages are in the body of a call, as the transport writes it."""
    call = enqueue.buffered("q", messages, [0] * len(messages), "key")
    text = _encoded(call).decode()
    begin = text.index('"messages":') + len('"messages":')
    _, end = json.JSONDecoder().raw_decode(text, begin)
    return len(text[begin:end].encode())


@given(MESSAGES, st.integers(1, 9), st.integers(1, 300))
@example([{}] * 300, 299, 10_000)
@example([{"a": "x" * 50}, {}, {}, {"a": "x" * 50}], 9, 20)
def test_the_chunks_are_the_messages_in_their_order(
    messages: list[Any], max_jobs: int, max_bytes: int
) -> None:
    cut = split(messages, max_jobs, max_bytes)

    assert [message for chunk in cut for message in chunk] == messages


@given(MESSAGES, st.integers(1, 9), st.integers(1, 300))
def test_a_chunk_keeps_its_bounds_and_only_a_message_alone_may_be_larger(
    messages: list[Any], max_jobs: int, max_bytes: int
) -> None:
    for chunk in split(messages, max_jobs, max_bytes):
        assert 1 <= len(chunk) <= max_jobs
        assert sizes.size_of(chunk) <= max_bytes or len(chunk) == 1


@given(MESSAGES, st.integers(1, 9), st.integers(1, 300))
def test_a_chunk_ends_only_where_the_next_message_does_not_fit(
    messages: list[Any], max_jobs: int, max_bytes: int
) -> None:
    cut = split(messages, max_jobs, max_bytes)

    for chunk, following in itertools.pairwise(cut):
        longer = [*chunk, following[0]]
        assert len(longer) > max_jobs or sizes.size_of(longer) > max_bytes


@given(MESSAGES, st.integers(1, 9), st.integers(1, 300), st.data())
def test_what_is_left_after_a_chunk_is_cut_as_the_whole_was(
    messages: list[Any], max_jobs: int, max_bytes: int, data: st.DataObject
) -> None:
    cut = split(messages, max_jobs, max_bytes)
    sent = data.draw(st.integers(0, len(cut)))
    start = sum(len(chunk) for chunk in cut[:sent])

    assert split(messages[start:], max_jobs, max_bytes) == cut[sent:]


@given(MESSAGES.filter(bool))
@example([{"a": '"\\\n\x01ü€😀'}])
def test_a_size_is_the_number_of_bytes_that_are_sent(messages: list[Any]) -> None:
    # The comma of the last message stands for one of the two brackets.
    assert sizes.size_of(messages) == sent_bytes(messages) - 1


def test_sizes_add_up() -> None:
    messages = [job_data(), job_data(metadata={"name": "ü"}), {}]

    assert sizes.size_of(messages) == sum(sizes.size_of([message]) for message in messages)


def test_every_chunk_has_a_request_id_that_the_first_one_determines() -> None:
    keys = ["order 17"]
    for _ in range(100):
        keys.append(chunks.next_key(keys[-1]))

    assert len(set(keys)) == 101
    assert chunks.next_key("order 17") == keys[1]
    assert max(len(key) for key in keys) <= 255


def calls_of(batch: Batch, answers: int | None = None) -> list[dict[str, Any]]:
    """Send a batch's calls to nowhere, and return their parameters."""
    for _ in batch.check():
        pass
    sent: list[dict[str, Any]] = []
    while not batch.done and (answers is None or len(sent) < answers):
        call = batch.next_call(None)
        sent.append(dict(call.params))
        begin = sum(len(params["messages"]) for params in sent[:-1])
        msg_ids = list(range(begin + 1, begin + 1 + len(call.params["messages"])))
        batch.add(call.decode({"msg_ids": msg_ids, "duplicate": False}))
    return sent


def large_jobs(count: int) -> list[dict[str, Any]]:
    """Return jobs of which three fill a chunk."""
    return [job_data(metadata={"text": "x" * 1_300_000}) for _ in range(count)]


def test_a_list_is_cut_at_ten_thousand_jobs() -> None:
    jobs = [job_data()] * 20_001

    batch = Batch("q", jobs)

    assert [len(params["messages"]) for params in calls_of(batch)] == [10_000, 10_000, 1]
    assert batch.result.msg_ids == tuple(range(1, 20_002))
    assert not batch.result.duplicate


def test_a_list_is_cut_at_four_mebibytes() -> None:
    jobs = large_jobs(7)

    sent = calls_of(Batch("q", jobs))

    assert [len(params["messages"]) for params in sent] == [3, 3, 1]
    assert [message for params in sent for message in params["messages"]] == jobs


def test_each_chunk_has_its_part_of_the_delays() -> None:
    jobs = large_jobs(5)

    sent = calls_of(Batch("q", jobs, [1, 2, 3, 4, 5]))

    assert [params["delays"] for params in sent] == [[1, 2, 3], [4, 5]]
    assert all(params["delay_seconds"] == 1.5 for params in calls_of(Batch("q", jobs, 1.5)))


def test_an_empty_list_is_one_call() -> None:
    (params,) = calls_of(Batch("q", []))

    assert params["messages"] == []


def test_the_first_chunk_goes_under_the_key_itself_and_all_are_remembered() -> None:
    jobs = large_jobs(4)

    sent = calls_of(Batch("q", jobs, idempotency_key="order 17", idempotency_seconds=5))

    assert [params["request_id"] for params in sent] == ["order 17", chunks.next_key("order 17")]
    assert [params["remember_seconds"] for params in sent] == [5, 5]


def test_without_a_key_every_chunk_of_every_enqueue_has_another_id() -> None:
    jobs = large_jobs(4)

    sent = [params for _ in range(2) for params in calls_of(Batch("q", jobs))]

    assert len({params["request_id"] for params in sent}) == 4
    assert not any("remember_seconds" in params for params in sent)


def test_what_did_not_go_in_goes_on_under_the_ids_that_it_would_have_had() -> None:
    jobs, delays = large_jobs(7), [1, 2, 3, 4, 5, 6, 7]
    whole = calls_of(Batch("q", jobs, delays, idempotency_key="order 17"))
    batch = Batch("q", jobs, delays, idempotency_key="order 17")
    calls_of(batch, answers=1)
    cause = RejectedError("no", function="meshhook_enqueue", status=413, code="X")

    with pytest.raises(PartialEnqueueError) as caught, batch.interruption():
        raise cause

    error = caught.value
    assert error.__cause__ is cause
    assert (error.enqueued, error.index, error.uncertain) == ((1, 2, 3), 3, 3)
    assert (error.status, error.code, error.function) == (413, "X", "meshhook_enqueue")
    again = Batch("q", error.jobs, error.delay_seconds, idempotency_key=error.idempotency_key)
    assert calls_of(again) == whole[1:]


def test_an_enqueue_of_one_call_fails_with_what_that_call_met() -> None:
    cause = RejectedError("no", function="meshhook_enqueue")
    batch = Batch("q", [job_data()])
    calls_of(batch, answers=0)

    with pytest.raises(RejectedError) as caught, batch.interruption():
        raise cause

    assert caught.value is cause


def test_the_text_of_a_partial_enqueue_says_what_to_do() -> None:
    error = PartialEnqueueError(
        "q",
        RejectedError("too much", function="f"),
        enqueued=[5, 6],
        jobs=[job_data(), job_data(), job_data()],
        delay_seconds=0,
        uncertain=2,
        idempotency_key="k",
        remembered_seconds=600,
    )

    assert str(error) == (
        'Not all jobs are known to be in the queue "q": 2 went in, the 2 after them may have, and '
        "1 were not sent. Enqueue error.jobs under error.idempotency_key within 600 seconds, and "
        "none goes in twice. The call failed with: too much"
    )


def test_jobs_of_a_buffer_that_are_in_are_counted_off_and_the_rest_is_cut_anew() -> None:
    jobs = [job_data() for _ in range(5)]
    batch = Batch("q", jobs, idempotency_key=enqueue.buffered_key())
    for _ in batch.check():
        pass

    batch.add(batch.next_call(None).decode({"msg_ids": [1, 2], "duplicate": True}))
    second = batch.next_call(None)
    batch.add(second.decode({"msg_ids": [3, 4, 5], "duplicate": False}))

    assert second.params["messages"] == jobs[2:]
    assert batch.done
    assert batch.result == EnqueueBatch(msg_ids=(1, 2, 3, 4, 5), duplicate=False)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("mine", {"msg_ids": [1, 2], "duplicate": True}),
        (enqueue.buffered_key(), {"msg_ids": [1, 2], "duplicate": False}),
        (enqueue.buffered_key(), {"msg_ids": [], "duplicate": True}),
        (enqueue.buffered_key(), {"msg_ids": [1, 2, 3, 4], "duplicate": True}),
    ],
    ids=["a key of the caller's", "not remembered", "nothing", "more than were sent"],
)
def test_no_other_answer_may_have_another_number_of_ids(key: str, answer: dict[str, Any]) -> None:
    batch = Batch("q", [job_data() for _ in range(3)], idempotency_key=key)
    for _ in batch.check():
        pass

    with pytest.raises(ValueError, match="expected 3 ids"):
        batch.next_call(None).decode(answer)


def test_a_batch_names_every_problem_of_all_its_arguments() -> None:
    jobs = [*([job_data()] * 1500), job_data(run_id="x")]

    with pytest.raises(InvalidInputError) as caught:
        list(Batch("q", jobs, -1, idempotency_key="").check())

    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["jobs[1500].run_id", "delay_seconds", "idempotency_key"]


def test_a_message_beyond_the_maximum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_MESSAGE_BYTES", 5_000_000)
    whale = job_data(metadata={"text": "x" * 5_000_000})
    problem = "more than 5000000 bytes of JSON"

    with pytest.raises(InvalidInputError, match=rf"jobs\[1\] is {problem}"):
        list(Batch("q", [job_data(), whale, job_data()]).check())
    with pytest.raises(InvalidInputError, match=f"job_data is {problem}"):
        enqueue.one("q", whale)


def test_a_list_that_is_sent_leaves_the_jobs_as_they_were_given() -> None:
    jobs = [job_data()]
    before = [dict(job) for job in jobs]
    batch = Batch("q", jobs)
    list(batch.check())

    call = batch.next_call({"traceparent": "t"})

    assert call.params["messages"] == [{**before[0], "_meshhook": {"trace": {"traceparent": "t"}}}]
    assert jobs == before


@given(MESSAGES, st.integers(1, 8), st.integers(1, 400))
def test_the_text_of_a_chunk_is_the_chunk(
    messages: list[Any], max_jobs: int, max_bytes: int
) -> None:
    for start in range(len(messages)):
        end, text = chunks.cut(messages, start, max_jobs, max_bytes)

        assert json.loads(text) == messages[start:end]
        assert end == chunks.end_of_chunk(messages, start, max_jobs, max_bytes)


@given(st.lists(st.dictionaries(TEXT.map("x{}".format), TEXT, max_size=3), min_size=1, max_size=9))
def test_a_call_with_text_that_is_there_already_says_what_its_parameters_say(
    metadata: list[dict[str, str]],
) -> None:
    batch = Batch("q", [job_data(metadata=each) for each in metadata], 5)
    for _ in batch.check():
        pass

    for trace in (None, {"traceparent": "00-1-2-01"}):
        call = batch.next_call(trace)
        assert json.loads(_encoded(call)) == call.params
        assert ("_meshhook" in call.params["messages"][0]) == (trace is not None)
