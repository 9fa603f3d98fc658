"""What tests of draining share."""

from __future__ import annotations

import pytest

from meshhook.local import LocalStack

SECRET = "0123456789abcdef-drain"


@pytest.fixture
def environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function platform has in its environment."""
    monkeypatch.setenv("SUPABASE_URL", stack.url)
    monkeypatch.setenv("SUPABASE_KEY", stack.secret_key)
    monkeypatch.setenv("MESHHOOK_DRAIN_SECRET", SECRET)
