"""Reading a view of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshhook._http import answers, failures
from meshhook._http.transport import role_of

if TYPE_CHECKING:
    from supabase import Client

PAGE = 100
"""How many rows are read at once. A project's API may cut an answer (its setting "Max rows"), but
hardly at fewer."""


def read(client: Client, view: str) -> list[dict[str, Any]]:
    """Read all rows of a view that has a column ``queue_name``, page by page.

    Raises:
        RequestError: The request failed.
    """
    rows: list[dict[str, Any]] = []
    while page := _page(client, view, len(rows)):
        rows += page
        if len(page) < PAGE:
            break
    return rows


def _page(client: Client, view: str, offset: int) -> list[dict[str, Any]]:
    wanted = client.postgrest.from_(view).select("*").order("queue_name").offset(offset).request
    with failures.translated(view, client):
        request = client.postgrest.session.build_request(
            "GET", str(wanted.path), params=wanted.params, headers=wanted.headers
        )
        response = client.postgrest.session.send(request)
    answer = answers.Answer(response.status_code, response.headers, response.content)
    if not response.is_success:
        raise answers.failure(view, answer, role_of(request))
    rows: list[dict[str, Any]] = answers.data(view, answer)
    return rows
