"""The doctor survives every answer of a database, and reports what is strange about it."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshhook._calls.base import Call
from meshhook._http import answers
from meshhook.cli import output
from meshhook.cli.doctor import backlog, database
from meshhook.cli.doctor.diagnosis import diagnose
from meshhook.cli.doctor.expected import Expected
from meshhook.cli.doctor.facts import decode
from meshhook.cli.doctor.failures import failure
from meshhook.cli.doctor.findings import REPAIR, Finding
from meshhook.cli.doctor.settings import examine_key, examine_url
from tests.properties.profiles import thorough

NOW = datetime(2027, 1, 1, tzinfo=UTC)
EXPECTED = Expected(functions={"public.f": "1"}, relations=frozenset({"meshhook.t"}))


def table() -> dict[str, Any]:
    return {
        "rows": 3,
        "bytes": 8192,
        "live_tuples": 3,
        "dead_tuples": 0,
        "unlogged": False,
        "partitioned": False,
        "owner": "postgres",
        "missing_rights": [],
        "indexed": ["msg_id", "vt", "archived_at"],
        "broken_indexes": [],
        "triggers": [],
    }


def facts(**queue: Any) -> dict[str, Any]:
    """Return the facts of a project that is well and has one queue."""
    return {
        "now": NOW.isoformat(),
        "role": "postgres",
        "has_schema": True,
        "has_pgmq": True,
        "pgmq_version": "1.5.1",
        "postgres_version": "17.4",
        "schema_version": 1,
        "statement_timeout_ms": 8000,
        "functions": {"public.f": "1"},
        "relations": ["meshhook.t"],
        "open_doors": [],
        "lost_rights": [],
        "history": table(),
        "oldest_history": {"queue_name": "orders", "seconds": 60},
        "prunes": 0,
        "failed": {},
        "queues": [
            {
                "queue_name": "orders",
                "settings": {
                    "dlq_name": "orders_dlq",
                    "has_dead_letters": True,
                    "paused_at": None,
                    "retention_days": None,
                },
                "is_dlq": False,
                "has_dlq": True,
                "finished_jobs": None,
                "visible_jobs": 1,
                "invisible_jobs": 0,
                "overdue_seconds": 0,
                "lapsed_jobs": 0,
                "oldest_archived_seconds": None,
                "table": table(),
                "archive": table(),
                **queue,
            }
        ],
    }


def look(answer: Any, served: set[str] | None = frozenset({"orders"})) -> list[Finding]:  # type: ignore[assignment]
    """Return all that is found in an answer, shown as it would be."""
    decoded = decode(answer)
    found = [*diagnose(decoded, EXPECTED, served, ["orders"])]
    found += backlog.growth(decoded, decoded, 2.0)
    if clock := database.clock(decoded, NOW, 0.1):
        found.append(clock)
    output.plain(found)
    return [one for one in found if one.status != "ok" and output.printable(one.message)]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each part of a value."""
    inside: list[tuple[Any, ...]] = []
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            inside += places(part, (*path, key))
    return [path, *inside] if path else inside


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-23:00", "2027-01-01", ""])
)
names = st.sampled_from([*facts(), *facts()["queues"][0], *table(), "code", "message", "name"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=8),
    max_leaves=20,
)


def test_facts_of_a_project_that_is_well() -> None:
    assert look(facts()) == []


@thorough(100)
@given(answer=values)
def test_any_answer_is_survived(answer: Any) -> None:
    look(answer)
    look(answer, None)


@thorough(100)
@given(data=st.data(), path=st.sampled_from(places(facts())), value=values)
def test_an_answer_of_which_one_part_is_another_is_survived(
    data: st.DataObject, path: tuple[Any, ...], value: Any
) -> None:
    answer = facts()
    part: Any = answer
    for key in path[:-1]:
        part = part[key]
    if data.draw(st.booleans()):
        part[path[-1]] = value
    else:
        del part[path[-1]]

    look(answer)


claims = st.dictionaries(st.sampled_from(["role", "exp", "ref", "iss"]), values)


@thorough(100)
@given(url=st.text(min_size=1), key=st.text(min_size=1))
@example(url="http://[", key="a.e30.b")
def test_any_url_and_any_key_are_survived(url: str, key: str) -> None:
    examine_url(url)
    examine_key(key, url, NOW)


