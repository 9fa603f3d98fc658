"""Rules that the SQL's own text keeps, and those that Supabase's safeupdate would hold it to."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from sql.generate import FOLDER
from tests.sql import trees
from tests.sql.client import Api, JobQueue, outcome
from tests.sql.databases import Database

# The parts of a statement that end it or change its depth.
_PART = re.compile(
    r"[();]|\$(?:\w*)\$|\bwhere\b|\bdelete\s+from\b|\bupdate\s+(?!set\b)(?=[\w.%]+)", re.IGNORECASE
)
_COMMENT = re.compile(r"--[^\n]*")
_NO_COMMAND = re.compile(
    r"(?:for(?:\s+no\s+key)?|\bdo|on|before|after|or|grant|,)\s*$", re.IGNORECASE
)


def commands(source: str) -> list[tuple[str, bool]]:
    """Return the beginnings of all UPDATE and DELETE commands, and whether each has a WHERE."""
    text = _COMMENT.sub("", source)
    parts = list(_PART.finditer(text))
    return [
        (" ".join(text[part.start() :].split())[:60], _has_where(parts[position + 1 :]))
        for position, part in enumerate(parts)
        if re.match("update|delete", part[0], re.IGNORECASE)
        and not _NO_COMMAND.search(text[: part.start()])
    ]


def statements_without_where(source: str) -> list[str]:
    """Return the beginnings of all UPDATE and DELETE commands that have no WHERE of their own."""
    return [command for command, has_where in commands(source) if not has_where]


def _has_where(parts: list[re.Match[str]]) -> bool:
    depth = 0
    for part in parts:
        word = part[0].lower()
        if depth == 0 and word == "where":
            return True
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0 or (depth == 0 and (word == ";" or word.startswith("$"))):
            return False
    return False


def sources() -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(FOLDER.glob("*.sql"))}


@pytest.mark.parametrize(
    "careless",
    [
        "delete from t;",
        "update t set a = (select b from u where true);",
        "with gone as (delete from t returning 1) select from gone where true;",
        "execute $sql$ delete from pgmq.%I $sql$; select where true;",
        "execute 'delete from t'; perform 1 where true;",
    ],
)
def test_the_search_for_a_missing_where_finds_one(careless: str) -> None:
    assert len(statements_without_where(careless)) == 1


@pytest.mark.parametrize(
    "careful",
    [
        "delete from t where true;",
        "update t set a = (select b from u) where c;",
        "with gone as (delete from t using (select 1) u where t.a = u.a) select 1;",
        "select 1 for update; select 1 for update skip locked; -- delete from t",
        "insert into t values (1) on conflict (a) do update set a = 1;",
    ],
)
def test_the_search_for_a_missing_where_finds_none(careful: str) -> None:
    assert statements_without_where(careful) == []


def test_no_update_and_no_delete_lacks_a_where() -> None:
    found = [
        (name, statement)
        for name, source in sources().items()
        for statement in statements_without_where(source)
    ]

    assert found == []
    assert sum(len(commands(source)) for source in sources().values()) > 15


def test_no_error_of_ours_is_one_that_postgrest_repeats_for_ever() -> None:
    assert [name for name, source in sources().items() if re.search(r"'40\w{3}'", source)] == []
    codes = {
        code for source in sources().values() for code in re.findall(r"errcode = '(\w+)'", source)
    }

    # Under PGRST, PostgREST takes status and code (MH004, MH005) from the error itself; 55P03, of a
    # call whose key a batch has taken meanwhile, is one that the SDK repeats.
    assert codes == {"MH001", "MH002", "MH003", "PGRST", "55P03"}


def test_nothing_of_pgmq_is_called_that_1_4_4_lacks() -> None:
    """Its tables are written to directly; of its functions these are in every version."""
    called = {
        function
        for source in sources().values()
        for function in re.findall(r"\bpgmq\.([a-z_]+)\s*\(", _COMMENT.sub("", source))
    }
    columns = re.compile(r"\b(?:last_read_at|queue_visible_length|message_record|list_queues)\b")

    assert called == {"create", "archive", "drop_queue"}
    assert [name for name, source in sources().items() if columns.search(source)] == []


def test_a_version_of_pgmq_is_never_asked_for() -> None:
    creates = [
        s for source in sources().values() for s in re.findall(r"create extension.*", source)
    ]

    assert creates
    assert not [statement for statement in creates if "version" in statement]


def test_every_file_is_lower_case_and_ends_with_a_line() -> None:
    upper = re.compile(
        r"^\s*(?:SELECT|CREATE|INSERT|UPDATE|DELETE|BEGIN|END|GRANT)\b", re.MULTILINE
    )
    for name, source in sources().items():
        assert not upper.search(source), name
        assert source.endswith("\n"), name
        assert source.startswith("-- "), name


@pytest.fixture(scope="module")
def fresh_connection(database: Database) -> Iterator[psycopg.Connection]:
    """A connection in which nothing has been planned yet."""
    with database.admin() as connection:
        yield connection


def test_the_watch_for_careless_statements_sees_into_functions(
    fresh_connection: psycopg.Connection,
) -> None:
    connection = fresh_connection
    connection.execute("create temp table t as select 1 as a")
    connection.execute(
        "create function pg_temp.careless() returns void language plpgsql as"
        " $$ begin execute 'with u as (update t set a = 2 returning a) select from u'; end $$"
    )

    with trees.recorded(connection, "debug_print_parse") as queries:
        connection.execute("delete from t")
        connection.execute("delete from t where a = 1")
        connection.execute("select pg_temp.careless()")

    assert [c for query in queries for c in trees.careless(query)] == ["delete", "update"]


def test_safeupdate_would_let_every_function_through(fresh_connection: psycopg.Connection) -> None:
    """Supabase loads it for the API. It looks at the statements that functions run, too."""
    api = Api(fresh_connection)
    with trees.recorded(fresh_connection, "debug_print_parse") as queries:
        call_everything(api)

    functions = fresh_connection.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and proname like 'meshhook%'"
    ).fetchall()
    assert {name for (name,) in functions} == set(api.calls)
    assert [command for query in queries for command in trees.careless(query)] == []
    assert len(queries) > 200


def call_everything(api: Api) -> None:  # noqa: PLR0915 - as many calls as there are functions
    """Call every function, most of them along each of their ways."""
    queue = JobQueue(api, "everything")
    queue.create()
    queue.create(max_attempts=3)
    queue.send(*[{"run_id": "r", "max_attempts": 2}] * 20, request_id="r")
    queue.send(request_id="r")
    jobs = queue.claim(10, request_id="r")
    queue.claim(10, request_id="r")
    kinds = ("complete", "archive", "retry", "release", "dead_letter")
    queue.settle([outcome(kind, job) for kind, job in zip(kinds, jobs, strict=False)])
    for _ in range(2):
        queue.settle_and_dequeue([outcome("complete", jobs[9])], 1, request_id="s")
    queue.extend(*jobs, vt_seconds=0, worker={"worker_id": "w", "queue_names": ["everything"]})
    api.call("meshhook_list_workers")
    queue.pause()
    queue.claim(1)
    queue.resume()
    queue.configure(retention_days=1)
    queue.prune()
    queue.list_jobs()
    queue.list_jobs(state="completed")
    queue.cancel(1000)
    queue.acknowledge(jobs[5])
    queue.archive(jobs[6])
    queue.retry(jobs[7])
    queue.release(jobs[8])
    queue.dead_letter(jobs[9])
    queue.claim(1000, vt_seconds=0)
    queue.claim(1000, vt_seconds=0)
    queue.claim(1000, vt_seconds=0)
    letters = [letter["msg_id"] for letter in queue.dlq.letters()]
    queue.dlq.get(letters[0])
    queue.dlq.group()
    queue.dlq.metrics()
    queue.dlq.replay(*letters[:-1])
    queue.delete(queue.rows()[0]["msg_id"])
    queue.get_job(1)
    queue.find_jobs("r")
    queue.metrics()
    queue.prune(0)
    queue.dlq.as_queue.purge()
    queue.purge()
    api.call("meshhook_list_queues")
    api.call("meshhook_version")
    api.call("meshhook_doctor")
    api.call("meshhook_count_dead_letters", dlq_name=queue.dlq.name)
    api.call("meshhook_allow_user_enqueue", queue_name=queue.name)
    user = '{"sub": "0a11ce00-0000-4000-8000-000000000001"}'
    api.value("select set_config('request.jwt.claims', %s, false)", user)
    for _ in range(2):
        api.call("meshhook_user_enqueue", queue_name=queue.name, message={}, request_id="u")
    api.call("meshhook_disallow_user_enqueue", queue_name=queue.name)
    queue.drop(drop_dlq=True)
