"""What a worker process is told, in a form that can be passed on to another process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from meshhook.cli.exits import usage
from meshhook.cli.worker import targets

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """What a worker process is told; `Worker` says what each setting means.

    Attributes:
        target: The handler, as ``module:name``.
        app_dir: Where its module is looked for.
        url: The project's URL, None for that of the environment.
        key: The project's key, likewise.
        queues: The queues and their weights.
        fatal_exceptions: Classes, as ``module:name``.
        on_event: What gets each event, as ``module:name``, or None.
        on_error: What gets each error of an attempt, as ``module:name``, or None.
        retry: The backoff and the last attempt, or None for each queue's own.
        settings: The other settings of the worker, by their names there.
        loop: ``asyncio`` or ``trio``.
        monitoring_host: Where probes and metrics are served.
        monitoring_port: The port for them, None for none.
        log_level: From which level on log lines are written.
        log_format: ``text`` or ``json``.
        told_folder: Where the processes of one supervisor keep what one of them has told already.
    """

    target: str
    app_dir: str = "."
    url: str | None = None
    key: str | None = attrs.field(default=None, repr=False)
    queues: dict[str, int]
    fatal_exceptions: tuple[str, ...] = ()
    on_event: str | None = None
    on_error: str | None = None
    retry: dict[str, int] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    loop: str = "asyncio"
    monitoring_host: str = "127.0.0.1"
    monitoring_port: int | None = None
    log_level: str = "info"
    log_format: str = "text"
    told_folder: str | None = None

    def to_json(self) -> str:
        """Return the options as one line of JSON; it holds the key."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> WorkerOptions:
        """Return the options that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "fatal_exceptions": tuple(values["fatal_exceptions"])})

    def load(self) -> dict[str, Any]:
        """Import what the targets stand for.

        Returns:
            Arguments for `Worker`, all but the client.

        Raises:
            CommandError: A target does not stand for what it should, or nothing can be made of it.
        """
        from meshhook.worker.handler import create_job_handler  # noqa: PLC0415 - heavy

        function = targets.load(self.target, self.app_dir)
        with targets.building(self.target):
            handler = create_job_handler(function)
        return {
            "job_handler": handler,
            "queue_name": self.queues,
            "fatal_exceptions": [self._exception(name) for name in self.fatal_exceptions],
            "on_event": self.on_event and self._hook("on_event", self.on_event),
            "on_error": self.on_error and self._hook("on_error", self.on_error),
            "retry_config": self.retry,
            **self.settings,
        }

    def _hook(self, name: str, target: str) -> Any:
        from meshhook._inputs import check  # noqa: PLC0415 - heavy

        hook = targets.load(target, self.app_dir)
        with targets.building(f"--{name.replace('_', '-')} {target}"):
            check.function(name, hook)
        return hook

    def _exception(self, name: str) -> type[BaseException]:
        kind = targets.load(f"builtins:{name}" if ":" not in name else name, self.app_dir)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise usage(f"--fatal-exception {name} is not a class of exceptions")
        return kind


def queue_weights(given: Sequence[str], default: str) -> dict[str, int]:
    """Return the queues that are given as NAME or NAME=WEIGHT.

    Args:
        given: The values of ``--queue``.
        default: The queue where there are none.

    Returns:
        The weight of each queue.

    Raises:
        CommandError: A weight is not a whole number.
    """
    weights: dict[str, int] = {}
    for value in given or [default]:
        name, has_weight, weight = value.partition("=")
        if has_weight and not weight.isdecimal():
            raise usage(f"--queue {value}: the weight is not a whole number; write NAME=3")
        weights[name] = int(weight) if has_weight else 1
    return weights


def retry_settings(
    max_attempts: int | None, base_delay_ms: int | None, max_delay_ms: int | None
) -> dict[str, int] | None:
    """Return the settings of the backoff that are given, None if none is."""
    given = {
        "max_attempts": max_attempts,
        "base_delay_ms": base_delay_ms,
        "max_delay_ms": max_delay_ms,
    }
    return {name: value for name, value in given.items() if value is not None} or None
