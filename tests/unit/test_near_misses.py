"""Misspelt fields of a job: which are refused, which are the sender's own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from meshhook._calls import user_enqueue
from meshhook._enqueue.batch import Batch
from meshhook._inputs import payload
from tests.unit.examples import job_data, named, problems_of


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("metdata", "metadata"),
        ("metadta", "metadata"),
        ("metaData", "metadata"),
        ("Metadata", "metadata"),
        ("meta_data", "metadata"),
        ("max_attempt", "max_attempts"),
        ("max_atempt", "max_attempts"),
        ("maxAttempts", "max_attempts"),
        ("max-attempts", "max_attempts"),
        ("max_retries", "max_attempts"),
        ("attempts", "max_attempts"),
        ("atempt", "attempt"),
    ],
    ids=named,
)
def test_a_misspelt_field_is_refused_with_the_name_that_was_meant(name: str, meant: str) -> None:
    (problem,) = problems_of(payload.job_data, job_data(**{name: 3}))

    assert str(problem) == (
        f"{name} is unknown: did you mean {meant}? A field of your own goes under metadata"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [("runId", "run_id"), ("workflow_ID", "workflow_id"), ("proyect_id", "project_id")],
    ids=named,
)
def test_a_misspelt_id_is_one_problem_and_not_missing_as_well(name: str, meant: str) -> None:
    data = job_data()
    data[name] = data.pop(meant)

    (problem,) = problems_of(payload.job_data, data)

    assert (problem.field, problem.value) == (name, "unknown")
    assert f"did you mean {meant}?" in problem.fix


@pytest.mark.parametrize(
    "name", ["enqueuedAt", "enqued_at", "lastError", "read-count", "movedToDlqAt"], ids=named
)
def test_a_misspelt_field_of_meshhooks_own_is_refused_too(name: str) -> None:
    (problem,) = problems_of(payload.job_data, job_data(**{name: "x"}))

    assert (problem.field, problem.value) == (name, "unknown")
    assert "which MeshHook writes itself" in problem.fix


@pytest.mark.parametrize(
    "name",
    [
        "workflow",
        "project",
        "run",
        "user_id",
        "job_id",
        "row_id",
        "run_at",
        "data",
        "payload",
        "date",
        "meta",
        "net_data",
        "error",
        "errors",
        "error_messages",
        "last_errors",
        "attempted_by",
        "max_age",
        "priority",
        "x" * 1000,
        "é",
    ],
    ids=named,
)
def test_a_field_of_the_senders_own_is_sent(name: str) -> None:
    data = job_data(**{name: "x"})

    assert payload.job_data(data) == data


def test_what_looks_like_a_field_that_is_there_is_the_senders_own() -> None:
    data = job_data(metadata={}, meta_data="x", runId="x", max_attempts=2, attempts=7)

    assert payload.job_data(data) == data


def test_every_misspelt_field_of_many_jobs_is_named_by_position() -> None:
    jobs = [job_data(), job_data(metdata={}, max_attempt=3), job_data(metadata={1: 2}, runid="x")]

    assert [problem.field for problem in problems_of(payload.jobs_data, jobs)] == [
        "jobs[1].metdata",
        "jobs[1].max_attempt",
        "jobs[2].metadata[1]",
    ]


def test_a_payload_that_is_given_as_the_job_is_told_where_it_goes() -> None:
    (problem,) = problems_of(payload.job_data, {"to": "a@example.com", "subject": "Hello"})

    assert str(problem) == (
        "job_data is without any field of a job: put yours under metadata, and give run_id, "
        "workflow_id and project_id, each a UUID such as str(uuid.uuid4())"
    )
    assert [problem.field for problem in problems_of(payload.jobs_data, [{"to": 1}, {}])] == [
        "jobs[0]",
        "jobs[1].run_id",
        "jobs[1].workflow_id",
        "jobs[1].project_id",
    ]


@pytest.mark.parametrize("name", ["send-email", "Order confirmation", "x"], ids=named)
def test_a_name_in_place_of_an_id_is_told_how_it_becomes_one(name: str) -> None:
    (problem,) = problems_of(payload.job_data, job_data(workflow_id=name))

    assert str(problem) == (
        f"workflow_id is {name!r}: ids must be UUIDs: give str(uuid.uuid4()), or for a name "
        f"uuid.uuid5(uuid.NAMESPACE_URL, {name!r}), or put the name under metadata"
    )
    made: Any = eval(problem.fix.partition("for a name ")[2].rpartition(", or")[0], {"uuid": uuid})
    assert payload.job_data(job_data(workflow_id=made))["workflow_id"] == str(made)


def test_a_job_of_a_user_is_held_to_the_same() -> None:
    (problem,) = problems_of(user_enqueue.one, "q", job_data(metdata={}))

    assert problem.field == "metdata"


def test_one_job_where_several_are_wanted_is_told_which_method_takes_it() -> None:
    (problem,) = problems_of(Batch, "q", job_data())

    assert str(problem) == "jobs is one job: give a list of jobs, or use enqueue() for one"


def test_several_jobs_where_one_is_wanted_are_told_which_method_takes_them() -> None:
    (problem,) = problems_of(payload.job_data, [job_data()])

    assert problem.field == "job_data"
    assert problem.fix == (
        "give a mapping with run_id, workflow_id and project_id, or use enqueue_many()"
    )
