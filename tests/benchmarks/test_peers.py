"""Which peers take part where they are measured."""

from __future__ import annotations

import psycopg

from benchmarks.peers import field, pgmq, pgqueuer
from benchmarks.target import Space, Target
from meshhook.local import LocalStack


def test_a_client_that_needs_a_newer_pgmq_is_left_out_with_the_reason(
    stack: LocalStack, admin: psycopg.Connection
) -> None:
    contenders = (pgqueuer.CONTENDER, pgmq.CONTENDER)
    space = Space(Target(stack.url, stack.secret_key, stack.database_url), admin)

    assert field(space, contenders).left_out == ()
    with admin.transaction(force_rollback=True):
        # As in 1.5.1, which hosted Supabase runs.
        admin.execute("alter type pgmq.message_record drop attribute last_read_at cascade")
        found = field(space, contenders)

    assert found.running == (pgqueuer.CONTENDER,)
    assert found.left_out == (
        "pgmq-py: left out, since it reads last_read_at, which this PGMQ does not have",
    )
