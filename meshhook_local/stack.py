"""The embedded stack: Postgres with PGMQ, Supabase's roles, the migrations, the HTTP gateway."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread
import attrs

from meshhook.migrations import migration_file
from meshhook_local.binaries import pgmq_sql
from meshhook_local.bootstrap import bootstrap, own_text
from meshhook_local.errors import LocalStackError
from meshhook_local.gateway.settings import GatewaySettings
from meshhook_local.gateway_process import GatewayProcess
from meshhook_local.keys import StackKeys, load_keys, make_keys, sign_token
from meshhook_local.migrate import apply_migrations, migrations_in
from meshhook_local.postgres import ADMIN_ROLE, PostgresServer

if TYPE_CHECKING:
    from types import TracebackType

_REST_ROOT = "/rest/v1"
# The files of this package that decide what a new database contains.
_DATA_SOURCES = ("bootstrap.sql", "bootstrap.py", "migrate.py")


class LocalStack:
    """What `supabase start` gives, without Docker, for development and tests.

    Use it as a context manager or an asynchronous one (on asyncio and trio alike), or call `start`
    and `stop`. Everything it started ends with this process, even if that is killed.

    Args:
        data_dir: The folder that keeps the data and the keys; None for a stack that leaves nothing.
        migrations: A folder of migrations of yours, applied after MeshHook's.
        apply_meshhook: Whether MeshHook's own migrations are applied.
        port: The port of the HTTP gateway on 127.0.0.1; 0 for a free one.
        database_port: The port of Postgres on 127.0.0.1; 0 for a free one.
        max_rows: The largest number of rows that a set or a view gives.
        pool_size: The largest number of database connections that the gateway uses.
        pool_timeout_seconds: How long a request waits for one of them, in seconds.

    Example:
        >>> with LocalStack() as stack:
        ...     client = supabase.create_client(stack.url, stack.secret_key)
    """

    def __init__(
        self,
        *,
        data_dir: Path | str | None = None,
        migrations: Path | str | None = None,
        apply_meshhook: bool = True,
        port: int = 0,
        database_port: int = 0,
        max_rows: int = 1000,
        pool_size: int = 10,
        pool_timeout_seconds: float = 10.0,
    ) -> None:
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._migrations = Path(migrations) if migrations is not None else None
        self._apply_meshhook = apply_meshhook
        self._port = port
        self._max_rows = max_rows
        self._pool_size = pool_size
        self._pool_timeout_seconds = pool_timeout_seconds
        self._postgres = PostgresServer(self._data_dir, port=database_port)
        self._gateway: GatewayProcess | None = None
        self._keys: StackKeys | None = None
        self._shut_down: weakref.finalize[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"<LocalStack {self.url if self._gateway else 'stopped'}>"

    def start(self) -> None:
        """Start everything; return when requests are answered.

        Raises:
            LocalStackError: If a part does not come up; nothing is left running then.
        """
        if self._gateway is not None:
            raise LocalStackError("the local stack runs already")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, and remove what was ephemeral. Stopping twice does no harm."""
        if self._shut_down is not None:
            self._shut_down()
        self._gateway = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A cancelled test must not leave processes; each step of the stop has a time limit.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    @property
    def url(self) -> str:
        """The URL of the project, for a Supabase client."""
        return f"http://127.0.0.1:{self._running.port}"

    @property
    def rest_url(self) -> str:
        """The URL of the Data API."""
        return f"{self.url}{_REST_ROOT}"

    @property
    def database_url(self) -> str:
        """The URL of the database for the role `postgres`, which is not a superuser."""
        return self._database.url("postgres")

    @property
    def admin_database_url(self) -> str:
        """The URL of the database for the superuser `supabase_admin`."""
        return self._database.url(ADMIN_ROLE)

    @property
    def anon_key(self) -> str:
        """The legacy key of the role `anon`, a token."""
        return self._secrets.anon_key

    @property
    def service_role_key(self) -> str:
        """The legacy key of the role `service_role`, a token."""
        return self._secrets.service_role_key

    @property
    def publishable_key(self) -> str:
        """The key that stands for the role `anon`."""
        return self._secrets.publishable_key

    @property
    def secret_key(self) -> str:
        """The key that stands for the role `service_role`."""
        return self._secrets.secret_key

    @property
    def jwt_secret(self) -> str:
        """What tokens are signed with (HS256)."""
        return self._secrets.jwt_secret

    def env(self) -> dict[str, str]:
        """Give the settings under the names of `supabase status -o env`."""
        return {
            "API_URL": self.url,
            "DB_URL": self.database_url,
            "PUBLISHABLE_KEY": self.publishable_key,
            "SECRET_KEY": self.secret_key,
            "ANON_KEY": self.anon_key,
            "SERVICE_ROLE_KEY": self.service_role_key,
            "JWT_SECRET": self.jwt_secret,
        }

    def token(self, role: str, **claims: Any) -> str:
        """Sign a token that the stack accepts.

        Args:
            role: The database role that it stands for.
            claims: Further claims, for example `sub`, or `exp` in seconds since 1970.
        """
        return sign_token(self.jwt_secret, role, **claims)

    def stop_database(self) -> None:
        """Stop Postgres alone, cleanly; the data stays for `start_database`."""
        self._database.stop()

    def kill_database(self) -> None:
        """Kill Postgres alone, as a crash would; `start_database` recovers it."""
        self._database.kill()

    def start_database(self) -> None:
        """Start Postgres again on its port."""
        self._database.start()

    def restart_gateway(self) -> None:
        """Stop the gateway and start it again on its port; until then requests are refused."""
        self._running.stop()
        self._running.launch()
        self._running.serve(self._gateway_settings())

    def _start(self) -> None:
        own = [migration_file()] if self._apply_meshhook else []
        others = migrations_in(self._migrations) if self._migrations else []
        self._postgres.prepare()
        gateway = GatewayProcess(self._postgres.run_folder / "gateway.log", self._port)
        # Also run when the stack is forgotten, and at the end of the interpreter.
        self._shut_down = weakref.finalize(self, _shut_down, os.getpid(), gateway, self._postgres)
        gateway.launch()
        self._keys = load_keys(self._data_dir / "keys.json") if self._data_dir else make_keys()
        self._start_database(own)
        apply_migrations(self._postgres.conninfo("postgres"), others)
        gateway.serve(self._gateway_settings())
        self._gateway = gateway

    def _start_database(self, migrations: list[Path]) -> None:
        """Start Postgres with PGMQ and MeshHook in it, and keep that data for the next stack."""
        texts = [pgmq_sql(), *(own_text(name) for name in _DATA_SOURCES)]
        for file in migrations:
            texts += [file.name, file.read_text()]
        template = self._postgres.template(texts)
        if self._postgres.start(template):
            return
        bootstrap(self._postgres.conninfo(ADMIN_ROLE))
        apply_migrations(self._postgres.conninfo("postgres"), migrations)
        if template is not None:
            self._postgres.save(template)

    def _gateway_settings(self) -> GatewaySettings:
        return GatewaySettings(
            **attrs.asdict(self._secrets),
            database=self._postgres.conninfo("authenticator"),
            max_rows=self._max_rows,
            pool_size=self._pool_size,
            pool_timeout_seconds=self._pool_timeout_seconds,
        )

    @property
    def _running(self) -> GatewayProcess:
        if self._gateway is None:
            raise LocalStackError("the local stack was not started")
        return self._gateway

    @property
    def _database(self) -> PostgresServer:
        if self._gateway is None:
            raise LocalStackError("the local stack was not started")
        return self._postgres

    @property
    def _secrets(self) -> StackKeys:
        if self._keys is None:
            raise LocalStackError("the local stack was not started")
        return self._keys


def _shut_down(owner: int, gateway: GatewayProcess, postgres: PostgresServer) -> None:
    # A process forked from ours inherits this call, but not the stack.
    if os.getpid() == owner:
        gateway.stop()
        postgres.close()
