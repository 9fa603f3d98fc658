"""Log lines of a worker: for people or for machines, and never with a key."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from meshhook.cli.redaction import redact

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

# What every record has; whatever else it has was given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(level: str, form: str) -> None:
    """Write log lines to standard error.

    Args:
        level: From which level on; of others than MeshHook never below warnings, unless debugging.
        form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else number)
    logging.getLogger("meshhook").setLevel(number)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name there
        del datefmt
        return _time(record).astimezone().isoformat(sep=" ", timespec="milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        worker = getattr(record, "worker", None)
        text = super().format(record)
        return redact(f"{text} [{worker}]" if worker and not record.exc_info else text)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _USUAL},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(fields, default=str))


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
