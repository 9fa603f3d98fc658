"""The values that come out: what they hold, and that nothing about them can be changed."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from meshhook import (
    AttemptRecord,
    DeadLetterJob,
    DeadLetterMessage,
    DLQMetrics,
    EnqueueBatch,
    EnqueueResult,
    FailedReplay,
    JobMessage,
    JobRecord,
    QueueInfo,
    QueueMetrics,
    ReplayResult,
    ReplaySummary,
    RetryConfig,
    RetryInfo,
)
from meshhook._calls import enqueue
from meshhook._http.answers import Answer
from tests.unit.examples import PROJECT, RUN, TIME, WORKFLOW, job_data, job_of, named

SECRET = "4111111111111111"

ATTEMPT = AttemptRecord(
    attempt=1, read_ct=1, outcome="retried", failed_at=TIME, error_stack=f"File {SECRET}"
)
RECORD = JobRecord(
    queue_name="q",
    msg_id=1,
    run_id=RUN,
    state="leased",
    attempt=1,
    enqueued_at=TIME,
    attempts=(ATTEMPT,),
    message=JobMessage(card=SECRET),
)
DEAD = DeadLetterJob(
    dlq_name="q_dlq",
    msg_id=1,
    enqueued_at=TIME,
    message=DeadLetterMessage(card=SECRET),
    attempts=(ATTEMPT,),
)
VALUES: list[Any] = [
    ATTEMPT,
    RECORD,
    DEAD,
    job_of(message=JobMessage(card=SECRET)),
    EnqueueResult(msg_id=1),
    EnqueueBatch(msg_ids=(1,)),
    ReplayResult(msg_id=1, new_msg_id=2, target_queue="q"),
    FailedReplay(msg_id=1, error="gone"),
    ReplaySummary(replayed=(), errors=()),
    QueueMetrics(
        queue_name="q",
        queue_length=2,
        visible_jobs=1,
        invisible_jobs=1,
        oldest_msg_age_seconds=5,
        newest_msg_age_seconds=None,
    ),
    DLQMetrics(
        dlq_name="q", total_jobs=0, oldest_job_age_seconds=None, newest_job_age_seconds=None
    ),
    QueueInfo(queue_name="q", created_at=TIME),
    RetryConfig(),
    RetryInfo(
        attempt=1,
        max_attempts=5,
        can_retry=True,
        delay_ms=1,
        delay_seconds=0.001,
        should_move_to_dead_letter=False,
    ),
]


def pickled(value: object) -> object:
    return pickle.loads(pickle.dumps(value))


def kind(value: object) -> str:
    return type(value).__name__


def test_a_field_of_a_message_is_a_key_and_an_attribute() -> None:
    message = JobMessage(job_data(attempt=2, metadata={"a": 1}, priority="high"))

    assert (message.run_id, message["run_id"]) == (RUN, RUN)
    assert (message.workflow_id, message.project_id) == (WORKFLOW, PROJECT)
    assert (message.attempt, message.metadata) == (2, {"a": 1})
    # An own field is a key for type checkers, and an attribute all the same.
    assert (message["priority"], getattr(message, "priority", None)) == ("high", "high")


def test_a_message_is_a_dict_that_json_writes() -> None:
    message = JobMessage(job_data(metadata={"ü": [None]}))

    assert json.loads(json.dumps(message)) == job_data(metadata={"ü": [None]})
    assert message == job_data(metadata={"ü": [None]})
    assert message.get("nothing") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("metadata", {}), ("last_error", None), ("last_error_at", None)],
    ids=named,
)
def test_what_is_optional_in_a_message_can_be_asked_for_all_the_same(
    name: str, value: object
) -> None:
    message = JobMessage(job_data())

    assert getattr(message, name) == value
    assert name not in message


def test_a_field_that_is_missing_is_an_attribute_error_that_names_those_that_are_there() -> None:
    message = JobMessage(a=1, b=2)

    with pytest.raises(AttributeError) as caught:
        _ = message.workflowid  # type: ignore[attr-defined]  # as type checkers say, too

    assert str(caught.value) == "this message has no field 'workflowid'; it has 'a', 'b'"
    assert not hasattr(message, "run_id")
    assert getattr(message, "run_id", "nothing") == "nothing"


def test_an_attribute_of_a_message_cannot_come_to_differ_from_its_key() -> None:
    message = JobMessage(job_data(attempt=1))
    with contextlib.suppress(AttributeError):
        message.attempt = 2

    assert message.attempt == message["attempt"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled], ids=named)
@pytest.mark.parametrize("message_class", [JobMessage, DeadLetterMessage])
def test_a_message_can_be_copied_and_pickled(message_class: type, duplicate: Any) -> None:
    message = message_class(job_data(metadata={"a": [1]}))

    twin = duplicate(message)

    assert (type(twin), twin) == (message_class, message)


def test_the_message_of_a_dead_letter_has_what_went_wrong_beside_what_was_sent() -> None:
    message = DeadLetterMessage(
        job_data(error_message="boom", moved_to_dlq_at="2026", original_msg_id=5, read_count=3)
    )

    assert (message.run_id, message.error_message, message.error_stack) == (RUN, "boom", None)
    assert (message.moved_to_dlq_at, message.original_msg_id, message.read_count) == ("2026", 5, 3)


def test_a_batch_is_a_sequence_of_results() -> None:
    batch = EnqueueBatch(msg_ids=(5, 6, 7))
    results = [EnqueueResult(msg_id=number) for number in (5, 6, 7)]

    assert isinstance(batch, Sequence)
    assert (len(batch), list(batch), list(reversed(batch))) == (3, results, results[::-1])
    assert (batch[0], batch[-1], batch.index(results[1])) == (results[0], results[2], 1)
    assert results[2] in batch
    assert EnqueueResult(msg_id=8) not in batch


def test_a_slice_of_a_batch_is_a_batch() -> None:
    batch = EnqueueBatch(msg_ids=(5, 6, 7), duplicate=True)

    assert batch[1:] == EnqueueBatch(msg_ids=(6, 7), duplicate=True)
    assert batch[::-2] == EnqueueBatch(msg_ids=(7, 5), duplicate=True)
    assert not batch[9:]


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_beyond_a_batch_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        EnqueueBatch(msg_ids=(5, 6, 7))[index]


def test_a_result_of_a_batch_says_whether_its_key_had_been_used() -> None:
    assert all(result.duplicate for result in EnqueueBatch(msg_ids=(1, 2), duplicate=True))
    assert not any(result.duplicate for result in EnqueueBatch(msg_ids=(1, 2)))


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_a_value_cannot_be_changed(value: Any) -> None:
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)
    with pytest.raises(AttributeError):
        value.brand_new = 1


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_a_value_is_made_by_naming_its_fields(value: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        type(value)(*range(len(attrs.fields(type(value)))))


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_a_value_can_be_pickled_and_copied(value: Any) -> None:
    assert pickled(value) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_a_value_can_be_put_in_a_set(value: Any) -> None:
    assert {value, copy.deepcopy(value)} == {value}


@pytest.mark.parametrize(
    "value",
    [
        *VALUES,
        Answer(200, {"apikey": SECRET}, SECRET.encode()),
        enqueue.one("q", job_data(metadata={"card": SECRET})),
    ],
    ids=kind,
)
def test_a_repr_never_shows_what_was_sent(value: Any) -> None:
    assert SECRET not in repr(value)
    assert repr(value).startswith(type(value).__name__)


def test_a_job_shows_what_identifies_it() -> None:
    text = repr(job_of())

    assert "queue_name='q', msg_id=7, read_ct=3" in text
    assert "attempt=2, max_attempts=5" in text


def test_two_claims_of_the_same_delivery_are_equal_whenever_they_came() -> None:
    assert job_of(claimed=1.0) == job_of(claimed=2.0)
    assert job_of(read_ct=3) != job_of(read_ct=4)


def test_a_summary_counts_what_went_and_what_did_not() -> None:
    summary = ReplaySummary(
        replayed=(ReplayResult(msg_id=1, new_msg_id=2, target_queue="q"),),
        errors=(FailedReplay(msg_id=3, error="x"), FailedReplay(msg_id=4, error="x")),
    )

    assert (summary.success, summary.failed) == (1, 2)


@pytest.mark.parametrize("field", ["error_message", "moved_to_dlq_at", "original_msg_id"])
def test_a_dead_letter_that_somebody_else_put_there_can_be_asked_for(field: str) -> None:
    assert getattr(DeadLetterMessage(run_id=RUN), field) is None
