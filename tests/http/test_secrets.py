"""Neither the key nor a payload is ever in an exception or in a log."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from supabase import (
    AsyncClient,
    AsyncClientOptions,
    Client,
    ClientOptions,
    acreate_client,
    create_client,
)

from meshhook import (
    ConfigurationError,
    JobMessage,
    MeshHookError,
    QueueService,
    SyncQueueService,
)
from tests.http.fake import HTML, KEY, FakeSupabase, answers, breaks, call, fails, says
from tests.http.operations import OPERATIONS, Operation
from tests.unit.examples import TIME_TEXT, job_data, job_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.fake import Planned

PAYLOAD = "hvzq"
# A dead letter as Postgres orders its keys: the short ones first.
ROW = {"vt": TIME_TEXT, "msg_id": 1, "message": {"a": PAYLOAD}, "read_ct": 1}
WHOLE = json.dumps([ROW])

TROUBLES: dict[str, Planned] = {
    "unreachable": breaks(httpx.ConnectError),
    "timeout": breaks(httpx.ReadTimeout),
    "gateway": says(HTML, 502),
    "wrong key": fails(401, "PGRST301"),
    "no permission": fails(403, "42501"),
    "no functions": fails(404, "PGRST202"),
    "refused": fails(400, "MH002"),
    "page": says(HTML),
    "cut": says(WHOLE[:-1]),
    "another shape": says(WHOLE[1:-1]),
    "a part missing": says(json.dumps([ROW, ROW])),
}
METHODS = {
    "enqueue": (job_data(metadata={"card": PAYLOAD}),),
    "retry": (job_of("q", message=JobMessage(card=PAYLOAD)), 0, PAYLOAD),
    "dequeue": (),
    "list_dead_letter_jobs": (),
}


def told(error: BaseException) -> str:
    """Return everything that a log would have of an error: all of its chain, and each repr()."""
    texts = traceback.format_exception(error)
    chain: list[BaseException] = [error]
    for link in chain:
        texts.append(repr(link))
        before = (link.__cause__, link.__context__)
        chain += [one for one in before if one is not None and one not in chain]
    return "".join(texts)


def operation_of(method: str) -> Operation:
    (operation,) = (one for one in OPERATIONS if one.method == method)
    return operation


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("method", METHODS)
async def test_no_error_tells_the_key_or_a_payload(
    supabase: FakeSupabase, method: str, trouble: str
) -> None:
    supabase.plan(TROUBLES[trouble])
    service = await supabase.service(operation_of(method).service)

    with pytest.raises(MeshHookError) as caught:
        await call(service, method, *METHODS[method])

    text = told(caught.value)
    assert KEY not in text
    assert "Bearer" not in text
    assert PAYLOAD not in text


@pytest.mark.parametrize("trouble", ["unreachable", "wrong key", "another shape", None])
async def test_no_log_tells_the_key_or_a_payload(
    supabase: FakeSupabase, caplog: pytest.LogCaptureFixture, trouble: str | None
) -> None:
    caplog.set_level(logging.DEBUG)
    supabase.plan(TROUBLES[trouble] if trouble else answers({"msg_ids": [5], "duplicate": False}))
    queue = await supabase.queue()
    try:
        await call(queue, "enqueue", job_data(metadata={"card": PAYLOAD}))
    except MeshHookError:
        assert trouble

    # httpx tells the address of each answered request; so something is logged at all.
    assert "meshhook_enqueue" in caplog.text or trouble == "unreachable"
    assert KEY not in caplog.text
    assert PAYLOAD not in caplog.text


async def test_no_service_and_no_call_shows_the_key_or_a_payload(supabase: FakeSupabase) -> None:
    supabase.plan(says(HTML))
    queue = await supabase.queue()

    text = f"{queue!r} {queue._transport!r} {vars(queue)!r}"

    assert KEY not in text


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server of this machine that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def queue_with_key(lane: str, url: str, key: str) -> Any:
    """Make a service with a client of the user's own, whose key nobody has checked."""
    if lane == "sync":
        http = httpx.Client(trust_env=False, verify=False)
        sync_client: Client = create_client(url, key, ClientOptions(httpx_client=http))
        return SyncQueueService(sync_client, "q")
    async_http = httpx.AsyncClient(trust_env=False, verify=False)
    client: AsyncClient = await acreate_client(
        url, key, AsyncClientOptions(httpx_client=async_http)
    )
    return QueueService(client, "q")


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f"{KEY}\r\nX-Evil: 1", f"{KEY}\0", f"{KEY}ü"], ids=ascii
)
async def test_a_key_that_http_cannot_send_is_refused_without_showing_it(
    lane: str, silent_server: str, key: str
) -> None:
    queue = await queue_with_key(lane, silent_server, key)

    with pytest.raises(ConfigurationError, match="key") as caught:
        await call(queue, "get_job", 7)

    assert KEY not in told(caught.value)
