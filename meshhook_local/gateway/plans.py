"""What a request amounts to: one statement, the transaction around it, the answer's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from meshhook_local.gateway.query_string import ALL_ROWS, RowRange
from meshhook_local.gateway.request import OBJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.frozen(kw_only=True)
class Plan:
    """One statement and what is to be known to run it and to answer.

    Attributes:
        sql: The statement, see `statements`.
        arguments: Its parameters.
        is_read_only: Whether the transaction must not write.
        settings: Settings of the function that hold for the whole transaction.
        isolation: The isolation level that the function asks for, or None.
        media_type: The media type of the answer.
        is_void: Whether there is nothing to answer with.
        is_head: Whether the answer goes without its body.
        rows: The range that was asked for.
        headers: Headers of the answer that are known beforehand.
    """

    sql: str
    arguments: Sequence[Any]
    is_read_only: bool
    settings: Mapping[str, str] = attrs.Factory(dict)
    isolation: str | None = None
    media_type: str
    is_void: bool = False
    is_head: bool = False
    rows: RowRange = ALL_ROWS.rows
    headers: Mapping[str, str] = attrs.Factory(dict)

    @property
    def wants_one(self) -> bool:
        """Whether the answer must have exactly one row."""
        return self.media_type == OBJECT


@attrs.frozen
class Result:
    """The row that a plan's statement gives.

    Attributes:
        total: The number of all rows, or None if they were not counted.
        count: The number of rows in the answer.
        body: The body.
        headers: What the function left in `response.headers`, or None.
        status: What it left in `response.status`, or None.
    """

    total: int | None
    count: int
    body: bytes
    headers: bytes | None
    status: bytes | None
