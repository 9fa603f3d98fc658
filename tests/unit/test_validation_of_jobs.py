"""The data of a job: its ids, its attempts, the names that MeshHook keeps to itself."""

from __future__ import annotations

import copy
import math
import uuid
from types import MappingProxyType
from typing import Any

import pytest

from meshhook import InvalidInputError, JobMessage
from meshhook._calls import enqueue
from meshhook._inputs import payload
from meshhook._inputs.check import run_id, shown
from tests.unit.builders import enqueue_many
from tests.unit.examples import (
    PROJECT,
    RUN,
    WORKFLOW,
    Unprintable,
    fields_of,
    job_data,
    named,
    problems_of,
)

IDS = ["run_id", "workflow_id", "project_id"]


@pytest.mark.parametrize("wrap", [dict, MappingProxyType, JobMessage], ids=named)
def test_any_mapping_is_taken_and_becomes_a_plain_dict(wrap: Any) -> None:
    sent = payload.job_data(wrap(job_data(attempt=2, metadata={"a": [1]}, more="x")))

    assert type(sent) is dict
    assert sent == job_data(attempt=2, metadata={"a": [1]}, more="x")


def test_ids_may_be_given_as_uuid_objects_and_are_sent_as_text() -> None:
    sent = payload.job_data({name: uuid.UUID(text) for name, text in job_data().items()})

    assert sent == {"run_id": RUN, "workflow_id": WORKFLOW, "project_id": PROJECT}


def test_an_id_is_sent_in_one_spelling_so_that_find_jobs_finds_it() -> None:
    sent = payload.job_data(job_data(run_id=RUN.upper()))

    assert sent["run_id"] == run_id(uuid.UUID(RUN))


@pytest.mark.parametrize("field", IDS, ids=named)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        RUN[:-1],
        RUN + "0",
        RUN.replace("-", ""),
        "{" + RUN + "}",
        f"urn:uuid:{RUN}",
        RUN + "\n",
        " " + RUN,
        RUN.replace("a", "g"),
        RUN.replace("0", "\u0660"),  # Arabic digit nought
        None,
        5,
        RUN.encode(),
        [RUN],
        Unprintable(),
    ],
    ids=named,
)
def test_an_id_that_is_no_uuid_is_refused(field: str, value: object) -> None:
    (problem,) = problems_of(payload.job_data, job_data(**{field: value}))

    assert problem.field == field
    assert problem.value == shown(value)
    assert "uuid.uuid4()" in problem.fix


@pytest.mark.parametrize("field", IDS, ids=named)
def test_a_missing_id_is_called_missing(field: str) -> None:
    data = job_data()
    del data[field]

    (problem,) = problems_of(payload.job_data, data)

    assert str(problem) == f"{field} is missing: give a UUID, such as str(uuid.uuid4())"


@pytest.mark.parametrize("given", [None, 5, "run", [1, 2], ..., b"data", Unprintable()], ids=named)
def test_what_is_no_mapping_is_refused_as_a_whole(given: object) -> None:
    (problem,) = problems_of(payload.job_data, given)

    assert problem.field == "job_data"
    assert problem.value == shown(given)
    assert "run_id, workflow_id and project_id" in problem.fix


@pytest.mark.parametrize("field", ["attempt", "max_attempts"], ids=named)
@pytest.mark.parametrize(
    "value", [0, -1, 1_000_001, 10**400, 1.0, True, "1", None, math.nan], ids=named
)
def test_an_attempt_that_is_no_whole_number_in_range_is_refused(field: str, value: object) -> None:
    problem = problems_of(payload.job_data, job_data(**{field: value}))[0]

    assert problem.field == field
    assert problem.value == shown(value)
    assert problem.fix == "give a whole number from 1 to 1000000"


@pytest.mark.parametrize(
    "field",
    [
        "_meshhook",
        "enqueued_at",
        "error_message",
        "error_stack",
        "last_error",
        "last_error_at",
        "moved_to_dlq_at",
        "original_enqueued_at",
        "original_msg_id",
        "read_count",
    ],
    ids=named,
)
def test_a_field_that_meshhook_writes_itself_is_refused(field: str) -> None:
    (problem,) = problems_of(payload.job_data, job_data(**{field: None}))

    assert (problem.field, problem.value) == (field, "reserved")
    assert "metadata" in problem.fix