@thorough(100)
@given(claims=claims, host=st.text(max_size=8))
@example(claims={"role": "service_role", "exp": -1e300}, host="")
@example(claims={"role": "service_role", "ref": ["a"]}, host="[")
def test_a_token_that_says_anything_is_survived(claims: dict[str, Any], host: str) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()

    examine_key(f"a.{payload}.b", f"https://{host}.supabase.co", NOW)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([], "the answer is a list, not an object"),
        (None, "the answer is null, not an object"),
        ({}, "failed is missing, relations is missing, history is missing and *"),
    ],
)
def test_an_answer_of_another_kind_is_one_finding(answer: Any, told: str) -> None:
    (found,) = look(answer)

    begin, _, _ = told.partition("*")
    assert found.check == "functions"
    assert found.fix == REPAIR
    assert found.message.startswith(
        f"meshhook_doctor does not answer as it should: {begin}".rstrip()
    )


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("visible_jobs", "many", "queues[0].visible_jobs is a text, not a number"),
        ("lapsed_jobs", -1, "queues[0].lapsed_jobs is out of range"),
        ("overdue_seconds", float("inf"), "queues[0].overdue_seconds is out of range"),
        ("is_dlq", None, "queues[0].is_dlq is null, not a boolean"),
        ("table", [], "queues[0].table is a list, not an object"),
    ],
)
def test_a_part_that_is_strange_is_told(name: str, value: Any, told: str) -> None:
    (found, *_) = look(facts(**{name: value}))

    assert found.message == f"meshhook_doctor does not answer as it should: {told}"


def test_what_comes_of_a_lack_of_workers_is_told_once() -> None:
    answer = facts(overdue_seconds=7200, lapsed_jobs=2, visible_jobs=5)

    (found,) = look(answer, set())

    assert (found.check, found.status) == ("workers orders", "problem")
    assert found.message == (
        "none is alive, and 5 jobs are due, the first since 2 h 0 m; 2 jobs were left unfinished"
        " by workers that are gone"
    )
    assert found.fix == "meshhook worker module:handler --queue orders"


def test_a_count_of_lapsed_jobs_among_the_first_due_ones_is_said_to_be_a_part() -> None:
    (found,) = look(facts(lapsed_jobs=1000, visible_jobs=1001))
    (whole,) = look(facts(lapsed_jobs=1000, visible_jobs=1000))

    assert found.message == "at least 1000 jobs were left unfinished by workers that are gone"
    assert (whole.check, whole.status) == ("stuck orders", "problem")
    assert whole.message == "1000 jobs were left unfinished by workers that are gone"


def test_a_backlog_of_workers_that_are_there_is_told_once() -> None:
    (found,) = look(facts(overdue_seconds=7200, lapsed_jobs=1, visible_jobs=5))

    assert (found.check, found.status) == ("backlog orders", "problem")
    assert found.message == (
        "5 jobs are due, the first since 2 h 0 m; 1 job was left unfinished by workers that are"
        " gone"
    )


@pytest.mark.parametrize(
    ("served", "fix"),
    [
        ({"orders"}, "more workers (--processes) or more --concurrency, or fewer jobs"),
        (set(), "meshhook worker module:handler --queue orders"),
    ],
)
def test_the_advice_for_a_backlog_that_grows(served: set[str], fix: str) -> None:
    before = decode(facts())
    after = decode(facts(visible_jobs=9))

    (found,) = backlog.growth(before, after, 2.0, served)

    assert found.fix == fix
    assert list(backlog.growth(before, after, 2.0, served, {"workers orders"})) == []


def test_a_backlog_that_grows_in_a_queue_that_is_paused_is_no_wonder() -> None:
    settings = {**facts()["queues"][0]["settings"], "paused_at": NOW.isoformat()}
    before = decode(facts(settings=settings))
    after = decode(facts(settings=settings, visible_jobs=9))

    assert list(backlog.growth(before, after, 2.0)) == []


def test_the_course_of_a_queue_that_is_not_meshhook_s_is_none_of_its_business() -> None:
    trigger = {"name": "t", "function": "f()"}
    answer = facts(
        queue_name="theirs",
        settings=None,
        overdue_seconds=10**6,
        lapsed_jobs=9,
        oldest_archived_seconds=10**8,
        table={**table(), "unlogged": True, "indexed": [], "triggers": [trigger]},
    )
    answer["queues"].append(facts()["queues"][0])

    assert look(answer) == []


