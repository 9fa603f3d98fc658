"""Checks of what a job carries, before it is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshhook._inputs import check, encoding, near_misses
from meshhook.exceptions import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

MAX_DEPTH = 200
MAX_INTEGER_BITS = 4096
MAX_VALUES = 1_000_000

ID_FIELDS = ("run_id", "workflow_id", "project_id")

# MeshHook writes these into a message. A job that is sent with them would lose them when it fails,
# or look as if it had failed already.
RESERVED_FIELDS = frozenset({"_meshhook", *near_misses.WRITTEN_BY_MESHHOOK})

# The limits of the fast check: more than nearly all jobs have, and far below the real limits.
_USUAL_DEPTH = 4
_USUAL_ITEMS = 30

_NOT_USUAL = RESERVED_FIELDS | {"attempt", "max_attempts"}
_USUAL_FIELDS = frozenset({*ID_FIELDS, "metadata"})
# These and the senders' own fields that passed before: the same ones come again and again.
_seen_fields: set[object] = set(_USUAL_FIELDS)
_MAX_SEEN = 1000
_NAME = re.compile(r"[A-Za-z][ -~]{0,30}")  # a UUID with a typing error has 32 letters or more
_NOT_HEX = re.compile("[g-zG-Z]")
_USUAL_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def _is_usual(data: Any) -> bool:
    """Return quickly whether a job may be sent as it is; if False, the full check decides."""
    return (
        type(data) is dict
        and (_seen_fields.issuperset(data) or _has_usual_fields(data))
        and all(type(data.get(field)) is str and _USUAL_ID(data[field]) for field in ID_FIELDS)
        and type(data.get("metadata", data)) is dict
        and _are_usual(data.values(), _USUAL_DEPTH)
    )


def _has_usual_fields(data: dict[Any, Any]) -> bool:
    if not _NOT_USUAL.isdisjoint(data) or not all(map(_is_usual_field, data)):
        return False
    if len(_seen_fields) > _MAX_SEEN:
        _seen_fields.clear()
    _seen_fields.update(name for name in data if len(name) <= near_misses.LONGEST)
    return True


def _is_usual_field(name: object) -> bool:
    return _is_usual_key(name) and near_misses.meant(name) is None


def _is_usual_key(name: object) -> bool:
    return type(name) is str and name.isascii() and "\0" not in name


def _is_usual_dict(data: dict[Any, Any], depth: int) -> bool:
    for key in data:
        if type(key) is not str or not key.isascii() or "\0" in key:
            return False
    return _are_usual(data.values(), depth)


def _are_usual(values: Collection[Any], depth: int) -> bool:
    if len(values) > _USUAL_ITEMS or not depth:
        return False
    for value in values:
        kind = type(value)
        if kind is str:
            is_usual = value.isascii() and "\0" not in value
        elif kind is dict:
            is_usual = _is_usual_dict(value, depth - 1)
        elif kind is list:
            is_usual = _are_usual(value, depth - 1)
        elif kind is int:
            is_usual = -(2**63) <= value < 2**63
        elif kind is float:
            is_usual = math.isfinite(value)
        else:
            is_usual = value is None or kind is bool
        if not is_usual:
            return False
    return True


def job_data(given: Any, where: str = "") -> dict[str, Any]:
    """Check the data of a job and return what is sent for it.

    It is a new dict, with the ids as text and everything else unchanged. In an error, *where* is
    put before each field, such as ``jobs[3].``.
    """
    problems: list[Problem] = []
    data = _job_data(given, where, problems)
    check.refuse(problems)
    return data


def jobs_data(given: Iterable[Any]) -> list[dict[str, Any]]:
    """Check the data of many jobs; see `job_data`."""
    problems: list[Problem] = []
    sent = [_job_data(data, f"jobs[{position}].", problems) for position, data in enumerate(given)]
    check.refuse(problems)
    return sent


def _job_data(given: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    """Return what is sent for a job, and add its problems to the list."""
    if _is_usual(given):
        return {**given}
    data, wrong = _fully_checked(given, where)
    problems += wrong
    return data


def several(given: object) -> list[Any]:
    """Check that jobs are in an iterable, and return them as a list."""
    if isinstance(given, Mapping):
        check.refuse([Problem("jobs", "one job", "give a list of jobs, or use enqueue() for one")])
    return check.several("jobs", given)


def _fully_checked(given: object, where: str) -> tuple[dict[str, Any], list[Problem]]:
    if isinstance(given, list | tuple):
        return {}, [_no_mapping(given, where)]
    try:
        data: dict[str, Any] = dict(given)  # type: ignore[call-overload]  # that is the question
    except (TypeError, ValueError):
        return {}, [_no_mapping(given, where)]
    misspelt = near_misses.misspelt(data)
    if data and not misspelt and near_misses.FIELDS.isdisjoint(data):
        problems = [_no_job(where)]
    else:
        problems = [*_misspelt(misspelt, where), *_ids(data, misspelt.values(), where)]
    problems += _attempts(data, where)
    encoded: list[object] = []
    problems += _other_fields(data, where, encoded)
    return (encoding.plain(data) if encoded and not problems else data), problems


def _no_mapping(given: object, where: str) -> Problem:
    fix = "give a mapping with run_id, workflow_id and project_id"
    if not where and isinstance(given, list | tuple):
        fix = "give a mapping with run_id, workflow_id and project_id, or use enqueue_many()"
    elif (how := encoding.advice(given)) in encoding.MAKES_A_DICT:
        fix = f"give a mapping with run_id, workflow_id and project_id: {how}"
    return Problem(where.rstrip(".") or "job_data", check.shown(given), fix)


def _no_job(where: str) -> Problem:
    fix = (
        "put yours under metadata, and give run_id, workflow_id and project_id, each a UUID such "
        "as str(uuid.uuid4())"
    )
    return Problem(where.rstrip(".") or "job_data", "without any field of a job", fix)


def _misspelt(misspelt: Mapping[str, str], where: str) -> Iterator[Problem]:
    for name, known in misspelt.items():
        if known in RESERVED_FIELDS:
            fix = f"leave it out: it looks like {known}, which MeshHook writes itself"
        else:
            fix = f"did you mean {known}? A field of your own goes under metadata"
        yield Problem(where + name, "unknown", fix)


def _ids(data: dict[str, Any], misspelt: Collection[str], where: str) -> Iterator[Problem]:
    """Find what is wrong with the ids, and write the good ones in their one spelling."""
    for field in ID_FIELDS:
        if field in data:
            problems = list(check.uuid_problems(where + field, data[field]))
            if problems:
                yield from _a_name(where + field, data[field]) or problems
            else:
                # Postgres compares the text, so one id must have one spelling.
                data[field] = str(data[field]).lower()
        elif field not in misspelt:
            yield Problem(where + field, "missing", "give a UUID, such as str(uuid.uuid4())")


def _a_name(field: str, value: object) -> list[Problem]:
    """Return the problem of a name in place of an id; none for anything else."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or not _NOT_HEX.search(value):
        return []
    shown = check.shown(value)
    fix = (
        "ids must be UUIDs: give str(uuid.uuid4()), or for a name "
        f"uuid.uuid5(uuid.NAMESPACE_URL, {shown}), or put the name under metadata"
    )
    return [Problem(field, shown, fix)]


