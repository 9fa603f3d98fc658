"""Checks of inputs before anything is sent.

Each check finds every problem of a value and raises them as one `InvalidInputError`. The limits are
those of the SQL functions, so the database refuses nothing that passes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from meshhook._defaults import MAX_JOBS_PER_CALL
from meshhook.exceptions import InvalidInputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

MAX_ATTEMPTS = 1_000_000
MAX_DELAY_SECONDS = 366 * 86_400
MAX_DELAY = timedelta(seconds=MAX_DELAY_SECONDS)
MAX_INTEGER = 2**31 - 1
MAX_DAYS = 36_600
MAX_MSG_ID = 2**63 - 1
MAX_PRUNE = 100_000
MAX_REQUEST_ID = 255
MAX_VT_SECONDS = 86_400

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUEUE_NAME = re.compile(r"(?!.*--)[a-z0-9_][a-z0-9_-]{0,46}")


def shown(value: object) -> str:
    """Return a value as a short text for an error message."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a broken repr() must not hide the real problem
        text = f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"
    return text if len(text) <= 100 else f"{text[:97]}..."  # noqa: PLR2004 - a line's worth


def refuse(problems: Iterable[Problem]) -> None:
    """Raise the problems as one error, if there are any."""
    found = tuple(problems)
    if found:
        raise InvalidInputError(found)


def all_of(*checks: Callable[[], Any]) -> list[Any]:
    """Run several checks, and return their results.

    Raises:
        InvalidInputError: With every problem of every check.
    """
    results: list[Any] = []
    problems: list[Problem] = []
    for check in checks:
        try:
            results.append(check())
        except InvalidInputError as error:
            problems += error.problems
    refuse(problems)
    return results


def seconds(value: Any) -> Any:
    """Return a timedelta in seconds, and anything else unchanged."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def flag(field: str, value: object) -> bool:
    """Check a bool."""
    if not isinstance(value, bool):
        refuse([Problem(field, shown(value), "give True or False")])
    return bool(value)


def number_of(what: str, count: int) -> None:
    """Check that a batch is no larger than the database takes."""
    if count > MAX_JOBS_PER_CALL:
        refuse([Problem(what, f"{count} {what}", f"give at most {MAX_JOBS_PER_CALL} at once")])


def whole_number_problems(field: str, value: object, low: int, high: int) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        yield Problem(field, shown(value), f"give a whole number from {low} to {high}")


def _number(
    field: str, value: object, low: float, high: float, unit: str = "seconds"
) -> Iterator[Problem]:
    # The comparison is false for NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        fix = f"give a number of {unit} from {low:.15g} to {high:.15g}"
        yield Problem(field, shown(value), fix)


def queue_name(field: str, value: object) -> str:
    """Check a queue's name: PGMQ would fold its case and refuse more than 47 characters."""
    if not isinstance(value, str) or not _QUEUE_NAME.fullmatch(value):
        fix = "use 1 to 47 characters out of a-z, 0-9, _ and single -, and do not begin with -"
        refuse([Problem(field, shown(value), fix)])
    return str(value)


def other_queue(field: str, value: str, queue: str) -> None:
    """Check that a queue is not its own dead letter queue, or its own target."""
    if value == queue:
        refuse([Problem(field, shown(value), "name another queue: that one is the queue itself")])


def attempt(value: object) -> None:
    """Check the number of an attempt."""
    refuse(whole_number_problems("attempt", value, 1, MAX_ATTEMPTS))


def retry_settings(base_delay_ms: object, max_delay_ms: object, max_attempts: object) -> None:
    """Check the settings of a retry strategy."""
    refuse(
        [
            *whole_number_problems("base_delay_ms", base_delay_ms, 0, MAX_DELAY_SECONDS * 1000),
            *whole_number_problems("max_delay_ms", max_delay_ms, 0, MAX_DELAY_SECONDS * 1000),
            *whole_number_problems("max_attempts", max_attempts, 1, MAX_ATTEMPTS),
        ]
    )
    delays(base_delay_ms, max_delay_ms)


def delays(base_delay_ms: Any, max_delay_ms: Any) -> None:
    """Check that the first delay is not above the largest; both are numbers."""
    if base_delay_ms > max_delay_ms:
        fix = f"give at least base_delay_ms, {base_delay_ms}"
        refuse([Problem("max_delay_ms", shown(max_delay_ms), fix)])


def known_names(field: str, given: Collection[str], known: Sequence[str]) -> None:
    """Check that a mapping of settings has only known names."""
    refuse(
        Problem(f"{field}[{shown(name)}]", "unknown", f"use {', '.join(known)}")
        for name in given
        if name not in known
    )


def delay_seconds(field: str, value: object) -> float:
    """Check a delay: from 0 seconds to 366 days."""
    return number_of_seconds(field, value, 0)


