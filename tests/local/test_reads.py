"""Reads of tables and views beyond what was recorded."""

from __future__ import annotations

import httpx
import pytest

ALL = [1, 2, 3, 4]


def ids(client: httpx.Client, query: str) -> list[int]:
    answer = client.get(f"/notes?select=id&{query}")
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("id=eq.2", [2]),
        ("id=neq.2", [1, 3, 4]),
        ("id=gt.2", [3, 4]),
        ("id=gte.2", [2, 3, 4]),
        ("id=lt.2", [1]),
        ("id=lte.2", [1, 2]),
        ("id=gt.1&id=lt.4", [2, 3]),
        ("id=not.eq.2", [1, 3, 4]),
        ("title=like.a*", [1]),
        ("title=ilike.a*", [1, 4]),
        ("title=not.ilike.a*", [2]),
        ("title=is.null", [3]),
        ("title=is.not_null", [1, 2, 4]),
        ("title=not.is.null", [1, 2, 4]),
        ("id=in.(1,3)", [1, 3]),
        ("id=in.()", []),
        ("id=not.in.(1,3)", [2, 4]),
        ('title=in.("beta, \\"quoted\\"",alpha)', [1, 2]),
        ('title=in.("A*b\\\\c")', [4]),
        ('"odd name"=eq.y', [2]),
        ("odd name=eq.y", [2]),
        ("title=eq.", []),
    ],
)
def test_filters(service: httpx.Client, condition: str, expected: list[int]) -> None:
    assert ids(service, f"order=id&{condition}") == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("id.desc", [4, 3, 2, 1]),
        ("parent.asc.nullsfirst,id.desc", [1, 3, 2, 4]),
        ("parent.nullslast,id", [2, 3, 4, 1]),
        ("title.desc.nullslast", [2, 1, 4, 3]),
    ],
)
def test_orders(service: httpx.Client, order: str, expected: list[int]) -> None:
    assert ids(service, f"order={order}") == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("id=2", '"failed to parse filter (2)" (line 1, column 1)'),
        ("id=near.2", '"failed to parse filter (near.2)" (line 1, column 6)'),
        ("id=eq(any).{1}", '"failed to parse filter (eq(any).{1})" (line 1, column 9)'),
        ("id=in.1", '"failed to parse filter (in.1)" (line 1, column 4)'),
        ("id=in.(1", '"failed to parse filter (in.(1)" (line 1, column 5)'),
        ("id=is.five", '"failed to parse filter (is.five)" (line 1, column 4)'),
        ("title=fts.a", '"failed to parse filter (fts.a)" (line 1, column 5)'),
        ("or=(id.eq.1,id.eq.2)", '"failed to parse tree path (or)" (line 1, column 1)'),
        ("a.id=eq.1", '"failed to parse tree path (a.id)" (line 1, column 1)'),
        ("doc->a=eq.1", '"failed to parse tree path (doc->a)" (line 1, column 1)'),
        ("columns=id", '"failed to parse tree path (columns)" (line 1, column 1)'),
        (
            "select=id,other(id)",
            '"failed to parse select parameter (id,other(id))" (line 1, column 4)',
        ),
        ("select=id::text", '"failed to parse select parameter (id::text)" (line 1, column 1)'),
        ("select=a:id", '"failed to parse select parameter (a:id)" (line 1, column 1)'),
        ("select=id,", '"failed to parse select parameter (id,)" (line 1, column 4)'),
        ("select=", '"failed to parse select parameter ()" (line 1, column 1)'),
        ("select=count()", '"failed to parse select parameter (count())" (line 1, column 1)'),
        ("order=id.up", '"failed to parse order (id.up)" (line 1, column 1)'),
        ("order=other(id)", '"failed to parse order (other(id))" (line 1, column 1)'),
    ],
)
def test_what_is_not_understood_is_refused(service: httpx.Client, query: str, message: str) -> None:
    answer = service.get(f"/notes?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST100")
    assert answer.json()["message"] == message


def test_a_query_string_that_is_no_text_is_refused(service: httpx.Client) -> None:
    answer = service.get("/notes?title=eq.%ff")

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST100")


