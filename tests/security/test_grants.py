"""Grants, with any SQL that a role likes: what holds it, who gets one, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from tests.security.catalogue import executable
from tests.security.conftest import PRODUCER, WORKER

pytestmark = pytest.mark.usefixtures("payments")


@pytest.fixture
def acting(undone: psycopg.Connection) -> Callable[[str, str], str | None]:
    """Call a function as a role that logged in, and return the code of the error that came."""

    def act(role: str, statement: str) -> str | None:
        try:
            with undone.transaction():
                undone.execute(f"set local session authorization {role}".encode())
                undone.execute(statement.encode())
                undone.execute("reset session authorization")
        except psycopg.Error as error:
            said = error.diag.message_primary or ""
            return "MH004" if '"MH004"' in said else error.sqlstate
        return None

    return act


CLAIM = "select public.meshhook_dequeue('{}')"
SEND = "select public.meshhook_enqueue('{}', '[{{}}]')"


def test_a_member_is_held_to_the_same_queue(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute(f"create role app login; grant {WORKER} to app".encode())

    assert acting("app", CLAIM.format("orders")) is None
    assert acting("app", CLAIM.format("payments")) == "MH004"
    assert acting("app", f"set role {WORKER}; {CLAIM.format('payments')}") == "MH004"


def test_a_role_that_works_sees_how_long_its_queue_is_and_no_other(
    acting: Callable[[str, str], str | None],
) -> None:
    look = "select public.meshhook_queue_metrics('{}')"

    assert acting(WORKER, look.format("orders")) is None
    assert acting(WORKER, look.format("payments")) == "MH004"
    assert acting(WORKER, look.format("orders_dlq")) == "MH004"
    assert acting(WORKER, look.format("no_such_queue")) == "MH001"
    assert acting(PRODUCER, look.format("orders")) == "42501"


def test_a_member_of_both_kinds_of_roles_may_do_neither(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute("select meshhook.revoke_grants('orders_producer')")
    undone.execute("select meshhook.grant_enqueue('orders_producer', 'payments')")
    undone.execute(f"create role app login; grant {WORKER}, {PRODUCER} to app".encode())

    for queue in ("orders", "payments"):
        assert acting("app", CLAIM.format(queue)) == "MH004"
        assert acting("app", SEND.format(queue)) == "MH004"


def test_an_execute_right_alone_reaches_no_queue(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute(
        "create role handmade;"
        "grant execute on function"
        " public.meshhook_dequeue, public.meshhook_enqueue to handmade"
    )

    assert acting("handmade", CLAIM.format("orders")) == "MH004"
    assert acting("handmade", SEND.format("orders")) == "MH004"


def test_a_role_that_is_renamed_is_not_let_loose(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute(f"alter role {WORKER} rename to renamed".encode())

    assert acting("renamed", CLAIM.format("orders")) == "MH004"
    assert acting("renamed", CLAIM.format("payments")) == "MH004"


@pytest.mark.parametrize("role", ["service_role", "postgres", "supabase_admin"])
def test_whoever_administers_reaches_every_queue(
    acting: Callable[[str, str], str | None], role: str
) -> None:
    assert acting(role, CLAIM.format("payments")) is None
    assert acting(role, SEND.format("payments")) is None


def test_a_second_queue_can_be_granted(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute(f"select meshhook.grant_work('{WORKER}', 'payments')".encode())

    assert acting(WORKER, CLAIM.format("orders")) is None
    assert acting(WORKER, CLAIM.format("payments")) is None
    assert acting(WORKER, CLAIM.format("workflow_jobs")) == "MH004"


@pytest.mark.parametrize(
    "escape",
    [
        "set role service_role",
        "set role postgres",
        "set local role none",
        "select set_config('role', 'service_role', true)",
        "select set_config('role', 'none', true)",
        "set session authorization postgres",
        "reset role",
        "reset session authorization",
        "set local search_path = pg_temp, public",
        "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true)",
        "alter role current_user set role = 'service_role'",
        f"grant service_role to {WORKER}",
        "insert into meshhook.grants values ('orders_worker', 1, 'work')",
        "delete from meshhook.grants where true",
        "select meshhook.grant_work('orders_worker', 'payments')",
        "select meshhook.revoke_grants('orders_worker')",
    ],
)
def test_a_role_cannot_talk_itself_out_of_its_limit(
    undone: psycopg.Connection, escape: str
) -> None:
    """Over a connection of its own, with any SQL it likes."""
    undone.execute(f"set local session authorization {WORKER}".encode())
    try:
        with undone.transaction():
            undone.execute(escape.encode())
    except psycopg.Error as error:
        assert error.sqlstate in {"42501", "22023", "42704"}  # noqa: PT017 - either end is fine
    if "session authorization" in escape or escape == "reset role":
        # The superuser that the test logged in as may do that; the role itself may not.
        undone.execute(f"set local session authorization {WORKER}".encode())

    with pytest.raises(psycopg.Error) as caught:
        undone.execute(CLAIM.format("payments").encode())

    assert "MH004" in (caught.value.diag.message_primary or "")


def test_who_dropped_and_made_a_queue_anew_has_to_grant_it_anew(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute("select public.meshhook_drop_queue('orders')")
    undone.execute("select public.meshhook_create_queue('orders')")

    assert acting(WORKER, CLAIM.format("orders")) == "MH004"


def test_a_role_that_was_taken_back_may_do_nothing_and_can_be_dropped(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    undone.execute("create role passing noinherit")
    undone.execute("select meshhook.grant_work('passing', 'orders')")
    assert acting("passing", CLAIM.format("orders")) is None

    assert undone.execute("select meshhook.revoke_grants('passing')").fetchone() == (1,)

    assert acting("passing", CLAIM.format("orders")) == "42501"
    undone.execute("drop role passing")
    assert undone.execute("select meshhook.revoke_grants('passing')").fetchone() == (0,)


def test_taking_grants_back_leaves_other_roles_their_rights(undone: psycopg.Connection) -> None:
    before = executable(undone, "service_role")

    undone.execute("select meshhook.revoke_grants('service_role')")

    assert executable(undone, "service_role") == before


@pytest.mark.parametrize("function", ["grant_enqueue", "grant_work"])
@pytest.mark.parametrize(
    "role",
    [
        *("anon", "authenticated", "authenticator", "service_role", "postgres", "supabase_admin"),
        *("absent", "public", "", "strong", "deputy", "bypasser", 'no" such'),
    ],
)
def test_roles_of_supabase_and_administrators_get_no_grants(
    undone: psycopg.Connection, function: str, role: str
) -> None:
    undone.execute("create role strong superuser; create role bypasser bypassrls")
    undone.execute("create role deputy; grant service_role to deputy")
    undone.execute("set local role postgres")

    with pytest.raises(psycopg.Error) as caught:
        undone.execute(
            sql.SQL("select meshhook.{}(%s, 'orders')").format(sql.Identifier(function)), [role]
        )

    assert caught.value.sqlstate == "MH002"
    assert caught.value.diag.message_primary is not None
    assert caught.value.diag.message_primary.startswith("role_name")


@pytest.mark.parametrize(
    ("role", "function"), [(PRODUCER, "grant_work"), (WORKER, "grant_enqueue")]
)
def test_a_role_has_grants_of_one_verb(
    undone: psycopg.Connection, role: str, function: str
) -> None:
    with pytest.raises(psycopg.Error, match="grants of the other verb") as caught:
        undone.execute(f"select meshhook.{function}('{role}', 'payments')".encode())

    assert caught.value.sqlstate == "MH002"


def test_a_function_of_the_owners_may_enqueue_for_whom_it_likes(
    undone: psycopg.Connection, acting: Callable[[str, str], str | None]
) -> None:
    """A trigger that enqueues is such a function; its caller has no right to MeshHook."""
    undone.execute(
        "set local role postgres;"
        "create function public.place_order() returns void language sql security definer"
        " set search_path = '' as"
        """ $$ select public.meshhook_enqueue('payments', '[{"by": "trigger"}]') $$;"""
        "reset role"
    )

    assert acting("fresh", "select public.place_order()") is None
    # What a role is held to goes before what a function would let it do.
    assert acting(WORKER, "select public.place_order()") == "MH004"
