"""Log lines of a worker: text or JSON, and never with a key."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from datetime import UTC, datetime

from meshhook.cli.redaction import redact

# They write a line for each request, dozens at the level debug; those of hpack contain the key.
_CHATTY = ("httpx", "httpcore", "hpack")

log = logging.getLogger("meshhook.cli")

# The attributes of every record; all others were given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(level: str, form: str) -> None:
    """Write log lines to standard error, unless the user's code has set up logging itself.

    Call it after the import of that code. If the root logger has handlers by then, they and their
    formats do not change; only keys are removed from their lines.

    Args:
        level: The lowest level: always of MeshHook's loggers, of all others if nothing was set up.
        form: ``text`` or ``json``.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    logging.getLogger("meshhook").setLevel(number)
    for name in _CHATTY:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    if root.handlers:
        _add_redaction(root.handlers)
        if form == "json":
            log.warning("--log-format json is not used: the handler's module has set up logging")
        return
    handler = _Stderr()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root.addHandler(handler)
    root.setLevel(number)


def _add_redaction(handlers: list[logging.Handler]) -> None:
    for handler in handlers:
        if not any(isinstance(there, _Redaction) for there in handler.filters):
            handler.addFilter(_Redaction())


class _Stderr(logging.Handler):
    """Writes to the current standard error, which the status line replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)


class _Redaction(logging.Filter):
    """Removes keys from records that the user's own handlers write."""

    def filter(self, record: logging.LogRecord) -> bool:
        # The handler itself reports a record that cannot be formatted.
        with contextlib.suppress(Exception):
            text = record.getMessage()
            if (shown := redact(text)) != text:
                record.msg, record.args = shown, ()
            if record.exc_info and not record.exc_text:
                trace = logging.Formatter().formatException(record.exc_info)
                if (shown := redact(trace)) != trace:
                    record.exc_text = shown
        return True


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name there
        del datefmt
        return _time(record).astimezone().isoformat(sep=" ", timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name there
        worker = getattr(record, "worker", None)
        line = super().formatMessage(record)
        return f"{line} [{worker}]" if worker else line

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


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
