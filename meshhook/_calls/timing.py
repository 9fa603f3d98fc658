"""When jobs are due: after a delay in seconds, or at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from meshhook._inputs import check
from meshhook.exceptions import InvalidInputError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta


def of_one(delay_seconds: float | timedelta, run_at: datetime | None) -> dict[str, Any]:
    """Return the parameters for when one job is due."""
    delay = check.delay_seconds("delay_seconds", delay_seconds)
    if run_at is None:
        return {"delay_seconds": delay}
    text = check.run_at("run_at", run_at)
    if delay:
        check.not_both("run_at", run_at, "delay_seconds")
    return {"run_at": text}


@attrs.frozen
class Timing:
    """When each of many jobs is due.

    Attributes:
        delays: The delay of all in seconds, or the delay of each.
        run_ats: The time of all as text, or the time of each that has one; None if no job has one.
    """

    delays: float | list[float]
    run_ats: str | list[str | None] | None = None

    def of(self, chunk: slice) -> dict[str, Any]:
        """Return the parameters for when the jobs of a chunk are due."""
        if isinstance(self.run_ats, str):
            return {"run_at": self.run_ats}
        delays = self.delays[chunk] if isinstance(self.delays, list) else self.delays
        params = {"delays" if isinstance(delays, list) else "delay_seconds": delays}
        return params if self.run_ats is None else {**params, "run_ats": self.run_ats[chunk]}


def of_many(
    delay_seconds: float | timedelta | Sequence[float | timedelta],
    run_at: datetime | Sequence[datetime | None] | None,
    count: int,
) -> Timing:
    """Check when jobs are due."""
    delays = _each("delay_seconds", "delay", delay_seconds, count, check.delay_seconds)
    if run_at is None:
        return Timing(delays)
    run_ats = _each("run_at", "time", run_at, count, _optional_time)
    if not isinstance(run_ats, list):
        if any(delays) if isinstance(delays, list) else delays:
            check.not_both("run_at", run_at, "delay_seconds")
        return Timing(delays, run_ats)
    check.refuse(
        Problem(f"run_at[{position}]", time, "give run_at or delay_seconds, not both")
        for position, time in enumerate(run_ats)
        if time is not None and (delays[position] if isinstance(delays, list) else delays)
    )
    return Timing(delays, run_ats)


def _optional_time(field: str, value: object) -> str | None:
    return None if value is None else check.run_at(field, value)


def _each(field: str, what: str, given: Any, count: int, checked: Any) -> Any:
    """Check a value for all jobs, or a list with one for each."""
    if not isinstance(given, list | tuple):
        return checked(field, given)
    if len(given) != count:
        fix = f"give one {what} for all, or one for each of the {count} jobs"
        raise InvalidInputError([Problem(field, f"{len(given)} {what}s", fix)])
    return check.all_of(
        *(partial(checked, f"{field}[{position}]", one) for position, one in enumerate(given))
    )
