"""Queue names, numbers and keys: what passes, and what an error says about what does not."""

from __future__ import annotations

import math
import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from meshhook import InvalidInputError
from meshhook._calls import queues
from meshhook._inputs import check
from tests.unit.examples import RUN, Unprintable, fields_of, named, problems_of

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_NUMBERS: list[Any] = [True, False, "5", b"5", None, [], {}, Decimal(5), 5j, math.nan]


@pytest.mark.parametrize(
    "name", ["a", "0", "_", "workflow_jobs", "a-b", "a-b-c", "a-", "q_1-2", "a" * 47], ids=named
)
def test_a_queue_name_that_pgmq_keeps_as_it_is_passes(name: str) -> None:
    assert check.queue_name("queue_name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 48,
        "A",
        "workflow_Jobs",
        "-a",
        "-",
        "--",
        "a--b",
        "a--",
        "a b",
        " a",
        "a\n",
        "\na",
        "a\0",
        "a.b",
        "a/b",
        "a$b",
        "a;b",
        "a'b",
        'a"b',
        "a%b",
        "é",
        "\u0430",  # Cyrillic a
        "\uff41",  # full-width a
        "\u017f",  # long s, whose capital is S
        "\u212a",  # Kelvin sign, whose small letter is k
        "\u0661",  # Arabic digit one
        "a\u2010b",  # hyphen that is no minus
        "a\u200b",  # zero-width space
        "\ud800",
    ],
    ids=named,
)
def test_a_queue_name_that_pgmq_would_change_or_refuse_is_refused(name: str) -> None:
    (problem,) = problems_of(check.queue_name, "dlq_name", name)

    assert problem.field == "dlq_name"
    assert problem.value == repr(name)
    assert "47 characters" in problem.fix


@pytest.mark.parametrize("name", [None, 5, b"jobs", ["jobs"], True], ids=named)
def test_a_queue_name_that_is_no_text_is_refused(name: object) -> None:
    assert fields_of(check.queue_name, "queue_name", name) == ["queue_name"]


@pytest.mark.parametrize("value", [0, -0.0, 0.001, 1, 60.5, 366 * 86_400], ids=named)
def test_a_delay_from_nothing_to_366_days_passes_as_it_is(value: float) -> None:
    assert check.delay_seconds("delay_seconds", value) is value


def test_a_timedelta_is_as_good_as_its_seconds() -> None:
    assert check.delay_seconds("delay_seconds", timedelta(minutes=5)) == 300
    assert check.vt_seconds("vt_seconds", timedelta(0)) == 0
    assert check.positive_seconds("timeout_seconds", timedelta(milliseconds=1)) == 0.001
    assert queues.create("q", {"vt_seconds": timedelta(seconds=30)}).params["vt_seconds"] == 30


@pytest.mark.parametrize("value", [timedelta(seconds=-1), timedelta(days=367)], ids=str)
def test_a_timedelta_out_of_range_is_refused_as_its_seconds_are(value: timedelta) -> None:
    (problem,) = problems_of(check.delay_seconds, "delay_seconds", value)

    assert problem.value == str(value.total_seconds())
    assert problem.fix == "give a number of seconds from 0 to 31622400"


def test_a_time_is_sent_in_utc() -> None:
    nine = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=1)))

    assert check.run_at("run_at", nine) == "2026-01-01T08:00:00+00:00"


@pytest.mark.parametrize("hours", [-23, 23], ids=str)
def test_any_time_long_past_can_be_sent(hours: int) -> None:
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=hours)))

    assert check.run_at("run_at", first) == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (datetime(2027, 1, 1), "give it a time zone"),  # noqa: DTZ001 - that is the mistake
        (
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
            "give a time within the next",
        ),
        (60, "give a datetime with a time zone"),
        ("2027-01-01T00:00:00Z", "give a datetime with a time zone"),
        (date(2027, 1, 1), "give a datetime with a time zone"),
    ],
    ids=["naive", "too far", "number", "text", "date"],
)
def test_a_time_that_makes_no_sense_is_refused(value: object, fix: str) -> None:
    (problem,) = problems_of(check.run_at, "run_at", value)

    assert (problem.field, problem.value) == ("run_at", check.shown(value))
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize("value", [0, 0.5, 30, 86_400], ids=named)
def test_a_visibility_timeout_from_nothing_to_a_day_passes_as_it_is(value: float) -> None:
    assert check.vt_seconds("vt_seconds", value) is value


@pytest.mark.parametrize(
    "function", [check.delay_seconds, check.vt_seconds, check.positive_seconds], ids=named
)
@pytest.mark.parametrize(
    "value", [*NOT_NUMBERS, -1, -0.001, math.inf, -math.inf, 366 * 86_400 + 1, 10**400], ids=named
)
def test_a_duration_that_is_no_number_or_out_of_range_is_refused(
    function: Callable[[str, object], float], value: object
) -> None:
    (problem,) = problems_of(function, "some_seconds", value)

    assert problem.field == "some_seconds"
    assert problem.value == check.shown(value)
    assert problem.fix.startswith("give a number of seconds")


