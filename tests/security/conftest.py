"""A project as hosted Supabase has them, with whatever the migrations made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from meshhook.local import LocalStack
from meshhook.migrations import migration_file
from tests.security import catalogue
from tests.security.http import Http
from tests.security.pages import block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.catalogue import Catalogue

PRODUCER, WORKER = "orders_producer", "orders_worker"
"""The roles of the documentation: one enqueues into `orders`, one works it."""

# What hosted projects from before May 2026 have; the embedded stack has what newer ones have.
GENEROUS = [
    f"alter default privileges in schema public grant all on {kind}"
    " to postgres, anon, authenticated, service_role"
    for kind in ("tables", "functions", "sequences")
]


@pytest.fixture(scope="session")
def project() -> Iterator[LocalStack]:
    """A project that grants whatever is new to the roles of its API; MeshHook is not in it yet."""
    with LocalStack(apply_meshhook=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as owner:
            for grant in GENEROUS:
                owner.execute(grant.encode())
        with psycopg.connect(stack.admin_database_url, autocommit=True) as admin:
            admin.execute("create role fresh")
        yield stack


@pytest.fixture(scope="session")
def before(project: LocalStack) -> Catalogue:
    """Everything that was there before the migrations."""
    with psycopg.connect(project.admin_database_url) as admin:
        return catalogue.read(admin)


@pytest.fixture(scope="session")
def hosted(project: LocalStack, before: Catalogue) -> LocalStack:
    """The project after the migrations, which the role `postgres` applied."""
    assert before
    with psycopg.connect(project.database_url, autocommit=True) as owner, owner.transaction():
        owner.execute(migration_file().read_text().encode())
    project.restart_gateway()
    return project


@pytest.fixture(scope="session")
def admin(hosted: LocalStack) -> Iterator[psycopg.Connection]:
    """A superuser, outside of any transaction."""
    with psycopg.connect(hosted.admin_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def owner(hosted: LocalStack) -> Iterator[psycopg.Connection]:
    """The role `postgres`, as in the dashboard's SQL editor, outside of any transaction."""
    with psycopg.connect(hosted.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def undone(admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A superuser in a transaction that is rolled back."""
    with admin.transaction(force_rollback=True):
        yield admin


@pytest.fixture(scope="session")
def http(hosted: LocalStack) -> Iterator[Http]:
    """The project's API, for anybody."""
    with Http(hosted) as http:
        yield http


@pytest.fixture(scope="module")
def roles(http: Http, owner: psycopg.Connection) -> Iterator[None]:
    """The two roles, made as the documentation says, and a queue that is none of their business."""
    for queue in ("orders", "payments"):
        http.serve("meshhook_create_queue", queue_name=queue)
    for title in ("A role that may enqueue", "A role that may work one queue"):
        owner.execute(block(title).encode())
    yield
    owner.execute(block("Taking a role back").encode())
    owner.execute(f"select meshhook.revoke_grants('{WORKER}')".encode())
    owner.execute(f"drop role {WORKER}".encode())
    for queue in ("orders", "payments"):
        http.serve("meshhook_drop_queue", queue_name=queue, drop_dlq=True)


@pytest.fixture
def payments(http: Http, roles: None) -> Iterator[list[dict[str, Any]]]:
    """Three jobs in the other queue, of which one is claimed; nothing may happen to them."""
    assert roles is None
    http.serve("meshhook_purge", queue_name="orders")
    http.serve("meshhook_purge", queue_name="payments")
    http.serve("meshhook_enqueue", queue_name="payments", messages=[{"n": n} for n in range(3)])
    claim = http.serve("meshhook_dequeue", queue_name="payments", vt_seconds=3600)
    yield claim["jobs"]
    metrics = http.serve("meshhook_queue_metrics", queue_name="payments")
    assert (metrics["queue_length"], metrics["invisible_jobs"]) == (3, 1)
    assert http.serve("meshhook_dlq_metrics", dlq_name="payments_dlq")["total_jobs"] == 0
