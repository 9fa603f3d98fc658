"""The ASGI application: routes, and the way of a request through the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount

from meshhook_local.gateway import response
from meshhook_local.gateway.authentication import Authenticator, Identity, KeyRejectedError
from meshhook_local.gateway.errors import (
    ApiError,
    bad_path,
    internal,
    method_not_supported,
    no_root,
    no_schema_cache,
    not_implemented,
    permission_denied,
)
from meshhook_local.gateway.listener import SchemaListener
from meshhook_local.gateway.pool import ConnectionPool
from meshhook_local.gateway.relations import (
    WRITES,
    find_relation,
    plan_privilege_check,
    plan_read,
)
from meshhook_local.gateway.request import ApiRequest
from meshhook_local.gateway.rpc import plan_call
from meshhook_local.gateway.transaction import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from meshhook_local.gateway.schema_cache import Relation, SchemaCache
    from meshhook_local.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

REST_ROOT = "/rest/v1"

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", *WRITES})
_CALL = 2


def build_app(settings: GatewaySettings) -> ASGIApp:
    """Build the application for one database."""
    pool = ConnectionPool(settings.database, settings.pool_size, settings.pool_timeout_seconds)
    listener = SchemaListener(settings, pool)
    rest = RestApi(settings, Database(pool, settings), listener)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listener.run(), name="schema listener")
            await listener.wait_for_first_try()
            yield
            listening.cancel()
        await pool.flush()

    return Starlette(
        routes=[Mount(REST_ROOT, app=rest), Mount("/", app=_no_route)],
        exception_handlers={Exception: _internal_error},
        lifespan=lifespan,
    )


class RestApi:
    """What lies below the REST root.

    Args:
        settings: The settings of the gateway.
        database: Where plans are run.
        listener: Where the schema cache is.
    """

    def __init__(
        self, settings: GatewaySettings, database: Database, listener: SchemaListener
    ) -> None:
        self._settings = settings
        self._database = database
        self._listener = listener
        self._authenticator = Authenticator(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(Request(scope, receive))
        except KeyRejectedError as error:
            answer = response.of_rejected_key(error)
        except ApiError as error:
            answer = response.of_error(error, self._listener.retry_after_seconds)
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    async def _answer(self, http_request: Request) -> Response:
        request = await ApiRequest.read(http_request)
        identity = self._authenticator.identify(request.key, request.headers.get("authorization"))
        cache = self._listener.cache
        if cache is None:
            raise no_schema_cache()
        if request.method not in _METHODS:
            raise method_not_supported(request.method)
        parts = request.path.removeprefix("/").split("/")
        if parts == [""]:
            raise no_root()
        if len(parts) == _CALL and parts[0] == "rpc":
            return await self._call(parts[1], request, identity, cache)
        if len(parts) > 1:
            raise bad_path()
        return await self._use_relation(parts[0], request, identity, cache)

    async def _call(
        self, name: str, request: ApiRequest, identity: Identity, cache: SchemaCache
    ) -> Response:
        if request.method == "OPTIONS":
            functions = cache.functions.get(name, ())
            writes = any(function.is_volatile for function in functions)
            return response.of_options("OPTIONS,POST" if writes else "OPTIONS,GET,HEAD,POST")
        plan = plan_call(name, request, cache, self._settings)
        return response.of_result(plan, await self._database.run(plan, identity, request, cache))

    async def _use_relation(
        self, name: str, request: ApiRequest, identity: Identity, cache: SchemaCache
    ) -> Response:
        relation = find_relation(name, self._settings.schema, cache)
        if request.method == "OPTIONS":
            return response.of_options("OPTIONS,GET,HEAD")
        if not request.is_read:
            raise await self._refused_write(relation, request, identity, cache)
        plan = plan_read(relation, request, self._settings.max_rows)
        return response.of_result(plan, await self._database.run(plan, identity, request, cache))

    async def _refused_write(
        self, relation: Relation, request: ApiRequest, identity: Identity, cache: SchemaCache
    ) -> ApiError:
        """Refuse a write: as Postgres does where the role lacks the privilege."""
        plan = plan_privilege_check(relation, request)
        result = await self._database.run(plan, identity, request, cache)
        if result.body == b"true":
            return not_implemented("the local gateway writes by functions only, not to tables")
        return permission_denied(relation.kind, relation.name, anonymous=identity.is_anonymous)


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as Supabase's gateway does outside of all its services."""
    answer = response.plain_json(404, {"message": "no Route matched with those values"})
    await answer(scope, receive, send)


async def _internal_error(_: Request, error: Exception) -> Response:
    logger.error("the gateway failed", exc_info=error)
    return response.of_error(internal(), 0)
