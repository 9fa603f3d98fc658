"""Reading what is about all queues at once, which has no method in the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from meshhook._calls import queues
from meshhook._calls.base import Call
from meshhook._http import answers
from meshhook._http.transport import SyncTransport, _no_answer, role_of

if TYPE_CHECKING:
    from supabase import Client

    from meshhook import RepeatPolicy
    from meshhook.models import WorkerInfo


PAGE = 100
"""A project's API may cut an answer at so many rows (its setting "Max rows"); not at fewer."""


def read(client: Client, view: str) -> list[dict[str, Any]]:
    """Read all rows of a view, also where the API gives no more than a part at once.

    Args:
        client: A client of the project.
        view: Its name in the schema public, with a column ``queue_name``.

    Returns:
        The rows.

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
    request = client.postgrest.session.build_request(
        "GET", str(wanted.path), params=wanted.params, headers=wanted.headers
    )
    try:
        response = client.postgrest.session.send(request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(view, error) from error
    answer = answers.Answer(response.status_code, response.headers, response.content)
    if not response.is_success:
        raise answers.failure(view, answer, role_of(request))
    rows: list[dict[str, Any]] = answers.data(view, answer)
    return rows


def ask(client: Client, function: str, policy: RepeatPolicy) -> object:
    """Call a function without arguments.

    Args:
        client: A client of the project.
        function: The function.
        policy: When to repeat the call.

    Returns:
        Its answer, which may be any JSON: the function may have been replaced.

    Raises:
        RequestError: The request failed.
    """
    return SyncTransport(client, policy).call(Call(function, {}, lambda answer: answer))


def workers(client: Client, policy: RepeatPolicy | None = None) -> list[WorkerInfo]:
    """List the workers of all queues.

    Args:
        client: A client of the project.
        policy: When to repeat the call; as every call if None.

    Returns:
        The workers that were seen within a day.

    Raises:
        RequestError: The request failed.
    """
    of_one = queues.workers("")
    return SyncTransport(client, policy).call(Call(of_one.function, {}, of_one.decode))