@pytest.mark.parametrize("metadata", [None, [], (), "x", 5, True], ids=named)
def test_metadata_that_is_no_dict_is_refused(metadata: object) -> None:
    assert ("metadata", shown(metadata), "give a dict") in [
        (problem.field, problem.value, problem.fix)
        for problem in problems_of(payload.job_data, job_data(metadata=metadata))
    ]


def test_fields_of_the_sender_pass_at_the_top_as_well_as_under_metadata() -> None:
    data = job_data(priority=3, tags=["a", None], nested={"deep": {"er": 1.5}})

    assert payload.job_data(data) == data


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"], ids=named)
def test_a_field_whose_name_postgres_cannot_keep_is_refused(name: str) -> None:
    assert len(problems_of(payload.job_data, job_data(**{name: 1}))) == 1


@pytest.mark.parametrize("name", [5, None, ("a",), 10**5000, Unprintable()], ids=named)
def test_a_field_whose_name_is_no_text_is_refused(name: Any) -> None:
    (problem,) = problems_of(payload.job_data, {**job_data(), name: 1})

    assert problem.fix == "use text as keys"


def test_one_error_names_every_problem_of_a_job() -> None:
    data = job_data(run_id="x", attempt=0, read_count=1, metadata={"a": math.nan, "b": [b""]})
    del data["project_id"]

    assert sorted(fields_of(payload.job_data, data)) == [
        "attempt",
        "metadata.a",
        "metadata.b[0]",
        "project_id",
        "read_count",
        "run_id",
    ]


def test_one_error_names_every_problem_of_many_jobs_by_position() -> None:
    jobs = [job_data(), job_data(run_id="x"), None, job_data(attempt=0, metadata={"a": {1}})]

    assert fields_of(payload.jobs_data, jobs) == [
        "jobs[1].run_id",
        "jobs[2]",
        "jobs[3].attempt",
        "jobs[3].metadata.a",
    ]


def test_the_text_of_an_error_has_field_value_and_fix_of_every_problem() -> None:
    problems = problems_of(payload.jobs_data, [job_data(attempt=0), job_data(run_id=5)])

    assert [str(problem) for problem in problems] == [
        "jobs[0].attempt is 0: give a whole number from 1 to 1000000",
        "jobs[1].run_id is 5: give a UUID, such as str(uuid.uuid4())",
    ]


@pytest.mark.parametrize("metadata", [{"a": [1, (2, 3)]}, {"a": math.nan}], ids=named)
def test_what_is_given_is_never_changed(metadata: dict[str, Any]) -> None:
    data = job_data(run_id=uuid.UUID(RUN), metadata=metadata, attempt=1)
    before = copy.deepcopy(data)
    try:
        sent = payload.job_data(data)
    except ValueError:
        sent = {}

    sent["run_id"] = "changed"

    # repr(), because a NaN is not equal to itself.
    assert repr(data) == repr(before)


def test_an_enqueue_names_every_problem_of_all_its_arguments() -> None:
    fields = fields_of(enqueue.one, "q", job_data(run_id="x"), -1, idempotency_key="")

    assert sorted(fields) == ["delay_seconds", "idempotency_key", "run_id"]


def test_an_enqueue_of_many_names_every_problem_of_all_its_arguments() -> None:
    jobs = [job_data(), job_data(run_id="x")]

    fields = fields_of(enqueue_many, "q", jobs, [-1, "5"], idempotency_key="")

    assert sorted(fields) == [
        "delay_seconds[0]",
        "delay_seconds[1]",
        "idempotency_key",
        "jobs[1].run_id",
    ]


def test_an_attempt_past_the_last_one_is_refused() -> None:
    (problem,) = problems_of(payload.job_data, job_data(attempt=4, max_attempts=3))

    assert str(problem) == "attempt is 4: give at most max_attempts, 3"
    assert payload.job_data(job_data(attempt=3, max_attempts=3))["attempt"] == 3


def test_the_text_of_an_error_stays_short_while_its_problems_are_all_there() -> None:
    with pytest.raises(InvalidInputError) as caught:
        payload.jobs_data([{}] * 1000)

    assert len(caught.value.problems) == 3000
    assert str(caught.value).endswith("; and 2980 more problems")
    assert len(str(caught.value)) < 3000
