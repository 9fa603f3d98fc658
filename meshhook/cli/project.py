"""Which project and which queue a command is about: options, environment, `.env`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import attrs

from meshhook import _environment
from meshhook._defaults import DEFAULT_QUEUE, KEY_VARIABLES, URL_VARIABLE
from meshhook.cli.exits import usage
from meshhook.cli.redaction import hide
from meshhook.connection import connect_sync
from meshhook.sync_services import SyncDLQService, SyncQueueService, list_queues_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supabase import Client

    from meshhook.models import QueueInfo

QUEUE_VARIABLE = "MESHHOOK_QUEUE"


@attrs.frozen(kw_only=True)
class Settings:
    """Which project and which queue a command is about.

    Attributes:
        url: The project's URL, None if it is not set.
        key: The project's key, None if it is not set.
        queue: The queue, None if it is not set.
    """

    url: str | None
    key: str | None = attrs.field(repr=False)
    queue: str | None

    @property
    def queue_name(self) -> str:
        """The queue, or the default queue if none is set."""
        return self.queue or DEFAULT_QUEUE

    def connect(self) -> AbstractContextManager[Client]:
        """Open a sync client of the project."""
        return connect_sync(self.url, self.key)

    @contextmanager
    def open_queue(self, name: str | None = None) -> Iterator[SyncQueueService]:
        """Open a queue of the project.

        Args:
            name: The queue; by default that of the settings.

        Yields:
            Its service.
        """
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
        with self.connect() as client:
            yield SyncDLQService(client, name or self._dlq_name(list_queues_sync(client)))

    def _dlq_name(self, queues: list[QueueInfo]) -> str:
        usual = f"{self.queue_name}_dlq"
        for queue in queues:
            if queue.queue_name == self.queue_name:
                return queue.queue_name if queue.is_dlq else queue.dlq_name or usual
        return usual


def find(
    url: str | None, key: str | None, queue: str | None, env_file: Path | None = None
) -> Settings:
    """Find the settings: options come first, then the environment, then the file.

    Args:
        url: ``--url``.
        key: ``--key``.
        queue: ``--queue``.
        env_file: ``--env-file``; None for the file that `connect` would read.

    Returns:
        The settings; what is not set is None.

    Raises:
        CommandError: The named file does not exist.
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

    Variables that are already set are not changed.

    Args:
        env_file: ``--env-file``; see `find`.

    Raises:
        CommandError: The named file does not exist.
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