def run_at(field: str, value: object) -> str:
    """Check the time from which a job may run, and return it as text in UTC.

    Any time before 1970 becomes 1970: both mean at once.
    """
    if not isinstance(value, datetime):
        fix = "give a datetime with a time zone, such as datetime.now(UTC) + timedelta(hours=1)"
        raise InvalidInputError([Problem(field, shown(value), fix)])
    if value.utcoffset() is None:
        fix = (
            "give it a time zone, such as datetime(..., tzinfo=UTC), or value.astimezone() "
            "if it is the time of this machine"
        )
        raise InvalidInputError([Problem(field, shown(value), fix)])
    if value - datetime.now(UTC) > MAX_DELAY:
        fix = f"give a time within the next {MAX_DELAY.days} days"
        raise InvalidInputError([Problem(field, shown(value), fix)])
    return max(value, _LONG_AGO).astimezone(UTC).isoformat()


def not_both(field: str, value: object, other: str) -> None:
    """Refuse an argument that is given together with another for the same purpose."""
    refuse([Problem(field, shown(value), f"give {field} or {other}, not both")])


def vt_seconds(field: str, value: object) -> float:
    """Check a visibility timeout: from 0 seconds (visible at once) to a day."""
    return number_of_seconds(field, value, 0, MAX_VT_SECONDS)


def days(field: str, value: object) -> float:
    """Check a number of days."""
    refuse(_number(field, value, 0, MAX_DAYS, "days"))
    return value  # type: ignore[return-value]  # a number, as just checked


def one_of(field: str, value: object, known: Sequence[str]) -> str:
    """Check a word that must be one of the known ones."""
    if not isinstance(value, str) or value not in known:
        refuse([Problem(field, shown(value), f"use one of {', '.join(known)}")])
    return value  # type: ignore[return-value]  # a text, as just checked


def number_of_seconds(
    field: str, value: object, low: float, high: float = MAX_DELAY_SECONDS
) -> float:
    """Check a duration, a number or a timedelta, and return it in seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    refuse(_number(field, value, low, high))
    return value  # type: ignore[return-value]  # a number, as just checked


def positive_seconds(field: str, value: object, high: float = MAX_DELAY_SECONDS) -> float:
    """Check a duration that must be above 0; see `number_of_seconds`."""
    number = number_of_seconds(field, value, 0, high)
    if not number:
        refuse([Problem(field, shown(value), "give a number of seconds above 0")])
    return number


def whole_number(field: str, value: object, low: int, high: int) -> int:
    """Check a whole number and its range."""
    refuse(whole_number_problems(field, value, low, high))
    return value  # type: ignore[return-value]  # an int, as just checked


def msg_id(field: str, value: object) -> int:
    """Check a message id."""
    return whole_number(field, value, 1, MAX_MSG_ID)


def several(field: str, values: object) -> list[Any]:
    """Check that a value is iterable and no text, and return it as a list."""
    if isinstance(values, str | bytes | bytearray) or not isinstance(values, Iterable):
        refuse([Problem(field, shown(values), "give a list")])
    return list(values)  # type: ignore[call-overload, no-any-return]  # iterable, as just checked


def text(field: str, value: object, limit: int) -> str:
    """Check a text that Postgres can store, of 1 to *limit* characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= limit or text_problem(value):
        refuse([Problem(field, shown(value), f"give a text of 1 to {limit} characters")])
    return str(value)


def function(field: str, value: object) -> None:
    """Check a function."""
    if not callable(value):
        refuse([Problem(field, shown(value), "give a function")])


def msg_ids(field: str, values: Iterable[object]) -> list[int]:
    """Check several message ids."""
    listed = several(field, values)
    if len(listed) > MAX_JOBS_PER_CALL:
        refuse([Problem(field, f"{len(listed)} ids", f"give at most {MAX_JOBS_PER_CALL} at once")])
    refuse(
        problem
        for position, value in enumerate(listed)
        for problem in whole_number_problems(f"{field}[{position}]", value, 1, MAX_MSG_ID)
    )
    return listed


def run_id(value: object) -> str:
    """Check a run id and return it as text, spelled as in the jobs that are sent."""
    refuse(uuid_problems("run_id", value))
    return str(value).lower()


def request_id(field: str, value: object) -> str:
    """Check an idempotency key."""
    return text(field, value, MAX_REQUEST_ID)


def exception_classes(field: str, values: Iterable[object]) -> tuple[type[BaseException], ...]:
    """Check classes of exceptions."""
    listed = tuple(several(field, values))
    refuse(
        Problem(f"{field}[{position}]", shown(value), "give a class of exceptions")
        for position, value in enumerate(listed)
        if not (isinstance(value, type) and issubclass(value, BaseException))
    )
    return listed


def uuid_problems(field: str, value: object) -> Iterator[Problem]:
    if isinstance(value, UUID):
        return
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        yield Problem(field, shown(value), "give a UUID, such as str(uuid.uuid4())")


def text_problem(text: str) -> tuple[str, str] | None:
    """Return why Postgres cannot store a text, and what to do; None if it can."""
    if "\0" in text:
        return "text with a NUL character", "remove it: Postgres cannot store it"
    if not text.isascii() and _SURROGATE.search(text):
        return "text with half a surrogate pair", "encode it properly, or replace that character"
    return None


def storable(field: str, text: object, limit: int) -> str | None:
    """Return an error text in a form that Postgres can store, cut to a length.

    Characters that cannot be stored are replaced; a note says that the text was cut.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidInputError([Problem(field, shown(text), "give a text, such as str(error)")])
    if len(text) > limit:
        note = f"... ({len(text)} characters, cut)"
        text = text[: limit - len(note)] + note
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