def test_names_and_values_cannot_break_out_of_their_place(service: httpx.Client) -> None:
    name = service.get("/notes", params={'id" = 1 or "id': "eq.1"})
    value = service.get("/notes", params={"title": "eq.' or 1=1 --"})
    quoted = service.get("/notes", params={'"id\\" is not null or \\"id"': "eq.1"})

    zero = service.get("/notes", params={'"id\0"': "eq.1"})

    assert name.json()["code"] == "PGRST100"
    assert zero.json()["code"] == "PGRST100"
    assert value.json() == []
    assert quoted.json()["code"] == "42703"


@pytest.mark.parametrize(
    ("query", "headers", "status", "content_range", "rows"),
    [
        ("limit=0", {}, 200, "*/*", 0),
        ("limit=2", {}, 200, "0-1/*", 2),
        ("limit=1&limit=2", {}, 200, "0-0/*", 1),
        ("limit=x&offset=-1", {}, 200, "0-3/*", 4),
        ("offset=3", {}, 200, "3-3/*", 1),
        ("limit=2", {"prefer": "count=exact"}, 206, "0-1/4", 2),
        ("limit=9", {"prefer": "count=exact"}, 200, "0-3/4", 4),
        ("id=gt.9", {"prefer": "count=exact"}, 200, "*/0", 0),
        ("", {"range": "1-2"}, 200, "1-2/*", 2),
        ("", {"range": "2-"}, 200, "2-3/*", 2),
        ("limit=1", {"range": "1-3"}, 200, "*/*", 0),
    ],
)
def test_ranges(
    service: httpx.Client,
    query: str,
    headers: dict[str, str],
    status: int,
    content_range: str,
    rows: int,
) -> None:
    answer = service.get(f"/notes?{query}", headers=headers)

    assert (answer.status_code, answer.headers["content-range"]) == (status, content_range)
    assert len(answer.json()) == rows


@pytest.mark.parametrize(
    ("query", "headers", "details"),
    [
        ("limit=-1", {}, "Limit should be greater than or equal to zero."),
        (
            "",
            {"range": "3-1"},
            (
                "The lower boundary must be lower than or equal to the upper boundary in the Range"
                " header."
            ),
        ),
        (
            "offset=9",
            {"prefer": "count=exact"},
            "An offset of 9 was requested, but there are only 4 rows.",
        ),
    ],
)
def test_ranges_that_there_are_not(
    service: httpx.Client, query: str, headers: dict[str, str], details: str
) -> None:
    answer = service.get(f"/notes?{query}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (416, "PGRST103")
    assert answer.json()["details"] == details


def test_a_view_gives_no_more_rows_than_allowed(service: httpx.Client, narrow_gateway: str) -> None:
    with httpx.Client(base_url=narrow_gateway, headers=service.headers) as narrow:
        more = narrow.get("/rpc/many", params={"n": 9, "limit": 8})
        fewer = narrow.get("/rpc/many", params={"n": 9, "limit": 3})

    assert (len(more.json()), len(fewer.json())) == (5, 3)


def test_head_tells_the_range_without_the_rows(service: httpx.Client) -> None:
    answer = service.head("/notes", headers={"prefer": "count=exact"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-range"] == "0-3/4"


def test_the_location_shows_the_query_in_order(service: httpx.Client) -> None:
    answer = service.get("/notes?title=eq.a b&id=in.(1,2)&apikey=ignored")

    assert answer.headers["content-location"] == "/notes?id=in.%281%2C2%29&title=eq.a%20b"


def test_a_misspelt_table_is_guessed(service: httpx.Client) -> None:
    near = service.get("/note")
    far = service.get("/tables")

    assert near.json()["hint"] == "Perhaps you meant the table 'public.notes'"
    assert far.json()["hint"] is None


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT"])
def test_a_write_that_the_role_may_not_is_refused_by_postgres_words(
    client: httpx.Client, method: str
) -> None:
    answer = client.request(method, "/notes?id=eq.1")

    assert (answer.status_code, answer.json()["code"]) == (401, "42501")
    assert answer.json()["message"] == "permission denied for table notes"


def test_a_write_that_the_role_may_is_not_implemented(service: httpx.Client) -> None:
    answer = service.post("/notes", json={"id": 9})

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST127")


def test_an_unknown_profile_of_a_read_is_refused(service: httpx.Client) -> None:
    answer = service.get("/notes", headers={"accept-profile": "private"})

    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST106")


def test_options_tell_the_methods(service: httpx.Client) -> None:
    assert service.options("/notes").headers["allow"] == "OPTIONS,GET,HEAD"
