"""A call: the name of a database function, its parameters, and a decoder of its answer.

Nothing in this package does I/O. A builder checks its input, so every `Call` is worth sending.
Every call may be repeated unchanged. A call that changes something carries a receipt or a request
id; under that id the database answers a repeat with its first answer.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


@attrs.frozen
class Call(Generic[T]):
    """A call of a database function.

    Attributes:
        function: The function.
        params: Its parameters, by their names in SQL. A parameter that is left out has its default.
        encoded: The parameters that are already encoded as JSON text, so that large ones are not
            encoded twice; they are in *params* too.
        decode: Returns the result from the JSON of the answer. It may raise KeyError, TypeError or
            ValueError if the answer has another shape.
    """

    function: str
    params: Mapping[str, Any] = attrs.field(repr=False)
    decode: Callable[[Any], T] = attrs.field(repr=False)
    encoded: Mapping[str, str] = attrs.field(repr=False, factory=dict)


def request_id() -> str:
    """Return a new id for a request."""
    return uuid.uuid4().hex


def given(**params: Any) -> dict[str, Any]:
    """Return the parameters that are not None: a JSON null would override the default in SQL."""
    return {name: value for name, value in params.items() if value is not None}


def list_of(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        message = f"expected a list, got {type(answer).__name__}"
        raise TypeError(message)
    return answer


def exactly(kind: type[T]) -> Callable[[Any], T]:
    def decode(answer: Any) -> T:
        if not isinstance(answer, kind) or (kind is int and isinstance(answer, bool)):
            message = f"expected {kind.__name__}, got {type(answer).__name__}"
            raise TypeError(message)
        return answer

    return decode


def object_of(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        message = f"expected an object, got {type(answer).__name__}"
        raise TypeError(message)
    return answer


def known(kind: type, row: Any) -> dict[str, Any]:
    """Return the parts of a row that a value has fields for; a newer database may send more."""
    names = {field.name for field in attrs.fields(kind)}
    return {name: value for name, value in object_of(row).items() if name in names}


def optional_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
