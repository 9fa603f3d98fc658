"""What is kept of an exception: its class, its message and its stack, whatever it is."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lines of a stack that say where the handler was called from would be the same in each error.
_MAX_FRAMES = 50


@attrs.frozen
class Failure:
    """What is kept of an exception.

    Attributes:
        error_type: Its class.
        message: Its class and what it says.
        stack: Where it was raised.
    """

    error_type: str
    message: str
    stack: str | None = attrs.field(default=None, repr=False)


def describe(error: BaseException) -> Failure:
    """Return what is kept of an exception; never raises, however broken the exception is.

    Args:
        error: Any exception.

    Returns:
        Its description. The settle cuts it to size.
    """
    kind = type(error).__qualname__
    said = _said(error)
    return Failure(kind, f"{kind}: {said}" if said else kind, _stack(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Go through the exceptions of a group, and of groups in it; of one that is none, itself.

    Args:
        error: Any exception.

    Yields:
        Exceptions that are no groups.
    """
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def _said(error: BaseException) -> str:
    try:
        said = str(error)
        if isinstance(error, BaseExceptionGroup):
            said = f"{said}: " + "; ".join(
                f"{type(leaf).__qualname__}: {leaf}" for leaf in leaves(error)
            )
    except BaseException as broken:  # noqa: BLE001 - str() of a user's exception may do anything
        return f"<str() of it raises {type(broken).__qualname__}>"
    return said


def _stack(error: BaseException) -> str | None:
    try:
        lines = traceback.format_exception(error, limit=-_MAX_FRAMES)
    except BaseException as broken:  # noqa: BLE001 - so may whatever the stack is made from
        return f"<the stack cannot be shown: {type(broken).__qualname__}>"
    return "".join(lines)
