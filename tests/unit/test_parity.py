"""The sync services are the async ones without await: the same methods in the same words."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from meshhook import (
    DLQService,
    QueueService,
    SyncDLQService,
    SyncQueueService,
    list_queues,
    list_queues_sync,
)
from meshhook.queue_admin import QueueAdmin
from meshhook.sync_services import SyncQueueAdmin

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS: list[tuple[type, type]] = [
    (QueueAdmin, SyncQueueAdmin),
    (QueueService, SyncQueueService),
    (DLQService, SyncDLQService),
]
# What is awaited is in the block: `async with queue_service.buffered()`.
RETURN_A_BLOCK = {"buffered"}
METHODS = [
    pytest.param(one, other, name, id=f"{one.__name__}.{name}")
    for one, other in PAIRS
    for name in sorted({*vars(one), *vars(other)})
    if not name.startswith("_")
]


def without_async(annotation: Any) -> Any:
    """Return an annotation as the sync twin has it."""
    if not isinstance(annotation, str):
        return annotation
    for word in ("Client", "Iterator"):
        annotation = annotation.replace(f"Async{word}", word)
    annotation = annotation.replace("AsyncTransport", "SyncTransport")
    return re.sub(r"^EnqueueBuffer$", "SyncEnqueueBuffer", annotation)


def shape(function: Callable[..., object]) -> list[tuple[object, ...]]:
    """Return everything about the parameters and the result of a function that callers rely on."""
    signature = inspect.signature(function)
    return [
        (parameter.name, parameter.kind, parameter.default, without_async(parameter.annotation))
        for parameter in signature.parameters.values()
    ] + [("return", without_async(signature.return_annotation))]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda value: value.__name__)
def test_both_services_have_the_same_public_methods(one: type, other: type) -> None:
    def public(service: type) -> list[str]:
        return [name for name in vars(service) if not name.startswith("_")]

    assert public(one) == public(other)


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda value: value.__name__)
def test_both_services_are_made_alike(one: type, other: type) -> None:
    assert shape(one) == shape(other)


@pytest.mark.parametrize(("one", "other", "name"), METHODS)
def test_both_methods_take_and_return_the_same(one: type, other: type, name: str) -> None:
    assert shape(getattr(one, name)) == shape(getattr(other, name))


@pytest.mark.parametrize(("one", "other", "name"), METHODS)
def test_both_methods_are_documented_in_the_same_words(one: type, other: type, name: str) -> None:
    assert inspect.getdoc(getattr(one, name))
    assert inspect.getdoc(getattr(one, name)) == inspect.getdoc(getattr(other, name))


@pytest.mark.parametrize(("one", "other", "name"), METHODS)
def test_one_method_is_awaited_and_the_other_is_not(one: type, other: type, name: str) -> None:
    is_async = inspect.iscoroutinefunction(getattr(one, name))
    is_async_generator = inspect.isasyncgenfunction(getattr(one, name))

    assert is_async or is_async_generator or name in RETURN_A_BLOCK
    assert not inspect.iscoroutinefunction(getattr(other, name))
    assert inspect.isgeneratorfunction(getattr(other, name)) == is_async_generator


@pytest.mark.parametrize(("one", "other", "name"), METHODS)
def test_both_methods_are_of_the_same_kind(one: type, other: type, name: str) -> None:
    assert type(vars(one)[name]) is type(vars(other)[name])


def test_both_functions_that_list_queues_are_alike() -> None:
    assert shape(list_queues) == shape(list_queues_sync)
    assert inspect.getdoc(list_queues) == inspect.getdoc(list_queues_sync)
