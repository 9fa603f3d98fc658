"""The public names: sorted, complete, and importable without what a worker does not need."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import meshhook

MODULES = [
    "meshhook.connection",
    "meshhook.dlq_service",
    "meshhook.exceptions",
    "meshhook.models",
    "meshhook.queue_service",
    "meshhook.retry",
    "meshhook.sync_services",
    "meshhook.worker",
]
# Public in its module for readers of the formula; programs use the strategy.
NOT_EXPORTED = {"backoff_ms"}


def test_the_public_names_are_sorted_and_none_is_there_twice() -> None:
    assert meshhook.__all__ == sorted(set(meshhook.__all__))


def test_the_public_names_are_all_that_the_package_binds() -> None:
    for name in meshhook.__all__:
        getattr(meshhook, name)  # what is loaded late is bound by that
    bound = {
        name
        for name, value in vars(meshhook).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }

    assert bound == set(meshhook.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_calls_public_is_public_in_the_package(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) - NOT_EXPORTED <= set(meshhook.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("name", meshhook.__all__)
def test_a_public_name_is_the_same_object_wherever_it_is_imported_from(name: str) -> None:
    value = getattr(meshhook, name)

    assert value.__module__.startswith("meshhook.")
    assert value in vars(importlib.import_module(value.__module__)).values()


def test_the_import_needs_nothing_of_the_embedded_stack() -> None:
    # The last statement loads all that the others do.
    script = "import sys\nimport meshhook.worker\nfrom meshhook import *\nprint(*sys.modules)"

    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True
    ).stdout

    loaded = {module.partition(".")[0] for module in printed.split()}
    assert "meshhook" in loaded
    assert not loaded & {"psycopg", "starlette", "uvicorn", "trio", "pgmq", "pytest"}
