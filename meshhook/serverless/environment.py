"""Draining the project that the environment names, for function platforms."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Unpack

import anyio

from meshhook.connection import connect
from meshhook.exceptions import MeshHookError
from meshhook.worker.draining import DrainOptions, DrainReport, drain

if TYPE_CHECKING:
    from meshhook.worker.draining import Handler

log = logging.getLogger("meshhook.serverless")


def drain_from_environment(handler: Handler, **options: Unpack[DrainOptions]) -> DrainReport:
    """Drain the project that the environment names; the plain function for any platform.

    Args:
        handler: What jobs are handed to.
        **options: See `DrainOptions`.

    Returns:
        What was done, and whether more is waiting.

    Raises:
        ConfigurationError: ``SUPABASE_URL`` or ``SUPABASE_KEY`` are missing or cannot be used.
        InvalidInputError: An option is out of range.
        MeshHookError: An error that waiting does not fix.
    """
    return anyio.run(functools.partial(drain_connected, handler, options))


async def drain_connected(handler: Handler, options: DrainOptions) -> DrainReport:
    """Drain the project that the environment names, from within an event loop.

    An error is logged, too, since a function platform may show it nowhere else.
    """
    try:
        async with connect() as client:
            return await drain(client, handler, **options)
    except MeshHookError as error:
        log.error("the drain failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - it names the fix
        raise
