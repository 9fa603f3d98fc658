"""Which function a call means: by its name and the names of its arguments, never their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from meshhook_local.gateway import hints
from meshhook_local.gateway.errors import ApiError, function_ambiguous, function_not_found
from meshhook_local.gateway.payload import RAW_TYPES
from meshhook_local.gateway.request import JSON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshhook_local.gateway.payload import Payload
    from meshhook_local.gateway.schema_cache import Function, SchemaCache


@attrs.frozen(kw_only=True)
class Wanted:
    """A function that is looked for.

    Attributes:
        schema: The exposed schema.
        name: The function's name.
        payload: The arguments.
        is_post: Whether a function may take the body as it stands.
    """

    schema: str
    name: str
    payload: Payload
    is_post: bool

    @property
    def raw_type(self) -> str | None:
        """The type of a body that is an argument as it stands, or None."""
        return RAW_TYPES.get(self.payload.media_type) if self.is_post else None


def resolve(wanted: Wanted, cache: SchemaCache) -> Function:
    """Find the one function that is meant.

    Raises:
        ApiError: If no function fits, or more than one.
    """
    overloads = cache.functions.get(wanted.name, ())
    fitting = []
    if wanted.raw_type is None:
        fitting = [function for function in overloads if function.takes(wanted.payload.keys)]
    if not fitting and wanted.is_post:
        fitting = [function for function in overloads if _takes_body(function, wanted)]
    if not fitting:
        raise _not_found(wanted, cache)
    if len(fitting) > 1:
        raise function_ambiguous([_signature(function) for function in fitting])
    return fitting[0]


def _takes_body(function: Function, wanted: Wanted) -> bool:
    """Return whether the function has one parameter without a name, for the whole body."""
    if len(function.parameters) != 1 or function.parameters[0].name:
        return False
    is_json = wanted.payload.media_type == JSON
    return function.parameters[0].type in ({"json", "jsonb"} if is_json else {wanted.raw_type})


def _not_found(wanted: Wanted, cache: SchemaCache) -> ApiError:
    keys = sorted(wanted.payload.keys)
    names = ", ".join(keys)
    function = f"{wanted.schema}.{wanted.name}"
    if wanted.raw_type:
        called, searched = "", f" with a single unnamed {wanted.raw_type} parameter"
    elif keys:
        called = f"({names})"
        searched = f" with parameter{'s' if len(keys) > 1 else ''} {names}"
    else:
        called = searched = " without parameters"
    if wanted.is_post and wanted.payload.media_type == JSON:
        searched += " or with a single unnamed json/jsonb parameter"
    return function_not_found(
        f"Could not find the function {function}{called} in the schema cache",
        f"Searched for the function {function}{searched}, but no matches were found in the schema"
        " cache.",
        None if wanted.raw_type else _hint(wanted, cache),
    )


def _hint(wanted: Wanted, cache: SchemaCache) -> str | None:
    """Guess at other arguments of a function that there is, or at another function."""
    overloads = cache.functions.get(wanted.name)
    if overloads is None:
        guess = hints.closest(wanted.name, cache.functions, hints.NAME_SCORE)
    else:
        known = [_listed(parameter.name for parameter in f.parameters) for f in overloads]
        arguments = hints.closest(_listed(wanted.payload.keys), known, hints.ARGUMENTS_SCORE)
        guess = arguments and wanted.name + arguments
    return f"Perhaps you meant to call the function {wanted.schema}.{guess}" if guess else None


def _listed(names: Iterable[str]) -> str:
    return f"({', '.join(sorted(names))})"


def _signature(function: Function) -> str:
    parameters = ", ".join(f"{p.name} => {p.type}" for p in function.parameters)
    return f"{function.schema}.{function.name}({parameters})"
