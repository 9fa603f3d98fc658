"""Every public name says what it takes, what it returns and what it raises."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
import typing
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import meshhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES = ("QueueService", "DLQService", "SyncQueueService", "SyncDLQService")


def public_members() -> Iterator[tuple[str, Any]]:
    """Go through the public names, and the public methods and properties of the classes."""
    for name in meshhook.__all__:
        value = getattr(meshhook, name)
        yield name, value
        if inspect.isclass(value):
            own = [kind for kind in value.__mro__ if kind.__module__.startswith("meshhook.")]
            members = {name: member for kind in own for name, member in vars(kind).items()}
            for member_name, member in members.items():
                if not member_name.startswith("_") and (
                    inspect.isroutine(member) or isinstance(member, property)
                ):
                    yield f"{name}.{member_name}", member


FUNCTIONS = {
    name: getattr(member, "__func__", member)
    for name, member in public_members()
    if inspect.isroutine(member)
}
CLASSES: dict[str, Any] = {
    name: value for name, value in public_members() if inspect.isclass(value)
}


def documentation(value: Any) -> str:
    return inspect.getdoc(getattr(value, "__func__", value)) or ""


def raises(function: Callable[..., object]) -> bool:
    """Return whether a function raises something itself; a bare raise passes something on."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    return any(
        isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(ast.parse(source))
    )


def parameters(function: Callable[..., object]) -> list[str]:
    names = inspect.signature(function).parameters
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


@functools.cache
def sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring by their headings."""
    parts = re.split(r"^(Args|Attributes|Returns|Yields|Raises):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", [name for name, _ in public_members()])
def test_a_public_name_has_a_docstring_that_begins_with_a_sentence(name: str) -> None:
    text = documentation(dict(public_members())[name])

    assert re.match(r"[A-Z`][^\n]*[.:]$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_each_parameter_is(name: str) -> None:
    described = sections(documentation(FUNCTIONS[name])).get("Args", "")

    assert re.findall(r"^    (?:\*\*)?(\w+): ", described, re.MULTILINE) == parameters(
        FUNCTIONS[name]
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_returns_something_says_what(name: str) -> None:
    returned = str(inspect.signature(FUNCTIONS[name]).return_annotation)
    headings = sections(documentation(FUNCTIONS[name])).keys() & {"Returns", "Yields"}

    assert bool(headings) == (returned != "None")


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if raises(function)])
def test_a_function_that_raises_says_what(name: str) -> None:
    assert "Raises" in sections(documentation(FUNCTIONS[name]))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.partition(".")[0] in SERVICES])
def test_a_method_that_calls_the_database_says_that_the_call_may_fail(name: str) -> None:
    assert "RequestError: " in sections(documentation(FUNCTIONS[name]))["Raises"]


@pytest.mark.parametrize("name", [name for name, value in CLASSES.items() if attrs.has(value)])
def test_a_value_says_what_each_of_its_fields_is(name: str) -> None:
    text = sections(documentation(CLASSES[name]))
    described = text.get("Attributes", "") + text.get("Args", "")
    fields = [field.name for field in attrs.fields(CLASSES[name])]

    assert re.findall(r"^    (\w+): ", described, re.MULTILINE) == [
        field for field in fields if not field.startswith("_")
    ]


@pytest.mark.parametrize(
    "name", [name for name, value in CLASSES.items() if typing.is_typeddict(value)]
)
def test_a_typed_dict_says_what_each_of_its_fields_is(name: str) -> None:
    described = sections(documentation(CLASSES[name]))["Attributes"]

    assert re.findall(r"^    (\w+): ", described, re.MULTILINE) == list(
        CLASSES[name].__annotations__
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in CLASSES.items()
        if "__init__" in vars(value) and not attrs.has(value) and name != "CurrentJob"
    ],
)
def test_a_class_says_what_it_is_made_of(name: str) -> None:
    described = sections(documentation(CLASSES[name])).get("Args", "")

    assert re.findall(r"^    (\w+): ", described, re.MULTILINE) == parameters(CLASSES[name])
