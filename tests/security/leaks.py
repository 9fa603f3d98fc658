"""Everything that an error shows to a log, a debugger or a crash reporter."""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING

from rich.pretty import pretty_repr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_TESTS = "/tests/"


def leaks(error: BaseException, *secrets: str) -> list[str]:
    """Return where an error shows a secret.

    Looked at are the texts, notes and attributes of the error and of all that it came from, what a
    pickle of it holds, and each local variable of each frame, both as repr() and as Rich shows it.
    The frames of the tests themselves are left out: they hold the secret on purpose.

    Args:
        error: The error, as it was caught.
        secrets: What must not be seen.
    """
    return [where for where, text in _shown(error) if any(secret in text for secret in secrets)]


def _shown(error: BaseException) -> Iterator[tuple[str, str]]:
    for link in _chain(error):
        name = type(link).__name__
        yield f"text of {name}", "".join(traceback.format_exception_only(link))
        yield f"repr of {name}", f"{link!r} {link.args!r}"
        yield f"attributes of {name}", f"{vars(link)!r} {pretty_repr(vars(link))}"
        for frame in _frames(link):
            for variable, value in frame.f_locals.items():
                place = f"{frame.f_code.co_filename}:{frame.f_code.co_name}: {variable}"
                yield place, _repr(value)
                yield place, pretty_repr(value, max_depth=6)
    yield "pickle", pickle.dumps(error).decode("latin-1")


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    for link in chain:
        behind = [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            behind += link.exceptions
        chain += [one for one in behind if one is not None and one not in chain]
    return chain


def _frames(error: BaseException) -> Iterator[FrameType]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if _TESTS not in frame.f_code.co_filename:
            yield frame


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - as debuggers do
        return repr(error)
