"""Docstrings that an async class and its sync twin share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C", bound=type)


def documented_by(original: type) -> Callable[[C], C]:
    """Give the methods of a class the docstrings of another class's methods of the same names.

    The methods do the same, with and without await; a text that is written twice would drift.

    Args:
        original: The class that has the docstrings.

    Returns:
        A class decorator.
    """

    def decorate(twin: C) -> C:
        for name, method in vars(twin).items():
            function = getattr(method, "__func__", method)
            if callable(function) and function.__doc__ is None:
                function.__doc__ = getattr(original, name).__doc__
        return twin

    return decorate
