"""The hierarchy of errors: what its documentation draws is what the code has."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from meshhook import exceptions

CLASSES = {
    name: value
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and issubclass(value, exceptions.MeshHookError)
}
LINE = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>\w+)(?: \((?P<built_in>\w+)\))?(?:  +\S.*)?$")
EXAMPLES: list[exceptions.MeshHookError] = [
    exceptions.MeshHookError("something"),
    exceptions.InvalidInputError(
        [exceptions.Problem("a", "1", "b"), exceptions.Problem("c", "2", "d")]
    ),
    exceptions.ConfigurationError("no key"),
    exceptions.JobNotFoundError("q_dlq", 5),
    exceptions.LeaseLostError("q", 5),
    exceptions.JobTimeoutError(1.5),
    exceptions.RequestError("x", function="f", status=400, code="P0001", details="d", hint="h"),
    exceptions.RateLimitedError("x", function="f", status=429),
    exceptions.RejectedError("x", function="f", status=400, code="MH002"),
]


def drawn_tree() -> dict[str, tuple[str | None, str | None]]:
    """Return the parent and the built-in base of each class in the module's docstring."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    above: list[tuple[int, str]] = []
    drawing = (exceptions.__doc__ or "").split("\n\n")[1]
    for match in filter(None, map(LINE.match, drawing.splitlines())):
        depth = len(match["indent"])
        above = [(at, name) for at, name in above if at < depth]
        tree[match["name"]] = (above[-1][1] if above else None, match["built_in"])
        above.append((depth, match["name"]))
    return tree


def test_the_drawing_shows_every_class_and_no_other() -> None:
    assert set(drawn_tree()) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_stands_in_the_drawing_where_it_stands_in_the_code(name: str) -> None:
    parent, built_in = drawn_tree()[name]
    bases = [base.__name__ for base in CLASSES[name].__bases__]

    assert bases == [base for base in (parent or "Exception", built_in) if base]


def test_all_names_every_class_and_the_problems_of_an_input() -> None:
    assert sorted(exceptions.__all__) == exceptions.__all__
    assert set(exceptions.__all__) == {*CLASSES, "Problem"}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_says_in_a_sentence_when_it_is_raised(name: str) -> None:
    first_line = (CLASSES[name].__doc__ or "").splitlines()[0]

    assert first_line.endswith(".")
    assert first_line != exceptions.MeshHookError.__doc__ or name == "MeshHookError"


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_caught_by_the_root(error: exceptions.MeshHookError) -> None:
    with pytest.raises(exceptions.MeshHookError):
        raise error


@pytest.mark.parametrize(
    ("error_class", "built_in"),
    [(exceptions.InvalidInputError, ValueError), (exceptions.JobNotFoundError, LookupError)],
    ids=["InvalidInputError", "JobNotFoundError"],
)
def test_an_error_that_python_has_a_class_for_is_one_of_that_class(
    error_class: type, built_in: type
) -> None:
    assert issubclass(error_class, built_in)


def test_nothing_else_is_taken_for_one_of_pythons_errors() -> None:
    built_ins = (ValueError, LookupError, OSError, RuntimeError, TypeError)

    assert [name for name in CLASSES if issubclass(CLASSES[name], built_ins)] == [
        "InvalidInputError",
        "JobNotFoundError",
    ]


def test_an_outage_is_told_from_what_waiting_does_not_mend() -> None:
    outages = {name for name, kind in CLASSES.items() if issubclass(kind, exceptions.OutageError)}

    assert outages == {
        "OutageError",
        "UnreachableError",
        "RequestTimeoutError",
        "StatementTimeoutError",
        "ServerUnavailableError",
        "RateLimitedError",
    }


def test_an_error_of_an_input_has_all_its_problems() -> None:
    problems = [exceptions.Problem("a", "1", "give 2"), exceptions.Problem("b", "x", "give y")]

    error = exceptions.InvalidInputError(problems)

    assert error.problems == tuple(problems)
    assert str(error) == "a is 1: give 2; b is x: give y"


def test_an_error_of_a_job_has_its_queue_and_its_id() -> None:
    for kind in (exceptions.JobNotFoundError, exceptions.LeaseLostError):
        error = kind("q", 5)
        assert (error.queue_name, error.msg_id) == ("q", 5)
        assert '"q"' in str(error)
        assert "5" in str(error)


def test_a_failed_request_has_what_is_known_of_the_answer() -> None:
    error = exceptions.RequestError(
        "what to do", function="f", status=400, code="MH002", details="d", hint="h"
    )

    assert str(error) == "what to do"
    assert (error.function, error.status, error.code) == ("f", 400, "MH002")
    assert (error.details, error.hint) == ("d", "h")


def test_what_is_not_known_of_a_failed_request_is_none() -> None:
    error = exceptions.OutageError("no answer", function="f")

    assert (error.status, error.code, error.details, error.hint) == (None, None, None, None)
    assert error.retry_after_seconds is None


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_between_two_processes(error: exceptions.MeshHookError) -> None:
    arrived = pickle.loads(pickle.dumps(error))

    assert (type(arrived), str(arrived)) == (type(error), str(error))
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied(error: exceptions.MeshHookError) -> None:
    assert str(copy.copy(error)) == str(error)
