"""What each call sends: its function, its parameters, and nothing that SQL has a default for."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from meshhook import QueueSettings
from meshhook._calls import claim, dead_letters, enqueue, jobs, queues, settle
from meshhook._inputs import check
from tests.unit.builders import BUILDERS, CLAIM, Built, enqueue_many
from tests.unit.examples import fields_of, job_data, job_of, named, problems_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook._calls.base import Call

each_builder = pytest.mark.parametrize("built", BUILDERS, ids=lambda built: built.name)


def outcome(**more: Any) -> settle.Outcome:
    return settle.Outcome(outcome="retry", msg_id=1, read_ct=1, **more)


@each_builder
def test_a_call_names_its_function_and_its_parameters(built: Built) -> None:
    call = built.make()

    assert call.function == built.function
    assert {**call.params, "request_id": 0} == {**built.params, "request_id": 0}


@each_builder
def test_a_call_that_changes_something_has_a_request_id_of_its_own(built: Built) -> None:
    ids = {built.make().params.get("request_id") for _ in range(20)}

    if built.has_request_id:
        assert len(ids) == 20
        assert all(isinstance(text, str) and len(text) == 32 for text in ids)
    else:
        assert ids == {None}


@each_builder
def test_no_parameter_is_null_because_null_would_override_the_default_in_sql(
    built: Built,
) -> None:
    assert None not in built.make().params.values()


@each_builder
def test_the_parameters_are_json(built: Built) -> None:
    params = built.make().params

    assert json.loads(json.dumps(params, allow_nan=False)).keys() == params.keys()


def test_an_idempotency_key_is_the_request_id_and_is_remembered_for_a_day() -> None:
    for call in (
        enqueue.one("q", job_data(), idempotency_key="order 17"),
        enqueue_many("q", [job_data()], idempotency_key="order 17"),
    ):
        assert call.params["request_id"] == "order 17"
        assert call.params["remember_seconds"] == 86_400


def test_an_idempotency_key_is_remembered_as_long_as_the_caller_says() -> None:
    call = enqueue.one("q", job_data(), idempotency_key="order 17", idempotency_seconds=5)

    assert call.params["remember_seconds"] == 5


def test_without_a_key_the_database_says_how_long_it_remembers() -> None:
    assert "remember_seconds" not in enqueue.one("q", job_data()).params


@pytest.mark.parametrize("jobs", [[5], [5, 6]], ids=named)
def test_bare_ids_settle_without_a_receipt(jobs: list[int]) -> None:
    assert "read_cts" not in settle.acknowledge("q", jobs).params
    assert "read_cts" not in settle.extend("q", jobs, 5).params
    assert settle.acknowledge("q", jobs).params["msg_ids"] == jobs


@pytest.mark.parametrize(
    "build",
    [
        lambda job: settle.acknowledge("q", [job]),
        lambda job: settle.archive("q", job),
        lambda job: settle.retry("q", job),
        lambda job: settle.release("q", job),
        lambda job: settle.extend("q", [7, job], 30),
        lambda job: settle.dead_letter("q", job, "boom"),
    ],
    ids=["acknowledge", "archive", "retry", "release", "extend", "dead_letter"],
)
def test_a_job_of_another_queue_is_never_settled_in_this_one(
    build: Callable[[object], Call[Any]],
) -> None:
    assert build(job_of("q")).params["read_cts"][-1] == 3

    (problem,) = problems_of(build, job_of("other"))

    assert str(problem) == (
        'job is of another queue than q: settle it through a service for the queue "other"'
    )


def test_the_time_since_the_claim_goes_with_what_finishes_a_job() -> None:
    job = job_of(claimed=time.monotonic() - 5)

    for call in (settle.acknowledge("q", [job, 8]), settle.archive("q", job)):
        assert 5 <= call.params["seconds"][0] < 60
        assert call.params["seconds"][1:] in ([], [None])


def test_a_claim_says_when_it_came_so_that_the_time_is_counted_from_then() -> None:
    before = time.monotonic()

    job = claim.one("q", 30).decode(CLAIM)

    assert job is not None
    assert before <= job._claimed <= time.monotonic()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, None),
        ("", ""),
        ("boom", "boom"),
        ("x" * 4000, "x" * 4000),
        ("x" * 4001, "x" * 3974 + "... (4001 characters, cut)"),
        ("x" * 10**6, "x" * 3971 + "... (1000000 characters, cut)"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("a\ud800b", "a?b"),
        ("ü\U0001f600", "ü\U0001f600"),
    ],
    ids=["none", "empty", "short", "just fits", "too long", "huge", "nul", "surrogate", "wide"],
)
def test_an_error_message_is_kept_as_far_as_it_fits_and_can_be_stored(
    text: str | None, kept: str | None
) -> None:
    calls = [
        settle.retry("q", 1, 0, text).params,
        settle.dead_letter("q", 1, text).params,  # type: ignore[arg-type]  # None is met too
        settle.settle("q", [outcome(error_message=text)]).params["outcomes"][0],
    ]

    assert [params.get("error_message") for params in calls] == [kept] * 3


def test_a_stack_is_kept_up_to_a_limit_of_its_own() -> None:
    stack = "\0" * 40_000

    for params in (
        settle.retry("q", 1, 0, "boom", stack).params,
        settle.dead_letter("q", 1, "boom", stack).params,
        settle.settle("q", [outcome(error_stack=stack)]).params["outcomes"][0],
    ):
        assert len(params["error_stack"]) == 32_000
        assert params["error_stack"].endswith("... (40000 characters, cut)")
        assert "\0" not in params["error_stack"]


@pytest.mark.parametrize("field", ["error_type", "worker"])
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=named)
def test_no_text_of_an_outcome_can_keep_the_others_from_being_settled(
    field: str, text: str
) -> None:
    (row,) = settle.settle("q", [outcome(**{field: text})]).params["outcomes"]

    assert check.text_problem(row[field]) is None


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: enqueue.one("q", job_data(), -1), "delay_seconds"),
        (lambda: enqueue_many("q", [job_data()], [-1]), "delay_seconds[0]"),
        (lambda: enqueue_many("q", [job_data()], [1, 2]), "delay_seconds"),
        (lambda: enqueue.one("q", job_data(), idempotency_key=""), "idempotency_key"),
        (
            lambda: enqueue.one("q", job_data(), idempotency_key="a", idempotency_seconds=0),
            "idempotency_seconds",
        ),
        (lambda: claim.one("q", -1), "vt_seconds"),
        (lambda: claim.batch("q", 1, 86_401), "vt_seconds"),
        (lambda: claim.many("q", 0, 30), "quantity"),
        (lambda: claim.many("q", 1001, 30), "quantity"),
        (lambda: settle.acknowledge("q", [0]), "job_or_msg_id"),
        (lambda: settle.acknowledge("q", [True]), "job_or_msg_id"),
        (lambda: settle.retry("q", 1, -1), "delay_seconds"),
        (lambda: settle.release("q", 1, -1), "delay_seconds"),
        (lambda: settle.extend("q", [1], -1), "vt_seconds"),
        (lambda: settle.delete("q", 0), "msg_id"),
        (lambda: jobs.job("q", 0), "msg_id"),
        (lambda: jobs.jobs_of_run("q", "x"), "run_id"),
        (lambda: jobs.jobs_of_run("q", str(job_data()["run_id"]), 1001), "limit"),
        (lambda: queues.create("q", {"dlq_name": "A"}), "dlq_name"),
        (lambda: queues.create("q", {"vt_seconds": -1}), "vt_seconds"),
        (lambda: dead_letters.list_page("q", 0, 0), "limit"),
        (lambda: dead_letters.list_page("q", 1001, 0), "limit"),
        (lambda: dead_letters.list_page("q", 1, -1), "after_msg_id"),
        (lambda: dead_letters.get("q", 0), "msg_id"),
        (lambda: dead_letters.by_error("q", 10_001), "limit"),
        (lambda: dead_letters.count_by_error("q", 1001), "limit"),
        (lambda: dead_letters.replay("q", [1, 0], None), "msg_ids[1]"),
        (lambda: dead_letters.replay("q", [1], "A"), "target_queue"),
    ],
    ids=[
        "a negative delay",
        "a negative delay of one job",
        "more delays than jobs",
        "an empty key",
        "a key that is remembered for no time",
        "a negative lease",
        "a lease of more than a day",
        "a claim of no job",
        "a claim of more than 1000 jobs",
        "an id of nought",
        "a truth for an id",
        "a negative backoff",
        "a negative snooze",
        "a negative extension",
        "a deletion of id nought",
        "a look at id nought",
        "a run that is no uuid",
        "a run's jobs beyond 1000",
        "a dead letter queue in capitals",
        "a queue's negative lease",
        "a page of nothing",
        "a page of more than 1000",
        "a page after a negative id",
        "a dead letter of id nought",
        "a grouping of more than 10000",
        "a count of more than 1000 errors",
        "a replay of id nought",
        "a replay to a queue in capitals",
    ],
)
def test_what_the_caller_gave_is_named_by_his_own_word_for_it(
    build: Callable[[], object], field: str
) -> None:
    assert fields_of(build) == [field]


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (
            lambda: enqueue.one("q", job_data(), idempotency_key="a", idempotency_seconds=0.5),
            "idempotency_seconds",
        ),
        (lambda: settle.acknowledge("q", list(range(1, 10_002))), "jobs"),
        (lambda: queues.create("q", {"vt_seconds": 0.5}), "vt_seconds"),
        (lambda: queues.create("q", {"max_attempts": 0}), "max_attempts"),
        (lambda: queues.create("q", {"max_attempts": 1.5}), "max_attempts"),  # type: ignore[typeddict-item]
        (lambda: queues.create("q", {"base_delay_ms": -1}), "base_delay_ms"),
        (lambda: queues.create("q", {"max_delay_ms": 2**31}), "max_delay_ms"),
        (lambda: queues.create("q", {"base_delay_ms": 2, "max_delay_ms": 1}), "max_delay_ms"),
        (lambda: queues.create("q", {"keeps_history": "no"}), "keeps_history"),  # type: ignore[typeddict-item]
        (lambda: queues.configure("q", {"has_dead_letters": 1}), "has_dead_letters"),  # type: ignore[typeddict-item]
        (lambda: queues.configure("q", {"retention_days": -1}), "retention_days"),
        (lambda: queues.configure("q", {"retention_days": float("nan")}), "retention_days"),
        (lambda: queues.configure("q", {"retention_days": True}), "retention_days"),
        (lambda: queues.configure("q", {"retention_days": 36_601}), "retention_days"),
        (lambda: queues.prune("q", -1), "older_than_days"),
        (lambda: queues.prune("q", 1, 0), "max_rows"),
        (lambda: settle.cancel("q", 0), "msg_id"),
        (lambda: jobs.jobs_in_state("q", "gone"), "state"),
        (lambda: jobs.jobs_in_state("q", None, 0), "limit"),
        (lambda: jobs.jobs_in_state("q", None, 1, 0), "before_msg_id"),
        (lambda: queues.create("q", {"dlq_name": "q"}), "dlq_name"),
        (lambda: queues.drop("q", drop_dlq="no"), "drop_dlq"),  # type: ignore[arg-type]
        (lambda: settle.dead_letter("q", 1, "boom", dlq_name="q"), "dlq_name"),
        (lambda: dead_letters.replay("q_dlq", [1], "q_dlq"), "target_queue"),
    ],
    ids=[
        "a key that is forgotten within a second",
        "more receipts than 10000",
        "a visibility timeout under a second",
        "no attempt at all",
        "half an attempt",
        "a negative delay",
        "a delay that no integer of Postgres holds",
        "a cap below the base",
        "a text for a yes or no",
        "a number for a yes or no",
        "a negative retention",
        "a retention that is no number",
        "a yes for a retention",
        "a retention of more than a hundred years",
        "a prune of the future",
        "a prune of nothing",
        "a cancel of id nought",
        "a state that no job has",
        "a list of nothing",
        "a list before id nought",
        "a queue that is its own dead letter queue",
        "a text for whether to drop",
        "a dead letter that stays in its queue",
        "a replay into the dead letter queue itself",
    ],
)
def test_the_database_refuses_nothing_that_has_passed_here(
    build: Callable[[], object], field: str
) -> None:
    assert fields_of(build) == [field]


def test_the_number_of_jobs_of_a_call_is_that_of_the_database() -> None:
    call = enqueue_many("q", [job_data()] * 10_001)

    assert len(call.params["messages"]) == 10_000


@pytest.mark.parametrize("value", [ValueError("boom"), 5, b"boom"], ids=named)
def test_an_error_that_is_given_as_something_else_than_text_is_refused(value: Any) -> None:
    assert fields_of(settle.retry, "q", 1, 0, value) == ["error_message"]
    assert fields_of(settle.dead_letter, "q", 1, "boom", value) == ["error_stack"]


@pytest.mark.parametrize("build", [queues.create, queues.configure])
def test_a_setting_that_a_queue_does_not_have_is_named_with_those_that_it_has(
    build: Callable[..., Call[Any]],
) -> None:
    with pytest.raises(TypeError) as caught:
        build("q", {"max_attempts": 3, "max_attemps": 3, "dlq": "x"})

    assert str(caught.value).startswith("a queue has no setting 'dlq', 'max_attemps'; it has dlq_n")


def test_every_setting_of_a_queue_is_sent() -> None:
    every = dict.fromkeys(QueueSettings.__annotations__, 1) | {
        "dlq_name": "d",
        "keeps_history": True,
        "has_dead_letters": True,
    }

    assert queues.create("q", cast("QueueSettings", every)).params == {"queue_name": "q", **every}


def test_all_that_is_wrong_with_the_settings_of_a_queue_is_reported_at_once() -> None:
    settings: QueueSettings = {"dlq_name": "A", "vt_seconds": 0, "retention_days": -1}

    assert fields_of(queues.create, "q", settings) == ["dlq_name", "vt_seconds", "retention_days"]
