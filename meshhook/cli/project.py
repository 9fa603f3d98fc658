"""Which project and which queue a command is about: options, environment, `.env`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from meshhook import _environment
from meshhook._defaults import DEFAULT_QUEUE, KEY_VARIABLES, URL_VARIABLE
from meshhook.cli.exits import usage
from meshhook.cli.redaction import hide
from meshhook.connection import connect_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supabase import Client

    from meshhook.models import QueueInfo
    from meshhook.sync_services import SyncDLQService, SyncQueueService

QUEUE_VARIABLE = "MESHHOOK_QUEUE"


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
        env_file: ``--env-file``; None for the file that `connect` would read.

    Returns:
        The settings, None for what is nowhere.

    Raises:
        CommandError: The file that is named is not there.
        ConfigurationError: The file is needed and cannot be read.
    """
    file = _file(env_file)
    settings = Settings(
        url=url or _environment.setting(URL_VARIABLE, file=file) or None,
        key=key or _environment.setting(*KEY_VARIABLES, file=file) or None,
        queue=queue or _environment.setting(QUEUE_VARIABLE, file=file) or None,
    )
    hide(settings.key)
    _hide_keys(file)
    return settings


def export(env_file: Path | None) -> None:
    """Put the settings of the file into the environment, for the code of handlers.

    What the environment has already stays as it is.

    Args:
        env_file: ``--env-file``; see `find`.

    Raises:
        CommandError: The file that is named is not there.
        ConfigurationError: The file cannot be read.
    """
    file = _file(env_file)
    for name, value in file.values().items():
        os.environ.setdefault(name, value)
    _hide_keys(file)
    if env_file is not None:
        os.environ[_environment.FILE_VARIABLE] = str(env_file.absolute())


def _hide_keys(file: _environment.EnvFile) -> None:
    for name in KEY_VARIABLES:
        hide(file.loaded.get(name))


def _file(path: Path | None) -> _environment.EnvFile:
    if path is None:
        return _environment.env_file()
    if not path.is_file():
        raise usage(f"--env-file {path}: there is no such file")
    return _environment.EnvFile(path)
