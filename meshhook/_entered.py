"""What is entered in one way only, and says so where it is entered in another.

Python's own texts ("object does not support the context manager protocol") name neither the right
form nor the class for the other kind of code. Type checkers do not see these methods, so to them
the wrong form stays the mistake that it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import NoReturn


class Entered:
    """Something for a block: it is entered, and never awaited.

    A subclass says what it is called, how it is entered, and what to take in the other kind of
    code.
    """

    _what: ClassVar[str]
    _form: ClassVar[str]
    _elsewhere: ClassVar[str]

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self._what} is entered, not awaited: {self._form}")


class AsyncBlock(Entered):
    """Something that only ``async with`` enters."""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"{self._what} is for async code: {self._form}; in plain code, {self._elsewhere}"
            )

        def __exit__(self, *_: object) -> None:
            """Do nothing: Python looks for it before it enters."""


class PlainBlock(Entered):
    """Something that only a plain ``with`` enters."""

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            raise TypeError(
                f"{self._what} is for plain code: {self._form}; in async code, {self._elsewhere}"
            )

        async def __aexit__(self, *_: object) -> None:
            """Do nothing: Python looks for it before it enters."""


def how_to_enter(value: Entered) -> tuple[str, str]:
    """Return what something for a block is called, and how it is entered."""
    return value._what, value._form  # noqa: SLF001 - not for users, whose namespace it would be in
