"""The plugin's fixtures, on the stack that all tests share."""

from __future__ import annotations

import pytest

from meshhook.local import LocalStack


@pytest.fixture(scope="session")
def meshhook_stack(stack: LocalStack) -> LocalStack:
    """The stack that is there already."""
    return stack