def findings(**more: Any) -> dict[str, Finding]:
    """Return what is found, with other facts of the project, by what was looked at."""
    decoded = decode({**facts(), **more})
    return {one.check: one for one in diagnose(decoded, EXPECTED, [], [])}


@pytest.mark.parametrize(
    ("version", "status"),
    [("1.3.9", "problem"), ("1.4.4", "ok"), ("1.13.0", "ok"), (None, "ok")],
)
def test_an_old_pgmq_is_a_problem(version: str | None, status: str) -> None:
    assert findings(pgmq_version=version)["pgmq"].status == status


def test_pg_cron_may_prune() -> None:
    old = {"queue_name": "a", "seconds": 100 * 86_400}

    assert findings(oldest_history=old)["retention"].status == "warning"
    assert findings(oldest_history=old, prunes=1)["retention"].status == "ok"


@pytest.mark.parametrize(
    ("there", "status"),
    [
        ({"public.f": "1"}, "ok"),
        ({}, "problem"),
        ({"public.f": "2"}, "problem"),
        ({"public.f": "1", "b": "1"}, "warning"),
        ({"b": "1"}, "problem"),
        ({"public.f": "2", "b": "1"}, "problem"),
    ],
)
def test_functions_are_compared_by_their_text(there: dict[str, str], status: str) -> None:
    assert findings(functions=there)["functions"].status == status


@pytest.mark.parametrize(("answer_seconds", "status"), [(0.1, "warning"), (10.0, "ok")])
def test_a_slow_answer_is_not_taken_for_a_clock_that_is_off(
    answer_seconds: float, status: str
) -> None:
    found = database.clock(decode(facts()), NOW - timedelta(seconds=8), answer_seconds)

    assert found
    assert found.status == status


def test_advice_for_a_partitioned_table_can_be_followed() -> None:
    partitioned = {**table(), "partitioned": True, "indexed": []}

    (found,) = look(facts(table=copy.deepcopy(partitioned)))

    assert found.fix == 'create index on pgmq."q_orders" (vt)'


def test_the_part_that_the_database_could_not_read_is_told_with_its_cause() -> None:
    answer = facts()
    denied = {"code": "42501", "message": "permission denied for table meta"}
    answer["failed"] = {"queues": denied, "oldest_history": denied}
    del answer["queues"], answer["oldest_history"]

    (found,) = look(answer)

    assert found.message == (
        "queues, oldest_history cannot be read: permission denied for table meta (42501)"
    )
    assert found.fix == "give the role postgres that right, as the owner of what is named"


def refused(status: int, code: str, message: str, *, answering: str = "") -> Finding:
    """Return what is found where the call of the doctor has failed, and one other call answers."""
    body = json.dumps({"code": code, "message": message, "hint": None, "details": None})
    missing = json.dumps({"code": "PGRST202", "message": "no such function"})

    def ask(call: Call[Any]) -> Any:
        if call.function == answering:
            return {"schema_version": 1}
        raise answers.failure(call.function, answers.Answer(404, {}, missing.encode()))

    error = answers.failure("meshhook_doctor", answers.Answer(status, {}, body.encode()))
    return failure(error, ask, 10.0)


EITHER_GRANT = (
    "grant usage on schema public to service_role;"
    " grant execute on function public.meshhook_doctor() to service_role"
)


@pytest.mark.parametrize(
    ("status", "code", "message", "found", "fix"),
    [
        (
            *(406, "PGRST106", "Invalid schema: public"),
            "connection: the API does not expose the schema public",
            "add public to the exposed schemas (dashboard: Project Settings > Data API)",
        ),
        (
            *(400, "3F000", 'schema "meshhook" does not exist'),
            "functions: a part of what the migrations create is gone: *",
            REPAIR,
        ),
        (
            *(400, "P0001", "boom"),
            "connection: meshhook_doctor: boom (HTTP 400, P0001). *",
            "look at the database's logs (dashboard: Logs > Postgres)",
        ),
        (
            *(403, "42501", "keine Berechtigung"),
            "rights: service_role may not call meshhook_doctor: keine Berechtigung *",
            EITHER_GRANT,
        ),
    ],
)
def test_what_a_call_that_failed_says(
    status: int, code: str, message: str, found: str, fix: str
) -> None:
    finding = refused(status, code, message)

    begin, star, _ = found.partition("*")
    told = f"{finding.check}: {finding.message}"
    assert told.startswith(begin) if star else told == found
    assert finding.fix == fix
