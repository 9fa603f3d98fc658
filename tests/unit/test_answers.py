"""What an answer over HTTP means: data, or one of the errors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from meshhook import exceptions
from meshhook._http.advice import role_of
from meshhook._http.answers import Answer, data, error_body, failure, retry_after_seconds
from tests.unit.examples import named

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"

UNAVAILABLE = exceptions.ServerUnavailableError
REJECTED = exceptions.RejectedError
UNEXPECTED = exceptions.UnexpectedAnswerError
DATABASE = exceptions.DatabaseError

# Code, the status that PostgREST gives it, and the error.
CODES: list[tuple[str, int, type[exceptions.RequestError]]] = [
    ("PGRST000", 503, UNAVAILABLE),
    ("PGRST001", 503, UNAVAILABLE),
    ("PGRST002", 503, UNAVAILABLE),
    ("PGRST003", 504, UNAVAILABLE),
    ("PGRST100", 400, UNEXPECTED),
    ("PGRST102", 400, UNEXPECTED),
    ("PGRST106", 406, exceptions.MissingFunctionsError),
    ("PGRST116", 406, UNEXPECTED),
    ("PGRST202", 404, exceptions.MissingFunctionsError),
    ("PGRST203", 300, exceptions.MissingFunctionsError),
    ("PGRST205", 404, UNEXPECTED),
    ("PGRST300", 500, exceptions.InvalidKeyError),
    ("PGRST301", 401, exceptions.InvalidKeyError),
    ("PGRST302", 401, exceptions.InvalidKeyError),
    ("08000", 503, UNAVAILABLE),
    ("08006", 503, UNAVAILABLE),
    ("21000", 400, DATABASE),
    ("22003", 400, REJECTED),
    ("22023", 400, REJECTED),
    ("22P02", 400, REJECTED),
    ("22P05", 400, REJECTED),
    ("23503", 409, REJECTED),
    ("23505", 409, REJECTED),
    ("23514", 400, REJECTED),
    ("28000", 403, exceptions.PermissionDeniedError),
    ("28P01", 403, exceptions.PermissionDeniedError),
    ("3F000", 400, DATABASE),
    ("40001", 500, UNAVAILABLE),
    ("40P01", 500, UNAVAILABLE),
    ("42501", 403, exceptions.PermissionDeniedError),
    ("42501", 401, exceptions.PermissionDeniedError),
    ("42703", 400, DATABASE),
    ("42883", 404, DATABASE),
    ("42P01", 404, DATABASE),
    ("53100", 503, UNAVAILABLE),
    ("53200", 503, UNAVAILABLE),
    ("53300", 503, UNAVAILABLE),
    ("53300", 500, UNAVAILABLE),
    ("53400", 500, UNAVAILABLE),
    ("54000", 500, REJECTED),
    ("54001", 500, REJECTED),
    ("55000", 500, DATABASE),
    ("55P03", 500, UNAVAILABLE),
    ("57014", 500, exceptions.StatementTimeoutError),
    ("57P01", 503, UNAVAILABLE),
    ("57P01", 500, UNAVAILABLE),
    ("57P02", 500, UNAVAILABLE),
    ("57P03", 500, UNAVAILABLE),
    ("58030", 500, UNAVAILABLE),
    ("MH001", 400, exceptions.QueueNotFoundError),
    ("MH002", 400, REJECTED),
    ("MH003", 400, DATABASE),
    ("MH999", 400, DATABASE),
    ("P0001", 400, DATABASE),
    ("PT404", 404, DATABASE),
    ("XX000", 500, DATABASE),
]

# Status and error where no code says more.
STATUSES: list[tuple[int, type[exceptions.RequestError]]] = [
    (300, UNEXPECTED),
    (301, UNEXPECTED),
    (307, UNEXPECTED),
    (400, UNEXPECTED),
    (401, exceptions.InvalidKeyError),
    (402, UNEXPECTED),
    (403, exceptions.PermissionDeniedError),
    (404, UNEXPECTED),
    (405, UNEXPECTED),
    (408, exceptions.RequestTimeoutError),
    (413, REJECTED),
    (429, exceptions.RateLimitedError),
    (500, UNAVAILABLE),
    (501, UNEXPECTED),
    (502, UNAVAILABLE),
    (503, UNAVAILABLE),
    (504, UNAVAILABLE),
    *((status, UNAVAILABLE) for status in range(520, 531)),
    # Supabase's own, by its documentation: a paused project, and a time-out of the gateway.
    (540, UNAVAILABLE),
    (544, UNAVAILABLE),
]
BODIES = {
    "nothing": b"",
    "html": HTML,
    "kong": b'{"message":"The upstream server is timing out"}',
    "a list": b"[1, 2]",
    "a text": b'"no"',
    "null": b"null",
    "cut": b'{"message": "The ups',
    "not utf-8": b"\xff\xfe\xfa",
}


def refused(code: str | None, status: int = 400, **more: Any) -> exceptions.RequestError:
    """Return the error for an answer as PostgREST gives it."""
    body = {"code": code, "message": "what went wrong", "details": None, "hint": None, **more}
    return failure("meshhook_x", Answer(status, {}, json.dumps(body).encode()))


@pytest.mark.parametrize(("code", "status", "kind"), CODES, ids=named)
def test_the_code_says_which_error_it_is(
    code: str, status: int, kind: type[exceptions.RequestError]
) -> None:
    error = refused(code, status, details="more", hint="try this")

    assert type(error) is kind
    assert (error.function, error.status, error.code) == ("meshhook_x", status, code)
    # The details of a violated constraint quote the row, and so a job.
    details = None if code.startswith("23") else "more"
    assert (error.details, error.hint) == (details, "try this")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize(("status", "kind"), STATUSES, ids=named)
def test_without_a_code_the_status_says_which_error_it_is(
    status: int, kind: type[exceptions.RequestError], body: bytes
) -> None:
    error = failure("meshhook_x", Answer(status, {}, body))

    assert type(error) is kind
    assert (error.status, error.code) == (status, None)


@pytest.mark.parametrize("code", [500, "500", ""], ids=named)
def test_a_code_that_only_repeats_the_status_is_no_cause(code: object) -> None:
    body = json.dumps({"code": code, "msg": "unexpected failure"}).encode()

    assert type(failure("meshhook_x", Answer(500, {}, body))) is UNAVAILABLE


def test_a_transaction_that_may_only_read_is_an_outage() -> None:
    # What a project answers that has run out of disk, or has failed over to a replica.
    assert isinstance(refused("25006", 405), exceptions.OutageError)


@pytest.mark.parametrize("code", ["PGRST301", "PGRST303"])
def test_an_expired_token_differs_from_a_wrong_one_with_either_code(code: str) -> None:
    assert type(refused(code, 401, message="JWT expired")) is exceptions.ExpiredKeyError


@pytest.mark.parametrize(
    "message", ["JWT issued at future", "JWT not yet valid", "JWT not in audience"]
)
def test_a_token_that_has_not_expired_is_not_called_expired(message: str) -> None:
    error = refused("PGRST303", 401, message=message)

    assert isinstance(error, exceptions.AuthenticationError)
    assert not isinstance(error, exceptions.ExpiredKeyError)
    assert "has not expired" not in str(error)


def test_a_key_whose_role_does_not_exist_is_a_wrong_key_and_no_wrong_argument() -> None:
    error = refused("22023", 401, message='role "no_such_role" does not exist')

    assert isinstance(error, exceptions.AuthenticationError)


@pytest.mark.parametrize(
    ("code", "status", "message", "advice"),
    [
        ("PGRST303", 401, "JWT expired", "not expired"),
        ("PGRST301", 401, "no suitable key", "SUPABASE_KEY"),
        ("PGRST202", 404, "no such function", "supabase db push"),
        ("42501", 403, "permission denied", "secret (service role) key"),
        ("42P01", 404, 'relation "pgmq.q_orders" does not exist', "create_queue()"),
        ("P0001", 400, "boom", "a trigger or function of yours"),
        ("3F000", 400, 'schema "meshhook" does not exist', "migrations install --again"),
        ("23514", 400, "violates check constraint", "A constraint"),
        ("22P02", 400, "invalid input syntax", "A value is not usable"),
        ("54000", 500, "program limit exceeded", "less at once"),
        (None, 413, "too large", "less at once"),
        ("XX000", 500, "internal error", "logs"),
        ("PGRST102", 400, "invalid json", "upgrade meshhook"),
        ("PGRST205", 404, "Could not find the table 'public.rpc'", "without a path"),
        (None, 429, "slow down", "larger batches"),
        ("57P01", 503, "shutdown", "Wait"),
        ("57014", 500, "canceling statement", "statement_timeout"),
        (None, 404, "no route matched", "SUPABASE_URL"),
    ],
    ids=named,
)
def test_an_error_says_what_happened_and_what_to_do(
    code: str | None, status: int, message: str, advice: str
) -> None:
    text = str(refused(code, status, message=message))

    assert text.startswith(f"meshhook_x: {message} (HTTP {status}")
    assert text.index(advice) > text.index(").")


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("3F000", 'schema "meshhook" does not exist', exceptions.MissingFunctionsError),
        (
            "42883",
            "function meshhook._queue(text) does not exist",
            exceptions.MissingFunctionsError,
        ),
        ("42P01", 'relation "meshhook.jobs" does not exist', exceptions.MissingFunctionsError),
        ("PGRST205", "no table 'public.job_statistics'", exceptions.MissingFunctionsError),
        ("42P01", 'relation "pgmq.q_orders" does not exist', exceptions.QueueNotFoundError),
        ("42P01", "Relation »pgmq.a_orders« existiert nicht", exceptions.QueueNotFoundError),
        ("42P01", 'relation "pgmq.meta" does not exist', DATABASE),
        ("42P01", 'relation "public.audit" does not exist', DATABASE),
        ("42883", "function public.mine() does not exist", DATABASE),
        ("3F000", 'schema "mine" does not exist', DATABASE),
    ],
    ids=named,
)
def test_what_is_not_there_decides_what_its_absence_means(
    code: str, message: str, kind: type[exceptions.RequestError]
) -> None:
    assert type(refused(code, 404, message=message)) is kind


@pytest.mark.parametrize("code", sorted({code for code, _, _ in CODES if len(code) == 5}))
def test_an_error_of_the_database_proves_that_the_url_is_right(code: str) -> None:
    status = next(status for each, status, _ in CODES if each == code)

    assert "SUPABASE_URL" not in str(refused(code, status))


@pytest.mark.parametrize("schema", ["pgmq", "pgmq.meta"])
def test_without_pgmq_the_advice_is_to_enable_it(schema: str) -> None:
    assert "enable the extension pgmq" in str(refused("3F000", message=f'"{schema}" is missing'))


FUNCTION_DENIED = "permission denied for function meshhook_x"
AGAIN = "meshhook migrations install --again"


@pytest.mark.parametrize(
    ("role", "message", "advice", "never"),
    [
        ("anon", FUNCTION_DENIED, "Use the project's secret", AGAIN),
        ("authenticated", FUNCTION_DENIED, "Use the project's secret", AGAIN),
        ("service_role", FUNCTION_DENIED, AGAIN, "Use the project's secret"),
        ("service_role", "permission denied for view queue_monitoring", AGAIN, "Use the"),
        ("service_role", "permission denied for schema meshhook", AGAIN, "Use the"),
        ("service_role", "permission denied for table q_plain", "grant all on the table", AGAIN),
        ("service_role", "permission denied for table audit", "a trigger", AGAIN),
        ("a_role_of_mine", FUNCTION_DENIED, "meshhook.grant_enqueue()", AGAIN),
        (None, FUNCTION_DENIED, AGAIN, "The key is the secret one"),
        (None, FUNCTION_DENIED, "Use the project's secret", "The key is the secret one"),
    ],
    ids=named,
)
def test_what_to_do_without_a_right_depends_on_whose_it_is(
    role: str | None, message: str, advice: str, never: str
) -> None:
    body = json.dumps({"code": "42501", "message": message}).encode()

    text = str(failure("meshhook_x", Answer(403, {}, body), role))

    assert advice in text
    assert never not in text


def test_the_advice_to_a_user_who_may_not_enqueue_is_not_the_secret_key() -> None:
    body = json.dumps({"code": "42501", "message": FUNCTION_DENIED}).encode()

    text = str(failure("meshhook_user_enqueue", Answer(403, {}, body), "authenticated"))

    assert "meshhook_allow_user_enqueue()" in text
    assert "Use the project's secret" not in text


def token_of(role: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"role": role}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("sb_secret_x", "service_role"),
        ("sb_publishable_x", "anon"),
        (token_of("service_role"), "service_role"),
        (token_of("mine"), "mine"),
        ("e30.e30.x", None),
        ("e30.bnVsbA.x", None),
        ("garbage", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_a_key_says_whose_it_is_or_nothing(key: str, role: str | None) -> None:
    assert role_of(key) == role


def test_an_error_hands_on_the_advice_of_the_database() -> None:
    error = refused("MH002", hint="Give a number in that range.")

    assert str(error).endswith("). Give a number in that range.")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message": "No API key found in request"}', "No API key found in request"),
        (b'{"error": "invalid_request"}', "invalid_request"),
        (b'{"msg": "Database error", "error_code": "x"}', "Database error"),
        (b'{"message": {"a": 1}}', '{"a": 1}'),
        (b'{"message": "", "error": "second"}', "second"),
        (b"{}", None),
        (b"", "an empty answer"),
        (b" \n ", "an empty answer"),
        (HTML, None),
    ],
    ids=named,
)
def test_the_message_is_found_wherever_a_gateway_puts_it(body: bytes, message: str | None) -> None:
    said = error_body(Answer(500, {}, body))

    if body == HTML:
        assert "502 Bad Gateway" in str(said["message"])
    else:
        assert said["message"] == message


def test_a_long_page_is_quoted_in_a_line() -> None:
    error = failure("meshhook_x", Answer(502, {}, b"<p>\n  gone\n</p>" * 10_000))

    assert len(str(error)) < 400
    assert "\n" not in str(error)
    assert "<p> gone </p>" in str(error)


@pytest.mark.parametrize(
    ("details", "field", "value"),
    [
        ('{"field": "vt_seconds", "value": "-1"}', "vt_seconds", "-1"),
        ('{"field": "messages", "value": null}', "messages", None),
        ("Key (id)=(1) already exists.", None, None),
        ("", None, None),
        (None, None, None),
        ("null", None, None),
        ("[1]", None, None),
        ('{"field": "x"}', None, None),
        ("17", None, None),
    ],
    ids=["named", "null", "prose", "empty", "none", "json null", "list", "half", "number"],
)
def test_the_argument_that_the_database_refused_is_named_where_it_says(
    details: str | None, field: str | None, value: str | None
) -> None:
    error = refused("MH002", details=details)

    assert isinstance(error, exceptions.RejectedError)
    assert (error.field, error.value) == (field, value)
    assert error.details == details


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("0", 0.0),
        ("2.5", 2.5),
        (" 7 ", 7.0),
        ("-3", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
    ids=named,
)
def test_the_pause_that_an_answer_asks_for_is_read_if_it_is_in_seconds(
    header: str | None, seconds: float | None
) -> None:
    answer = Answer(503, {} if header is None else {"retry-after": header}, b"")

    error = failure("meshhook_x", answer)

    assert isinstance(error, exceptions.OutageError)
    assert error.retry_after_seconds == seconds


@pytest.mark.parametrize("header", ["inf", "nan", "1e999"])
def test_a_pause_is_a_finite_number_or_unknown(header: str) -> None:
    assert retry_after_seconds(Answer(503, {"retry-after": header}, b"")) is None


@pytest.mark.parametrize("status", [200, 201, 206])
@pytest.mark.parametrize(
    "value", [None, True, 0, 2**63 - 1, 1.5, "ü", [], {"a": [None]}], ids=named
)
def test_the_data_of_a_success_is_its_json(status: int, value: object) -> None:
    assert data("meshhook_x", Answer(status, {}, json.dumps(value).encode())) == value


def test_a_success_without_content_has_no_data() -> None:
    assert data("meshhook_x", Answer(204, {}, b"")) is None


@pytest.mark.parametrize(
    "body",
    [b"", HTML, b'{"a": 1', b'"a', b"[1, 2", b"\xff\xfe", b"true false", b"[" * 100_000],
    ids=["nothing", "html", "cut object", "cut text", "cut list", "not utf-8", "two", "deep"],
)
def test_a_success_that_is_no_json_is_an_error_and_not_data(body: bytes) -> None:
    with pytest.raises(exceptions.UnexpectedAnswerError) as caught:
        data("meshhook_x", Answer(200, {}, body))

    assert (caught.value.function, caught.value.status) == ("meshhook_x", 200)
    assert f"{len(body)} bytes" in str(caught.value)
    assert "SUPABASE_URL" in str(caught.value)


@pytest.mark.parametrize("status", [199, 300, 302, 400, 500])
def test_every_other_status_is_raised(status: int) -> None:
    with pytest.raises(exceptions.RequestError):
        data("meshhook_x", Answer(status, {}, b"{}"))


@pytest.mark.parametrize("status", [200, 500])
def test_a_page_that_answers_for_supabase_is_quoted(status: int) -> None:
    with pytest.raises(exceptions.RequestError, match="502 Bad Gateway"):
        data("meshhook_x", Answer(status, {}, HTML))


def test_advice_of_two_sources_is_read_as_two_sentences() -> None:
    error = refused("PGRST202", 404, hint="Perhaps you meant to call the function public.other")

    assert "public.other. Apply MeshHook's migrations" in str(error)
