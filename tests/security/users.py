"""End users as PostgREST passes them on, and what they are told when they are turned away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg
import pytest
from psycopg import sql

ALICE = "0a11ce00-0000-4000-8000-000000000001"
BOB = "0b0b0000-0000-4000-8000-000000000002"


class User:
    """A signed-in user, whose calls arrive as PostgREST passes them on.

    Args:
        connection: A superuser's.
        sub: The user's id.
        is_anonymous: Whether the user signed in without an identity.

    Attributes:
        claims: What the token says.
    """

    def __init__(
        self, connection: psycopg.Connection, sub: object = ALICE, *, is_anonymous: bool = False
    ) -> None:
        self.connection = connection
        self.claims: Any = {"role": "authenticated", "sub": sub, "is_anonymous": is_anonymous}

    def enqueue(self, queue_name: str, message: Any = None, **more: Any) -> dict[str, Any]:
        """Put a job into a queue."""
        body = json.dumps({"a": 1} if message is None else message)
        answer: dict[str, Any] = self.call(
            "meshhook_user_enqueue", queue_name=queue_name, message=sql.Literal(body), **more
        )
        return answer

    def call(self, function: str, /, **arguments: Any) -> Any:
        """Call any function."""
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(
                sql.Identifier(name),
                value if isinstance(value, sql.Literal) else sql.Literal(value),
            )
            for name, value in arguments.items()
        )
        statement = sql.SQL("select public.{}({})").format(sql.Identifier(function), named)
        with self.connection.transaction():
            self.connection.execute("set local role authenticated")
            self._claim(json.dumps(self.claims))
            row = self.connection.execute(statement).fetchone()
            self.connection.execute("reset role")
            self._claim("")
        assert row is not None
        return row[0]

    def _claim(self, claims: str) -> None:
        self.connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])


@attrs.define
class TurnedAway:
    """What somebody who was turned away was told.

    Attributes:
        code: MeshHook's code.
        status: The HTTP status that PostgREST gives it.
        message: What is wrong.
        hint: What to do about it.
        field: What it is about.
        value: What was given.
        headers: The headers of the answer.
    """

    code: str = ""
    status: int = 0
    message: str = ""
    hint: str = ""
    field: str = ""
    value: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict)


@contextmanager
def turned_away(code: str, status: int) -> Iterator[TurnedAway]:
    """Expect a call to be turned away, with an error that PostgREST understands."""
    said = TurnedAway()
    with pytest.raises(psycopg.Error) as caught:
        yield said
    diagnosis = caught.value.diag
    assert diagnosis.sqlstate == "PGRST", f"{diagnosis.sqlstate}: {diagnosis.message_primary}"
    body = json.loads(diagnosis.message_primary or "")
    answer = json.loads(diagnosis.message_detail or "")
    detail = json.loads(body["details"])
    said.code, said.message, said.hint = body["code"], body["message"], body["hint"]
    said.field, said.value = detail["field"], detail["value"]
    said.status, said.headers = answer["status"], answer["headers"]
    assert (said.code, said.status) == (code, status)