@pytest.mark.parametrize("value", [0, 0.0, -0.0], ids=named)
def test_a_duration_that_must_be_longer_than_nothing_is_refused_at_nothing(value: float) -> None:
    (problem,) = problems_of(check.positive_seconds, "job_timeout_seconds", value)

    assert str(problem) == f"job_timeout_seconds is {value!r}: give a number of seconds above 0"


def test_a_limit_is_written_in_plain_digits() -> None:
    (problem,) = problems_of(check.delay_seconds, "delay_seconds", -1)

    assert problem.fix == "give a number of seconds from 0 to 31622400"


@pytest.mark.parametrize("value", [1, 5, 1_000_000], ids=named)
def test_an_attempt_from_1_to_a_million_passes(value: int) -> None:
    check.attempt(value)


@pytest.mark.parametrize(
    "value",
    [*NOT_NUMBERS, 0, -1, 1.0, 1.5, 1_000_001, 10**5000, math.inf, Unprintable()],
    ids=named,
)
def test_an_attempt_that_is_no_whole_number_from_1_to_a_million_is_refused(value: object) -> None:
    (problem,) = problems_of(check.attempt, value)

    assert problem.field == "attempt"
    assert problem.value == check.shown(value)
    assert problem.fix == "give a whole number from 1 to 1000000"


@pytest.mark.parametrize("value", [1, 2**63 - 1], ids=named)
def test_a_message_id_of_a_bigint_passes(value: int) -> None:
    assert check.msg_id("msg_id", value) == value


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1, 1.0, 2**63, 10**400], ids=named)
def test_a_message_id_that_no_bigint_holds_is_refused(value: object) -> None:
    assert fields_of(check.msg_id, "msg_id", value) == ["msg_id"]


@pytest.mark.parametrize("given", [[1, 2], (1, 2), {1: "a", 2: "b"}, iter([1, 2])], ids=named)
def test_message_ids_may_come_in_anything_that_can_be_gone_through(given: Any) -> None:
    assert check.msg_ids("msg_ids", given) == [1, 2]


def test_every_wrong_message_id_is_named_by_its_position() -> None:
    assert fields_of(check.msg_ids, "msg_ids", [1, 0, 2, "3", True]) == [
        "msg_ids[1]",
        "msg_ids[3]",
        "msg_ids[4]",
    ]


def test_more_message_ids_than_the_database_takes_are_one_problem() -> None:
    assert check.msg_ids("msg_ids", range(1, 10_001)) == list(range(1, 10_001))

    (problem,) = problems_of(check.msg_ids, "msg_ids", range(1, 10_002))

    assert str(problem) == "msg_ids is 10001 ids: give at most 10000 at once"


@pytest.mark.parametrize("key", ["a", "a" * 255, "order 17 / ключ", "\U0001f511" * 255], ids=named)
def test_an_idempotency_key_of_1_to_255_characters_passes(key: str) -> None:
    assert check.request_id("idempotency_key", key) == key


@pytest.mark.parametrize(
    "key", ["", "a" * 256, "a\0b", "\ud800", 5, b"a", None, uuid.UUID(int=7)], ids=named
)
def test_an_idempotency_key_that_postgres_cannot_keep_is_refused(key: object) -> None:
    (problem,) = problems_of(check.request_id, "idempotency_key", key)

    assert problem.field == "idempotency_key"
    assert "255" in problem.fix


@pytest.mark.parametrize("given", [RUN, uuid.UUID(RUN)], ids=named)
def test_a_run_id_is_a_uuid_as_text_or_as_object(given: object) -> None:
    assert check.run_id(given) == RUN


def test_a_run_id_is_the_same_however_its_letters_are_written() -> None:
    assert check.run_id(RUN.upper()) == check.run_id(uuid.UUID(RUN))


def test_an_object_that_cannot_be_printed_is_named_by_its_type() -> None:
    assert check.shown(Unprintable()) == "<Unprintable whose repr() raises RuntimeError>"


@pytest.mark.parametrize("length", [0, 97, 98, 99, 1_000_000], ids=named)
def test_a_value_is_shown_in_at_most_a_line(length: int) -> None:
    text = check.shown("x" * length)

    assert len(text) == min(length + 2, 100)
    assert text.endswith("..." if length > 98 else "'")


def test_an_error_is_a_value_error_that_joins_all_its_problems() -> None:
    with pytest.raises(ValueError, match="base_delay_ms") as caught:
        check.retry_settings(-1, True, 0)

    assert str(caught.value) == "; ".join(map(str, problems_of(check.retry_settings, -1, True, 0)))
    assert isinstance(caught.value, InvalidInputError)
    assert [problem.value for problem in caught.value.problems] == ["-1", "True", "0"]
