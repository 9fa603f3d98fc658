"""Which project and which queue a command is about: options, environment, `.env`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from meshhook.cli import dotenv
from meshhook.cli.exits import usage
from meshhook.cli.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supabase import Client

    from meshhook.models import QueueInfo
    from meshhook.sync_services import SyncDLQService, SyncQueueService

URL_VARIABLE = "SUPABASE_URL"
# As in meshhook.connection, which is not imported before something is to be connected.
KEY_VARIABLES = ("SUPABASE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
QUEUE_VARIABLE = "MESHHOOK_QUEUE"
DEFAULT_QUEUE = "workflow_jobs"
DEFAULT_FILE = Path(".env")


@attrs.frozen(kw_only=True)
class Settings:
    """Which project and which queue a command is about.

    Attributes:
        url: The project's URL, None if nothing says it.
        key: The project's key, None if nothing says it.
        queue: The queue, None if nothing names one.
    """

    url: str | None
    key: str | None = attrs.field(repr=False)
    queue: str | None

    @property
    def queue_name(self) -> str:
        """The queue, or that of the original system where nothing names one."""
        return self.queue or DEFAULT_QUEUE

    @contextmanager
    def connect(self) -> Iterator[Client]:
        """Open a sync client of the project.

        Yields:
            The client.

        Raises:
            ConfigurationError: URL or key are missing or cannot be used.
        """
        from meshhook.connection import connect_sync  # noqa: PLC0415 - heavy

        with connect_sync(self.url, self.key) as client:
            yield client

    @contextmanager
    def open_queue(self, name: str | None = None) -> Iterator[SyncQueueService]:
        """Open a queue of the project.

        Args:
            name: The queue; by default that of the settings.

        Yields:
            Its service.
        """
        from meshhook.sync_services import SyncQueueService  # noqa: PLC0415 - heavy

        with self.connect() as client:
            yield SyncQueueService(client, name or self.queue_name)

    @contextmanager
    def open_dlq(self, name: str | None = None) -> Iterator[SyncDLQService]:
        """Open a dead letter queue of the project.

        Args:
            name: The dead letter queue; by default that of the settings' queue, which may be the
                dead letter queue itself.

        Yields:
            Its service.
        """
        from meshhook.sync_services import SyncDLQService, list_queues_sync  # noqa: PLC0415 - heavy

        with self.connect() as client:
            yield SyncDLQService(client, name or self._dlq_name(list_queues_sync(client)))

    def _dlq_name(self, queues: list[QueueInfo]) -> str:
        for queue in queues:
            if queue.queue_name == self.queue_name:
                return queue.queue_name if queue.is_dlq else queue.dlq_name or self._usual_dlq_name
        return self._usual_dlq_name

    @property
    def _usual_dlq_name(self) -> str:
        return f"{self.queue_name}_dlq"


def find(
    url: str | None, key: str | None, queue: str | None, env_file: Path | None = None
) -> Settings:
    """Find the settings: an option comes before the environment, that before the file.

    Args:
        url: ``--url``.
        key: ``--key``.
        queue: ``--queue``.
        env_file: ``--env-file``; `.env` in the working directory if None, where there is one.

    Returns:
        The settings, None for what is nowhere.

    Raises:
        CommandError: The file cannot be read.
    """
    file = _File(env_file)
    settings = Settings(
        url=url or _first((URL_VARIABLE,), file),
        key=key or _first(KEY_VARIABLES, file),
        queue=queue or _first((QUEUE_VARIABLE,), file),
    )
    hide(settings.key)
    return settings


def export(env_file: Path | None) -> None:
    """Put the settings of the file into the environment, for the code of handlers.

    What the environment has already stays as it is.

    Args:
        env_file: ``--env-file``; see `find`.

    Raises:
        CommandError: The file cannot be read.
    """
    for name, value in _File(env_file).values().items():
        os.environ.setdefault(name, value)


class _File:
    """The file of settings, which is not touched where nothing is looked up in it."""

    def __init__(self, path: Path | None) -> None:
        if path is not None and not path.is_file():
            raise usage(f"--env-file {path}: there is no such file")
        self._path = path or DEFAULT_FILE
        self._values: dict[str, str] | None = None

    def values(self) -> dict[str, str]:
        if self._values is None:
            self._values = dotenv.read(self._path) if self._path.is_file() else {}
            for name in KEY_VARIABLES:
                hide(self._values.get(name))
        return self._values


def _first(names: tuple[str, ...], file: _File) -> str | None:
    for name in names:
        if value := os.environ.get(name, "").strip():
            return value
    for name in names:
        if value := file.values().get(name, "").strip():
            return value
    return None
