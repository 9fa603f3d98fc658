"""What the pages use of `sentry_sdk`, which is not installed: it keeps what it is given."""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType
from typing import Any

captured: list[BaseException] = []
ignored: list[str] = []


class Scope:
    """What is set for one event."""

    def set_tag(self, key: str, value: str) -> None:
        """Take a tag; Sentry allows 32 characters for its name and 200 for its value."""
        assert len(key) <= 32
        assert len(value) <= 200

    def set_context(self, key: str, value: dict[str, Any]) -> None:
        """Take more of what is known."""
        assert key
        assert value


def modules() -> dict[str, ModuleType]:
    """Return the modules by their names, and forget what was kept."""
    captured.clear()
    ignored.clear()
    package = ModuleType("sentry_sdk")
    integrations = ModuleType("sentry_sdk.integrations")
    logs = ModuleType("sentry_sdk.integrations.logging")
    vars(package).update(
        init=lambda dsn: dsn,
        new_scope=lambda: nullcontext(Scope()),
        capture_exception=captured.append,
    )
    vars(logs)["ignore_logger"] = ignored.append
    return {module.__name__: module for module in (package, integrations, logs)}
