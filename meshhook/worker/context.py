"""What a handler can ask about the job that it works on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshhook.models import Job
    from meshhook.worker.in_flight import InFlightJob

__all__ = ["CurrentJob", "current_job"]

_current: ContextVar[InFlightJob | None] = ContextVar("meshhook_current_job", default=None)


class CurrentJob:
    """The job that the handler works on, in its present state.

    A plain ``def`` that takes long should check `lease_lost` and `stopping` now and then: nothing
    else can stop it.
    """

    def __init__(self, delivery: InFlightJob) -> None:
        self._jobs = delivery

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        return self._jobs.job

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1 on."""
        return self._jobs.job.attempt

    @property
    def deadline(self) -> float | None:
        """When the handler's time is up, on the clock of `time.monotonic`; None for no limit."""
        return self._jobs.deadline

    @property
    def lease_lost(self) -> bool:
        """Whether the lease is lost: another worker may have the job, and no result counts here."""
        return self._jobs.lost

    @property
    def stopping(self) -> bool:
        """Whether the worker stops and hands the job back instead of waiting any longer."""
        return self._jobs.released


def current_job() -> CurrentJob:
    """Return the job that the calling handler works on.

    Returns:
        The job; also in the tasks and threads that the handler starts.

    Raises:
        LookupError: The caller is not a handler that a worker runs.
    """
    current = _current.get()
    if current is None:
        message = "current_job() is for handlers, while a worker runs them"
        raise LookupError(message)
    return CurrentJob(current)


def enter(delivery: InFlightJob) -> None:
    """Make a job the current one of the calling task."""
    _current.set(delivery)
