"""The page of settings says what the code says."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import meshhook
from meshhook import _defaults, monitoring, serverless
from meshhook._calls import settle
from meshhook._http import clients
from meshhook.local import LocalStack
from meshhook.worker import claim as worker_claim
from meshhook.worker import events, health, heartbeat, housekeeping, in_flight, lease, settings
from meshhook.worker import settle as worker_settle
from meshhook.worker.draining import MAX_MARGIN_SECONDS, DrainOptions
from tests.docs.messages import PACKAGE
from tests.docs.snippets import DOCS

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

MIB_PER_CALL = f"{_defaults.MAX_BYTES_PER_CALL // 2**20} MiB"
PAGE = (DOCS / "configuration.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """Return what stands under a heading."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> dict[str, str]:
    """Return the first two columns of a section's table, without their marks."""
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section(heading), re.MULTILINE)
    return {name.strip("`"): value.strip("`") for name, value in found if name != "Setting"}


def defaults(function: Callable[..., Any]) -> dict[str, str]:
    """Return a function's arguments that have a default, as they would be written."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: repr(p.default) for p in parameters if p.default is not p.empty}


SETTINGS: dict[str, Callable[..., Any]] = {
    "Worker": meshhook.Worker,
    "create_job_handler": meshhook.create_job_handler,
    "RetryConfig": meshhook.RetryConfig,
    "QueueService": meshhook.QueueService,
    "DLQService": meshhook.DLQService,
    "Enqueue": meshhook.QueueService.enqueue,
    "Buffer": meshhook.QueueService.buffered,
    "Claim": meshhook.QueueService.dequeue,
    "RepeatPolicy": meshhook.RepeatPolicy,
    "kick_sql": serverless.kick_sql,
    "MonitoringServer": monitoring.MonitoringServer,
    "LocalStack": LocalStack,
}


@pytest.mark.parametrize("heading", SETTINGS)
def test_a_table_has_each_setting_with_its_default(heading: str) -> None:
    assert rows(heading) == defaults(SETTINGS[heading])


def test_the_settings_of_a_queue_are_those_of_a_new_one(admin: psycopg.Connection) -> None:
    admin.execute("begin")
    created = admin.execute("select public.meshhook_create_queue('t_settings')").fetchone()
    admin.execute("rollback")

    assert created is not None
    assert created[0].pop("dlq_name") == "t_settings_dlq"
    told = rows("Queue settings")
    assert told.pop("dlq_name") == "<queue_name>_dlq"
    assert told == {name: str(created[0][name]) for name in told}
    assert set(told) == set(meshhook.QueueSettings.__annotations__) - {"dlq_name"}


def test_the_options_of_a_drain_are_told() -> None:
    options = set(DrainOptions.__annotations__)

    assert rows("drain") == {"max_jobs": "None", "deadline_seconds": "None"}
    assert {name for name in options if f"`{name}`" in section("drain")} == options
    assert options - set(rows("drain")) <= set(defaults(meshhook.Worker))


@pytest.mark.parametrize(
    ("what", "how_much"),
    [
        ("The jobs of one claim by a worker", f"{worker_claim.MAX_CLAIM}"),
        ("The messages of one claim together", f"{_defaults.MAX_BYTES_PER_CALL // 2**20} MiB"),
        (
            "The messages of one call of `enqueue_many`",
            f"{_defaults.MAX_BYTES_PER_CALL // 2**20} MiB",
        ),
        ("A message, at most", f"{_defaults.MAX_MESSAGE_BYTES // 2**20} MiB"),
        ("The messages that a worker holds", f"{in_flight.MAX_BYTES // 2**20} MiB"),
        ("The outcomes of one settle by a worker", f"{worker_settle.MAX_BATCH:,}"),
        ("How long an outcome waits", f"{worker_settle.LINGER_SECONDS * 1000:g} ms"),
        ("Extensions in each visibility timeout", f"{lease.EXTENSIONS_IN_A_LEASE}"),
        ("How often a worker reports that it is alive", f"{heartbeat.INTERVAL_SECONDS:g} s"),
        ("How often a worker deletes old history", f"{housekeeping.INTERVAL_SECONDS:,.0f} s"),
        ("The pause of a worker in an outage", f"{health.CEILING_SECONDS:g} s"),
        ("How long a worker waits for an expired key", f"{health.EXPIRED_KEY_SECONDS:g} s"),
        ("How long a cancelled handler may take", f"{settings.CANCEL_SECONDS:g} s"),
        ("How long a stop waits for the last outcomes", f"{settings.SETTLE_SECONDS:g} s"),
        ("The time that a drain reserves", f"{MAX_MARGIN_SECONDS:g} s"),
        ("How long the database keeps a request id", f"{_defaults.REQUEST_SECONDS:g} s"),
        ("The characters of an error message", f"{settle.ERROR_MESSAGE_LIMIT:,}"),
        ("The characters of a stack", f"{settle.ERROR_STACK_LIMIT:,}"),
        ("How long `on_event` or `on_error` may take", f"{events.HOOK_SECONDS:g} s"),
        ("The events that wait for a slow `on_event`", f"{events.MAX_WAITING:,}"),
        ("The errors that wait for a slow `on_error`", f"{events.MAX_ERRORS_WAITING:,}"),
        ("How long `connect()` waits for a connection", f"{clients.TIMEOUT.connect:g} s"),
        ("How long `connect()` waits for an answer", f"{clients.TIMEOUT.read:g} s"),
        ("The connections of one `connect()`", f"{clients.LIMITS.max_connections}"),
    ],
)
def test_a_fixed_number_is_the_code_s(what: str, how_much: str) -> None:
    (told,) = (
        value for name, value in rows("Numbers that are fixed").items() if name.startswith(what)
    )
    assert told == how_much


def test_every_variable_of_the_environment_is_told() -> None:
    read = {
        node.value
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in {"cli", "local", "testing"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(SUPABASE|MESHHOOK)_[A-Z_]+", node.value)
    }

    assert set(rows("Environment")) - {"Variable"} == read