def _attempts(data: Mapping[str, Any], where: str) -> Iterator[Problem]:
    problems = [
        problem
        for field in ("attempt", "max_attempts")
        if field in data
        for problem in check.whole_number_problems(
            where + field, data[field], 1, check.MAX_ATTEMPTS
        )
    ]
    yield from problems
    if not problems and data.get("attempt", 1) > data.get("max_attempts", check.MAX_ATTEMPTS):
        fix = f"give at most max_attempts, {data['max_attempts']}"
        yield Problem(where + "attempt", check.shown(data["attempt"]), fix)


def _other_fields(data: Mapping[Any, Any], where: str, encoded: list[object]) -> Iterator[Problem]:
    for field, value in data.items():
        if problem := _key_problem(field):
            yield Problem(f"{where}[{check.shown(field)}]", *problem)
        elif field in RESERVED_FIELDS:
            fix = "leave it out, or put it under metadata: MeshHook writes that field itself"
            yield Problem(where + field, "reserved", fix)
        elif field == "metadata" and not isinstance(value, dict):
            yield _no_dict(where + field, value)
        elif field not in ID_FIELDS:
            yield from not_json(where + field, value, encoded)


def _no_dict(field: str, value: object) -> Problem:
    how = encoding.advice(value)
    fix = f"give a dict: {how}" if how in encoding.MAKES_A_DICT else "give a dict"
    return Problem(field, check.shown(value), fix)


