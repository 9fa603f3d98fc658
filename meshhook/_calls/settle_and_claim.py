"""The call of a busy worker: the outcomes of one batch for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from meshhook._calls import claim, settle
from meshhook._calls.base import Call
from meshhook._defaults import MAX_BYTES_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshhook._calls.claim import Claim
    from meshhook._calls.settle import Outcome


@attrs.frozen
class SettledAndClaimed:
    """The answer to outcomes and a claim that were sent together.

    Attributes:
        statuses: What happened to each outcome, in order: ``ok``, ``lost`` or ``missing``.
        claim: The jobs that are handed out.
    """

    statuses: list[str]
    claim: Claim


def settle_and_claim(
    queue_name: str,
    outcomes: Sequence[Outcome],
    quantity: int,
    vt_seconds: float | None = None,
    *,
    max_attempts: int | None = None,
    worker: Mapping[str, Any] | None = None,
) -> Call[SettledAndClaimed]:
    """Build the call that settles jobs and claims the next; without outcomes it only claims."""
    params = claim.arguments(
        queue_name,
        quantity,
        vt_seconds,
        max_attempts=max_attempts,
        max_bytes=MAX_BYTES_PER_CALL,
        worker=worker,
    )
    read_claim = claim.reader(queue_name)
    if not outcomes:
        return Call(
            "meshhook_dequeue", params, lambda answer: SettledAndClaimed([], read_claim(answer))
        )
    read_statuses = settle.reader(len(outcomes))

    def decode(answer: Any) -> SettledAndClaimed:
        return SettledAndClaimed(read_statuses(answer["statuses"]), read_claim(answer["claim"]))

    params["outcomes"] = settle.rows(outcomes)
    return Call("meshhook_settle_and_dequeue", params, decode)
