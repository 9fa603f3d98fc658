"""Context managers with a clear error for the wrong form: `with`, `async with` or `await`.

Python's own text ("object does not support the context manager protocol") names neither the right
form nor the class for the other kind of code. Type checkers do not see these methods, so that they
still report the wrong form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import NoReturn


class Entered:
    """A context manager that must not be awaited.

    A subclass names itself, the right form, and what to use in the other kind of code.
    """

    _what: ClassVar[str]
    _form: ClassVar[str]
    _elsewhere: ClassVar[str]

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self._what} is entered, not awaited: {self._form}")


class AsyncBlock(Entered):
    """A context manager for ``async with`` only."""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"{self._what} is for async code: {self._form}; in plain code, {self._elsewhere}"
            )

        def __exit__(self, *_: object) -> None:
            """Do nothing; without this method Python raises its own error first."""


class PlainBlock(Entered):
    """A context manager for ``with`` only."""

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            raise TypeError(
                f"{self._what} is for plain code: {self._form}; in async code, {self._elsewhere}"
            )

        async def __aexit__(self, *_: object) -> None:
            """Do nothing; without this method Python raises its own error first."""


def how_to_enter(value: Entered) -> tuple[str, str]:
    """Return the name of a context manager, and the form that enters it."""
    return value._what, value._form  # noqa: SLF001 - not for users, whose namespace it would be in