def not_json(path: str, value: object, encoded: list[object]) -> Iterator[Problem]:
    """Find everything in a value that a JSON column of Postgres cannot hold.

    *path* is the name of the value; *encoded* receives the parts that have to be encoded.
    """
    # An explicit stack: recursion would fail on a deep value. Each entry has the chain of
    # containers around the value, to find cycles.
    stack: list[tuple[str, object, tuple[int, ...]]] = [(path, value, ())]
    seen = 0
    while stack:
        place, part, around = stack.pop()
        seen += 1
        if seen > MAX_VALUES:
            # A shared value counts each time: that is how often it would be sent.
            yield Problem(path, f"more than {MAX_VALUES} values", "split it, or store it elsewhere")
            return
        if isinstance(part, dict | list | tuple):
            problem = _container_problem(part, around)
            if problem is None:
                yield from _key_problems(place, part)
                stack += _children(place, part, (*around, id(part)))
        else:
            problem = _scalar_problem(part, encoded)
        if problem is not None:
            yield Problem(place, *problem)


def _container_problem(part: object, around: tuple[int, ...]) -> tuple[str, str] | None:
    if id(part) in around:
        return "a value that contains itself", "break the cycle"
    if len(around) >= MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep", "flatten it"
    return None


def _key_problems(place: str, part: object) -> Iterator[Problem]:
    if isinstance(part, dict):
        for key in part:
            if problem := _key_problem(key):
                yield Problem(f"{place}[{check.shown(key)}]", *problem)


def _key_problem(key: object) -> tuple[str, str] | None:
    if isinstance(key, str):
        return check.text_problem(key)
    return f"under a key of type {type(key).__name__}", "use text as keys"


def _children(
    place: str, part: dict[Any, Any] | list[Any] | tuple[Any, ...], around: tuple[int, ...]
) -> Iterator[tuple[str, object, tuple[int, ...]]]:
    if isinstance(part, dict):
        for key, value in part.items():
            name = f".{key}" if isinstance(key, str) else f"[{check.shown(key)}]"
            yield place + name, value, around
    else:
        for position, value in enumerate(part):
            yield f"{place}[{position}]", value, around


def _scalar_problem(part: object, encoded: list[object]) -> tuple[str, str] | None:
    if part is None or isinstance(part, bool):
        return None
    if isinstance(part, str):
        return check.text_problem(part)
    if isinstance(part, int):
        return _integer_problem(part)
    if isinstance(part, float):
        return None if math.isfinite(part) else (check.shown(part), encoding.NO_NUMBER)
    if isinstance(part, bytes | bytearray | memoryview):
        return "bytes", "send text, such as base64.b64encode(value).decode()"
    encoded.append(part)
    return _encoded_problem(part)


def _encoded_problem(part: object) -> tuple[str, str] | None:
    try:
        sent = encoding.encoded(part)
    except encoding.NotEncodableError as error:
        return error.what, error.fix
    return _scalar_problem(sent, [])


def _integer_problem(part: int) -> tuple[str, str] | None:
    if part.bit_length() > MAX_INTEGER_BITS:
        return f"a whole number of {part.bit_length()} bits", "send it as text"
    return None
