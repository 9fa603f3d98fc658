"""What every call is made of: the function's name, its parameters, and how to read its answer.

Nothing in this package does I/O. A builder checks its input, so a `Call` that exists is worth
sending. Every call may be repeated as it is: those that change something carry a request id, under
which the database answers a repeat as it answered the first, or a receipt.
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
        params: Its parameters, by their names in SQL. What is left out has its default there.
        encoded: Those of the parameters that are JSON already, as text, so that large ones need not
            be encoded twice; they are in *params* too.
        decode: Makes the result out of the JSON of the answer. It may raise KeyError, TypeError or
            ValueError on an answer of another shape.
    """

    function: str
    params: Mapping[str, Any] = attrs.field(repr=False)
    decode: Callable[[Any], T] = attrs.field(repr=False)
    encoded: Mapping[str, str] = attrs.field(repr=False, factory=dict)


def request_id() -> str:
    """Return an id for a request that nobody has used before."""
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
    """Return what a value has a field for; a newer database may know more."""
    names = {field.name for field in attrs.fields(kind)}
    return {name: value for name, value in object_of(row).items() if name in names}


def optional_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
