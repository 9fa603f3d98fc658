"""Calls of functions beyond what was recorded: arguments, settings, answers, errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    import psycopg

    from meshhook.local import LocalStack

OBJECT = {"accept": "application/vnd.pgrst.object+json"}


def call(client: httpx.Client, function: str, /, **arguments: Any) -> httpx.Response:
    return client.post(f"/rpc/{function}", json=arguments)


def post(client: httpx.Client, name: str, body: bytes, media_type: str) -> httpx.Response:
    return client.post(f"/rpc/{name}", content=body, headers={"content-type": media_type})


# Arguments


def test_a_json_array_is_an_array(service: httpx.Client) -> None:
    assert call(service, "sum_of", numbers=[1, 2, 3]).json() == 6


def test_the_rest_of_the_arguments_is_an_array_of_its_own(service: httpx.Client) -> None:
    assert call(service, "joined", separator="-", words=["a", "b"]).json() == "a-b"


def test_a_parameter_without_a_name_takes_the_whole_body(service: httpx.Client) -> None:
    body = b'{"a": {"b": 12345678901234567890.123}, "c": [1]}'

    answer = post(service, "whole_body", body, "application/json")

    assert answer.content == body


def test_a_text_parameter_without_a_name_takes_a_text_body(service: httpx.Client) -> None:
    assert post(service, "whole_text", "ein Wört".encode(), "text/plain").json() == "ein Wört"


def test_a_binary_parameter_without_a_name_takes_any_body(service: httpx.Client) -> None:
    assert post(service, "whole_bytes", b"\x00\xff", "application/octet-stream").json() == 2


def test_a_form_gives_arguments(service: httpx.Client) -> None:
    answer = post(service, "add", b"a=1&b=2", "application/x-www-form-urlencoded")

    assert answer.json() == 3


def test_of_an_array_of_objects_the_first_is_the_call(service: httpx.Client) -> None:
    assert post(service, "add", b'[{"a": 1}, {"a": 5}]', "application/json").json() == 11


def test_a_type_without_length_keeps_its_value_whole(service: httpx.Client) -> None:
    assert call(service, "one_letter", letter="abc").json() == 3


def test_an_argument_given_twice_counts_as_given_last(service: httpx.Client) -> None:
    assert post(service, "add", b'{"a": 1, "a": 2}', "application/json").json() == 12


def test_by_get_an_argument_is_converted_from_its_text(service: httpx.Client) -> None:
    assert service.get("/rpc/echo", params={"value": '{"a": [1]}'}).json() == {"a": [1]}
    assert service.get("/rpc/sum_of", params={"numbers": "{1,2}"}).json() == 3
    variadic = {"separator": "+", "words": ["a", 'b"c']}
    assert service.get("/rpc/joined", params=variadic).json() == 'a+b"c'


def test_by_get_a_missing_function_is_searched_by_its_arguments_alone(
    service: httpx.Client,
) -> None:
    answer = service.get("/rpc/nope", params={"x": "1"})

    assert answer.json()["details"] == (
        "Searched for the function public.nope with parameter x, but no matches were found in the"
        " schema cache."
    )


def test_head_calls_and_sends_no_body(service: httpx.Client) -> None:
    answer = service.head("/rpc/stable_one")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-range"] == "0-0/*"


BAD_BODIES = {
    "NaN is no JSON": b'{"a": NaN}',
    "no UTF-8": b'{"a": "\xff"}',
    "too deep": b"[" * 100_000,
    "a raw control character": b'{"a": "\x00"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_no_json_is_refused(service: httpx.Client, body: bytes) -> None:
    answer = post(service, "add", body, "application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")


def test_objects_of_an_array_must_have_the_same_keys(service: httpx.Client) -> None:
    answer = post(service, "add", b'[{"a": 1}, {"b": 1}]', "application/json")

    assert answer.json()["message"] == "All object keys must match"


@pytest.mark.parametrize("body", [b"3", b'"x"', b"[]"])
def test_json_that_is_no_object_counts_as_no_arguments(service: httpx.Client, body: bytes) -> None:
    assert post(service, "stable_one", body, "application/json").json() == 1


def test_a_number_of_any_length_reaches_postgres(service: httpx.Client) -> None:
    answer = post(service, "add", b'{"a": ' + b"1" * 6000 + b"}", "application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "22003")


def test_an_unknown_media_type_of_a_body_is_refused(service: httpx.Client) -> None:
    answer = post(service, "add", b"<a/>", "application/xml")

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")
    assert answer.json()["message"] == "Content-Type not acceptable: application/xml"


def test_an_unknown_media_type_of_the_answer_is_refused(service: httpx.Client) -> None:
    answer = service.post("/rpc/big", headers={"accept": "text/html, image/png;q=0.5"})

    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST107")
    assert answer.json()["message"].endswith("available: text/html, image/png")


def test_the_best_accepted_media_type_that_there_is_wins(service: httpx.Client) -> None:
    accept = "application/json;q=0.1, text/html, application/vnd.pgrst.object+json;q=0.9"

    answer = service.post("/rpc/record_one", headers={"accept": accept})

    assert answer.headers["content-type"] == "application/vnd.pgrst.object+json; charset=utf-8"


def test_a_zero_byte_is_an_error_of_postgres(service: httpx.Client) -> None:
    by_json = call(service, "say", words="a\x00b")
    by_text = post(service, "whole_text", b"a\x00b", "text/plain")

    assert (by_json.status_code, by_json.json()["code"]) == (400, "22P05")
    assert (by_text.status_code, by_text.json()["code"]) == (400, "22021")


# Rows


def test_a_row_function_without_a_row_gives_a_row_of_nulls(service: httpx.Client) -> None:
    assert set(call(service, "no_row").json().values()) == {None}


def test_a_limit_cuts_sets(service: httpx.Client, narrow_gateway: str) -> None:
    with httpx.Client(base_url=narrow_gateway, headers=service.headers) as narrow:
        assert call(narrow, "rows", n=9).headers["content-range"] == "0-4/*"
        assert len(call(narrow, "some_notes").json()) == 4
        assert len(narrow.get("/rpc/many", params={"n": 9}).json()) == 5


def test_a_limit_never_cuts_a_json_value(service: httpx.Client, narrow_gateway: str) -> None:
    with httpx.Client(base_url=narrow_gateway, headers=service.headers) as narrow:
        assert call(narrow, "jsonb_of", n=9).json() == list(range(1, 10))


def test_rows_of_a_call_can_be_chosen(service: httpx.Client) -> None:
    query = "/rpc/some_notes?select=id,title&id=gt.1&order=id.desc&limit=2&offset=1"

    answer = service.post(query, headers={"prefer": "count=exact"})

    assert answer.json() == [{"id": 3, "title": None}, {"id": 2, "title": 'beta, "quoted"'}]
    assert (answer.status_code, answer.headers["content-range"]) == (206, "1-2/3")


def test_one_object_of_a_set(service: httpx.Client) -> None:
    one = service.post("/rpc/rows", json={"n": 1}, headers=OBJECT)
    two = service.post("/rpc/rows", json={"n": 2}, headers=OBJECT)

    assert one.json() == {"id": 1, "label": "r1"}
    assert (two.status_code, two.json()["details"]) == (406, "The result contains 2 rows")


def test_a_call_that_must_give_one_row_and_does_not_changes_nothing(
    service: httpx.Client, database: psycopg.Connection
) -> None:
    answer = service.post("/rpc/add_two_notes", headers=OBJECT)

    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST116")
    assert database.execute("select from public.notes where id >= 80").rowcount == 0


def test_filters_of_a_posted_call_are_parsed_strictly(service: httpx.Client) -> None:
    answer = service.post("/rpc/some_notes?title=alpha")

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST100")


# Transactions


def test_a_function_that_may_not_write_does_not(service: httpx.Client) -> None:
    answer = call(service, "write_by_stable")

    assert (answer.status_code, answer.json()["code"]) == (405, "25006")


def test_a_call_by_get_never_writes(service: httpx.Client, database: psycopg.Connection) -> None:
    answer = service.get("/rpc/add_note", params={"id": "60"})

    assert (answer.status_code, answer.json()["code"]) == (405, "25006")
    assert database.execute("select from public.notes where id = 60").rowcount == 0


def test_what_fails_at_the_commit_is_the_answer(
    service: httpx.Client, database: psycopg.Connection
) -> None:
    answer = call(service, "add_note", id=70, parent=71)

    assert (answer.status_code, answer.json()["code"]) == (409, "23503")
    assert database.execute("select from public.notes where id = 70").rowcount == 0
    assert call(service, "big").status_code == 200


def test_a_function_may_ask_for_an_isolation_level(service: httpx.Client) -> None:
    assert call(service, "isolated").json() == "repeatable read"
    assert call(service, "setting", name="transaction_isolation").json() == "read committed"


def test_a_serialization_failure_is_answered_at_once(service: httpx.Client) -> None:
    answer = call(service, "fail", code="40001", words="try again")

    assert (answer.status_code, answer.json()["code"]) == (500, "40001")


def test_the_search_path_is_the_exposed_schema_then_the_extra_ones(
    service: httpx.Client,
) -> None:
    path = call(service, "setting", name="search_path").json()

    assert path == '"public", "public", "extensions"'


@pytest.mark.parametrize(
    ("role", "timeout"), [("anon", "3s"), ("authenticated", "8s"), ("service_role", "8s")]
)
def test_each_role_has_its_timeout(stack: LocalStack, role: str, timeout: str) -> None:
    headers = {"apikey": stack.anon_key, "authorization": f"Bearer {stack.token(role)}"}

    answer = httpx.post(
        f"{stack.rest_url}/rpc/setting", headers=headers, json={"name": "statement_timeout"}
    )

    assert answer.json() == timeout


def test_the_setting_of_a_function_ends_with_its_call(service: httpx.Client) -> None:
    assert call(service, "slow", seconds=0).status_code == 204
    assert call(service, "setting", name="statement_timeout").json() == "8s"


def test_functions_are_told_of_the_request(service: httpx.Client) -> None:
    name = {"name": "request.headers"}
    headers = {b"x-odd": "é=1".encode(), b"cookie": b"a=1; b=2"}

    seen = json.loads(service.post("/rpc/setting", json=name, headers=headers).json())

    assert "cookie" not in seen
    assert seen["x-odd"].encode("latin-1").decode() == "é=1"
    assert call(service, "setting", name="request.method").json() == "POST"
    assert call(service, "setting", name="request.path").json() == "/rpc/setting"
    cookies = service.post("/rpc/setting", json={"name": "request.cookies"}, headers=headers)
    assert json.loads(cookies.json()) == {"a": "1", "b": "2"}


# Answers that a function shapes


def test_a_function_may_set_status_and_headers(service: httpx.Client) -> None:
    status = call(service, "set_response", name="status", value="418")
    headers = call(
        service, "set_response", name="headers", value='[{"X-One": "1"}, {"content-range": "x"}]'
    )

    cookies = '[{"Set-Cookie": "a=1"}, {"Set-Cookie": "b=2"}]'
    both = call(service, "set_response", name="headers", value=cookies)

    assert status.status_code == 418
    assert both.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert (headers.headers["x-one"], headers.headers["content-range"]) == ("1", "x")
    assert call(service, "big").status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("status", "teapot", "PGRST112"),
        ("status", "101", "PGRST112"),
        ("headers", "{}x", "PGRST111"),
        ("headers", '[{"a": 1}]', "PGRST111"),
        ("headers", '[{"a": "1", "b": "2"}]', "PGRST111"),
        ("headers", "[1]", "PGRST111"),
        ("headers", '[{"x": "1\\r\\ny: 2"}]', "PGRST111"),
    ],
)
def test_a_malformed_status_or_header_is_an_error(
    service: httpx.Client, name: str, value: str, code: str
) -> None:
    answer = call(service, "set_response", name=name, value=value)

    assert (answer.status_code, answer.json()["code"]) == (500, code)


def test_a_function_may_raise_the_whole_answer(service: httpx.Client) -> None:
    message = {"code": "123", "message": "no tea", "details": "d", "hint": "h"}
    detail = {"status": 418, "headers": {"X-Pot": "blue"}}

    answer = call(service, "raise_in_full", message=json.dumps(message), detail=json.dumps(detail))

    assert (answer.status_code, answer.json()) == (418, message)
    assert answer.headers["x-pot"] == "blue"


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ("tea", "{}"),
        ("[]", "{}"),
        ('{"code": "1", "message": "m"}', "tea"),
        ('{"code": "1", "message": "m"}', '{"status": 42, "headers": {}}'),
        ('{"code": "1", "message": "m"}', '{"status": 400, "headers": {"a b": "c"}}'),
    ],
)
def test_a_whole_answer_that_cannot_be_read_is_an_error(
    service: httpx.Client, message: str, detail: str
) -> None:
    answer = call(service, "raise_in_full", message=message, detail=detail)

    assert (answer.status_code, answer.json()["code"]) == (500, "PGRST121")


def test_a_whole_answer_needs_its_detail(service: httpx.Client) -> None:
    answer = call(service, "raise_in_short", message='{"code": "1", "message": "m"}')

    assert answer.json()["details"] == "DETAIL is missing in the RAISE statement"


ERRORS = [
    ("08006", 503),
    ("0L000", 403),
    ("21000", 500),
    ("25001", 500),
    ("28000", 403),
    ("2D000", 500),
    ("3F000", 400),
    ("40P01", 500),
    ("53400", 500),
    ("54000", 500),
    ("55P03", 500),
    ("57014", 500),
    ("42883", 404),
    ("42P17", 500),
    ("P0002", 500),
    ("PT418", 418),
    ("PT042", 500),
    ("PTABC", 500),
    ("XX000", 500),
]


@pytest.mark.parametrize(("code", "status"), ERRORS)
def test_the_class_of_an_error_decides_the_status(
    service: httpx.Client, code: str, status: int
) -> None:
    answer = call(service, "fail", code=code, words="x")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_update_without_where_is_the_clients_fault(service: httpx.Client) -> None:
    answer = call(service, "fail", code="21000", words="UPDATE requires a WHERE clause")

    assert answer.status_code == 400


# Preferences and methods


def test_a_strict_client_hears_of_preferences_that_are_not_known(service: httpx.Client) -> None:
    headers = {"prefer": "handling=strict, count=exact, no=such"}

    answer = service.post("/rpc/many", json={"n": 1}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST122")
    assert answer.json()["details"] == "Invalid preferences: no=such"


def test_the_preferences_that_were_followed_are_told(service: httpx.Client) -> None:
    headers = [("prefer", "count=exact"), ("prefer", "handling=strict")]

    answer = service.post("/rpc/many", json={"n": 2}, headers=headers)

    assert answer.headers["preference-applied"] == "count=exact, handling=strict"
    assert answer.headers["content-range"] == "0-1/2"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_functions_are_not_called_by_writing_methods(service: httpx.Client, method: str) -> None:
    answer = service.request(method, "/rpc/big")

    assert (answer.status_code, answer.json()["code"]) == (405, "PGRST101")


def test_an_unknown_method_is_refused(service: httpx.Client) -> None:
    answer = service.request("BREW", "/rpc/big")

    assert (answer.status_code, answer.json()["code"]) == (405, "PGRST117")


def test_options_tell_the_methods(service: httpx.Client) -> None:
    assert service.options("/rpc/stable_one").headers["allow"] == "OPTIONS,GET,HEAD,POST"
    assert service.options("/rpc/big").headers["allow"] == "OPTIONS,POST"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/", 404, "PGRST126"), ("/rpc/a/b", 404, "PGRST125"), ("/a/b", 404, "PGRST125")],
)
def test_paths_that_name_nothing(service: httpx.Client, path: str, status: int, code: str) -> None:
    answer = service.get(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
