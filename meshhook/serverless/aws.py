"""The entry point of an AWS Lambda function."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import anyio
import attrs

from meshhook._inputs import check
from meshhook.serverless.environment import drain_connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshhook.worker.draining import DrainOptions, Handler


class LambdaContext(Protocol):
    """The part of Lambda's context that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that the invocation has left, in milliseconds."""


def lambda_handler(
    handler: Handler, **options: Unpack[DrainOptions]
) -> Callable[[Any, LambdaContext | None], dict[str, Any]]:
    """Make a Lambda handler that drains the queue within the invocation's time.

    ``SUPABASE_URL`` and ``SUPABASE_KEY`` come from the function's environment::

        lambda_handler = meshhook.serverless.lambda_handler(job_handler)

    Args:
        handler: What jobs are handed to.
        **options: See `DrainOptions`; *deadline_seconds* is the time that the invocation has left,
            or the given one if that is shorter. Without a context, as in a test, only the given one
            counts.

    Returns:
        A function of event and context that returns the fields of the `DrainReport`.
    """

    def entry(
        event: Any,  # noqa: ARG001 - Lambda's
        context: LambdaContext | None = None,
    ) -> dict[str, Any]:
        within: DrainOptions = {**options}
        if context is not None:
            left = context.get_remaining_time_in_millis() / 1000
            deadline = check.seconds(options.get("deadline_seconds")) or left
            within["deadline_seconds"] = min(left, deadline)
        return attrs.asdict(anyio.run(functools.partial(drain_connected, handler, within)))

    return entry
